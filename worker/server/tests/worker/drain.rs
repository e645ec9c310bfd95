//! The end of a worker: what was begun is finished, new work is refused in its own protocol.

use futures::StreamExt;
use serde_json::json;
use weir_worker_api::{WatchRequest, detail_of};

use crate::harness::{Worker, about, endless, error_of, pieces};

#[tokio::test]
async fn an_answer_that_was_begun_is_finished_and_a_new_one_is_refused() {
    let mut worker = Worker::start(&[]).await;
    let body = endless(json!({ "stream": true }));
    let mut watch = worker
        .grpc()
        .await
        .watch(WatchRequest {})
        .await
        .unwrap()
        .into_inner();
    let begun = worker.post(&body).send().await.unwrap();
    worker.until(|load| load["running"] == 1).await;
    worker.terminate();
    while !watch.next().await.unwrap().unwrap().draining {}
    let refused = worker
        .post(&about("hello", json!({})))
        .send()
        .await
        .unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    let (status, error) = error_of(refused).await;
    assert_eq!((status, &error["code"]), (503, &json!("draining")));
    let (_, readiness) = worker.admin("/readyz").await;
    assert!(readiness.starts_with("not ready"), "{readiness}");
    let (all, ended) = pieces(begun).await;
    assert!(ended, "the answer has its end mark");
    assert_eq!(all.last().unwrap()["choices"][0]["finish_reason"], "length");
    assert!(worker.wait().success());
}

#[tokio::test]
async fn a_draining_worker_sends_routers_elsewhere() {
    let worker = Worker::start(&[]).await;
    let mut client = worker.grpc().await;
    let body = endless(json!({ "stream": true }));
    let begun = worker.post(&body).send().await.unwrap();
    let mut watch = client.watch(WatchRequest {}).await.unwrap().into_inner();
    worker.terminate();
    while !watch.next().await.unwrap().unwrap().draining {}
    let status = client
        .generate(crate::grpc::request("hello"))
        .await
        .unwrap_err();
    let detail = detail_of(&status);
    assert!(detail.retry_elsewhere, "{status}");
    drop(begun);
}

#[tokio::test]
async fn work_that_outlasts_the_drain_is_cut_off() {
    let mut worker = Worker::start(&["--drain", "50ms"]).await;
    let mut watch = worker
        .grpc()
        .await
        .watch(WatchRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(!watch.next().await.unwrap().unwrap().draining);
    worker.terminate();
    assert!(worker.wait().success());
}
