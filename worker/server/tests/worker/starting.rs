//! A worker that is asked before it serves.

use serde_json::json;
use tonic::Code;
use weir_worker_api::{
    self as api, DescribeRequest, DescribeResponse, ErrorCode, Phase, detail_of,
};

use crate::{
    harness::{Starting, Worker, about, error_of, triage},
    registry::Registry,
};

const TICKET: &str = "Where is my parcel?";

async fn described(worker: &Worker) -> DescribeResponse {
    let mut grpc = worker.grpc().await;
    let described = grpc.describe(DescribeRequest {}).await;
    described.unwrap().into_inner()
}

/// Everything but how far it is must be refused, in words that have `part` in them.
async fn expect_refusals(worker: &Starting, part: &str) {
    let mut grpc = worker.grpc().await;
    let generated = grpc.generate(api::GenerateRequest::default()).await;
    let watched = grpc.watch(api::WatchRequest {}).await;
    let embedded = grpc.embed(api::EmbedRequest::default()).await;
    let chosen = grpc.choose(api::ChooseRequest::default()).await;
    let counted = grpc.tokenize(api::TokenizeRequest::default()).await;
    for status in [
        generated.map(drop),
        watched.map(drop),
        embedded.map(drop),
        chosen.map(drop),
        counted.map(drop),
    ] {
        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains(part), "{status}");
        let detail = detail_of(&status);
        assert_eq!(detail.code(), ErrorCode::Starting);
        assert!(detail.retry_elsewhere && detail.retry_after_seconds.is_some());
    }
    let chat = worker.post(&about(TICKET, json!({}))).send();
    let (chat, models) = tokio::join!(chat, worker.get("/v1/models").send());
    for response in [chat.unwrap(), models.unwrap()] {
        let wait = response.headers()["retry-after"].to_str().unwrap();
        assert!((1..=120).contains(&wait.parse::<u32>().unwrap()));
        assert!(response.headers().contains_key("x-request-id"));
        let (status, error) = error_of(response).await;
        assert_eq!((status, &error["code"]), (503, &json!("starting")));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
    }
    let health = worker.get("/health").send().await.unwrap();
    assert_eq!(health.status(), 503);
    assert_eq!(worker.admin("/readyz").await.0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_download_is_can_be_asked_on_the_port_that_will_serve_it() {
    let registry = Registry::with(&triage(), None).await;
    let cache = tempfile::tempdir().unwrap();
    let args = ["--cache", cache.path().to_str().unwrap()];
    let mut worker = Worker::fetching(&registry.source(), &args);
    worker.opened();
    worker
        .until(|load| load["arriving"]["done_bytes"].as_u64() > Some(1_000_000))
        .await;
    let told = described(&worker).await;
    assert_eq!((told.phase(), &*told.model), (Phase::Fetching, "triage"));
    assert_eq!(told.version, env!("CARGO_PKG_VERSION"));
    let arriving = told.arriving.unwrap();
    assert!(arriving.total_bytes > Some(arriving.done_bytes));
    assert!(arriving.done_bytes > 1_000_000 && arriving.bytes_per_second > 0);
    let percent = arriving.percent.unwrap();
    assert!((1..100).contains(&percent), "{percent}");
    let part = format!(": {percent} % of ");
    assert!(arriving.said.contains(&part), "{}", arriving.said);
    expect_refusals(&worker, &part).await;

    // The connection that was opened before is served too.
    let mut early = worker.grpc().await;
    registry.open();
    worker.listening();
    let told = early.describe(DescribeRequest {}).await;
    let told = told.unwrap().into_inner();
    assert_eq!((told.phase(), told.arriving), (Phase::Serving, None));
    assert_eq!(worker.admin("/readyz").await.0, 200);
    worker.chat(&about(TICKET, json!({}))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_here_is_not_served_before_it_is_ready() {
    // Readiness waits a while for adapters that are on their way.
    let registry = Registry::with(&triage(), None).await;
    let cache = tempfile::tempdir().unwrap();
    let adapters = tempfile::tempdir().unwrap();
    let list = json!([{ "name": "late", "source": registry.source() }]);
    std::fs::write(adapters.path().join("adapters.json"), list.to_string()).unwrap();
    let args = ["--cache", cache.path().to_str().unwrap()];
    let adapters = ["--adapters", adapters.path().to_str().unwrap()];
    let args = [args, adapters].concat();
    let mut worker = Worker::fetching("file:///model", &args);
    worker.opened();
    let mut phases = vec![Phase::Fetching];
    while phases.last() != Some(&Phase::Adapters) {
        phases.push(described(&worker).await.phase());
        assert_ne!(phases.last(), Some(&Phase::Serving));
    }
    assert!(phases.is_sorted(), "{phases:?}");
    assert_eq!(described(&worker).await.arriving, None);
    expect_refusals(&worker, "waiting for its adapters").await;
    registry.open();
    worker.listening();
    assert_eq!(described(&worker).await.phase(), Phase::Serving);
}

#[tokio::test]
async fn a_worker_that_is_told_to_end_while_it_loads_ends_with_its_connections() {
    let registry = Registry::with(&triage(), None).await;
    let cache = tempfile::tempdir().unwrap();
    let args = ["--cache", cache.path().to_str().unwrap()];
    let mut worker = Worker::fetching(&registry.source(), &args);
    worker.opened();
    let mut early = worker.grpc().await;
    early.describe(DescribeRequest {}).await.unwrap();
    worker.get("/v1/models").send().await.unwrap();
    worker.terminate();
    let mut worker = worker.worker();
    assert!(worker.wait().await.success());
}
