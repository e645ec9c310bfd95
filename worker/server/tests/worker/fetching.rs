//! A model that is not on this machine.

use serde_json::json;

use crate::{
    harness::{Worker, about, fail_to_start, triage},
    registry::Registry,
};

const TICKET: &str = "Where is my parcel?";

#[tokio::test(flavor = "multi_thread")]
async fn a_model_on_its_way_is_told_of_then_served_and_there_for_the_next_start() {
    let registry = Registry::with(&triage(), None).await;
    let cache = tempfile::tempdir().unwrap();
    let args = ["--cache", cache.path().to_str().unwrap()];
    let mut worker = Worker::fetching(&registry.source(), &args);
    worker
        .until(|load| load["arriving"]["done_bytes"].as_u64() > Some(1_000_000))
        .await;
    let arriving = worker.report().await["worker"]["arriving"].clone();
    let said = arriving["said"].as_str().unwrap();
    // Of all the files that came, the last that got something is named.
    assert!(
        said.starts_with("downloading ") && said.contains(" % of "),
        "{said}"
    );
    assert!(arriving["total_bytes"].as_u64() > arriving["done_bytes"].as_u64());
    assert_eq!(worker.admin("/readyz").await.0, 503);
    let (_, metrics) = worker.admin("/metrics").await;
    let total = format!(
        "weir_worker_download_total_bytes {}",
        arriving["total_bytes"]
    );
    assert!(metrics.contains(&total), "{total} is not in\n{metrics}");

    registry.open();
    worker.listening();
    worker.until(|load| load["model"].is_object()).await;
    let report = worker.report().await["worker"].clone();
    assert_eq!(report["model"]["revision"], registry.digest);
    assert_eq!(report["arriving"], json!(null));
    assert!(report["cold_start"]["download_ms"].as_u64() > Some(0));
    let mut grpc = worker.grpc().await;
    let described = grpc.describe(weir_worker_api::DescribeRequest {});
    let described = described.await.unwrap().into_inner();
    assert_eq!(described.revision, registry.digest);
    let answer = worker.chat(&about(TICKET, json!({}))).await;
    let local = Worker::start(&[])
        .await
        .chat(&about(TICKET, json!({})))
        .await;
    let text = |answer: &serde_json::Value| answer["choices"][0]["message"]["content"].clone();
    assert_eq!(text(&answer), text(&local));

    let source = registry.source();
    drop((worker, registry));
    let mut again = Worker::fetching(&source, &["--offline", args[0], args[1]]);
    again.listening();
    assert_eq!(
        text(&again.chat(&about(TICKET, json!({}))).await),
        text(&answer)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_refuses_is_named_with_its_reason() {
    // anna:secret
    let registry = Registry::with(&triage(), Some("Basic YW5uYTpzZWNyZXQ=")).await;
    registry.open();
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let credentials = folder.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let credentials = credentials.to_str().unwrap();
    let args = [
        "--cache",
        cache.to_str().unwrap(),
        "--credentials",
        credentials,
    ];
    let refused = |source: String| {
        let failed = fail_to_start(&source, &triage(), &args);
        assert_eq!(failed.said.len(), 1, "{:?}", failed.said);
        assert_eq!(failed.termination_log, format!("{}\n", failed.said[0]));
        failed.said[0].clone()
    };
    let said = refused(registry.source());
    assert!(said.starts_with("Unauthorized: "), "{said}");
    for (name, entry) in [("username", "anna"), ("password", "secret")] {
        std::fs::write(format!("{credentials}/{name}"), entry).unwrap();
    }
    let said = refused(registry.source().replace(":v1", ":v2"));
    assert!(said.starts_with("ModelNotFound: "), "{said}");
    let mut worker = Worker::fetching(&registry.source(), &args);
    worker.listening();
    assert_eq!(
        worker.report().await["worker"]["model"]["revision"],
        registry.digest
    );
}

/// A folder with these files.
pub fn pins(entries: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in entries {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_loads_what_was_pinned_or_nothing() {
    let nothing = pins(&[]);
    let first = Worker::start(&["--pins", nothing.path().to_str().unwrap()]).await;
    let digest = first.report().await["worker"]["model"]["digest"].clone();
    let same = pins(&[("digest", digest.as_str().unwrap())]);
    Worker::start(&["--pins", same.path().to_str().unwrap()]).await;

    let other = pins(&[("digest", "sha256:abc")]);
    let args = ["--pins", other.path().to_str().unwrap()];
    let failed = fail_to_start("file:///model", &triage(), &args);
    let said = failed.said.join("\n");
    assert!(said.starts_with("DigestMismatch: "), "{said}");
    assert!(said.contains("sha256:abc"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_address_resolved_to_is_asked_for_though_it_means_something_else_now() {
    let registry = Registry::with(&triage(), None).await;
    registry.open();
    // A tag that is gone since.
    let source = registry.source().replace(":v1", ":v0");
    let cache = tempfile::tempdir().unwrap();
    let cache = ["--cache", cache.path().to_str().unwrap()];
    let failed = fail_to_start(&source, &triage(), &cache);
    assert!(
        failed.said[0].starts_with("ModelNotFound: "),
        "{:?}",
        failed.said
    );

    let pinned = pins(&[("resolved", &registry.digest)]);
    let args = [
        cache[0],
        cache[1],
        "--pins",
        pinned.path().to_str().unwrap(),
    ];
    let mut worker = Worker::fetching(&source, &args);
    worker.listening();
    let report = worker.report().await;
    assert_eq!(report["worker"]["model"]["revision"], registry.digest);
}
