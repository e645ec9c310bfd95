//! What the operator and Prometheus read on the admin port.

use serde_json::{Value, json};

use crate::harness::{Worker, about, copy};

#[tokio::test]
async fn a_report_says_what_is_served_and_its_version_grows_with_changes() {
    let worker = Worker::start(&[]).await;
    worker.until(|load| load["model"].is_object()).await;
    let before = worker.report().await;
    let model = &before["worker"]["model"];
    assert_eq!(model["architecture"], "Llama");
    assert!(model["digest"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(model["context_tokens"], 512);
    assert!(model["parameters"].as_u64().unwrap() > 1_000_000);
    assert!(before["worker"]["cold_start"]["load_ms"].is_u64());
    let number = |of: &Value| of.as_u64().unwrap();
    let capacity = &before["worker"]["capacity"];
    assert!(number(&capacity["tokens_per_second"]) > 0);
    assert!((1..=256).contains(&number(&capacity["sequences"])));
    // Nobody asked for a number.
    assert!((8..=256).contains(&number(&before["worker"]["max_sequences"])));
    worker.chat(&about("Where is my parcel?", json!({}))).await;
    // The answer may be here before the report is.
    let queried = number(&before["worker"]["queried_tokens"]);
    let is_over =
        |load: &Value| number(&load["queried_tokens"]) > queried && load["blocks_used"] == 0;
    worker.until(is_over).await;
    let after = worker.report().await;
    assert!(number(&after["version"]) > number(&before["version"]));
    assert!(after["worker"]["blocks_total"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_poll_without_news_is_answered_with_what_holds() {
    let worker = Worker::start(&[]).await;
    worker.until(|load| load["model"].is_object()).await;
    let version = worker.report().await["version"].as_u64().unwrap();
    let (status, _) = worker.admin(&format!("/load?after={version}")).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn readiness_and_metrics_are_there() {
    let worker = Worker::start(&[]).await;
    worker.until(|load| load["model"].is_object()).await;
    worker.chat(&about("Where is my parcel?", json!({}))).await;
    // The answer may be here before its blocks are given back.
    // One token warms it up.
    let is_over =
        |load: &Value| load["queried_tokens"].as_u64() > Some(1) && load["blocks_used"] == 0;
    worker.until(is_over).await;
    assert_eq!(worker.admin("/readyz").await.0, 200);
    let (_, metrics) = worker.admin("/metrics").await;
    for name in [
        "weir_worker_requests_total{call=\"generate\",outcome=\"answered\"} 1",
        "weir_worker_prompt_tokens_total ",
        "weir_worker_completion_tokens_total ",
        "weir_worker_time_to_first_token_seconds_count 1",
        "weir_worker_token_interval_seconds_count ",
        "weir_worker_request_seconds_count{call=\"generate\"} 1",
        "weir_worker_running_requests ",
        "weir_worker_waiting_requests ",
        "weir_worker_kv_used_blocks 0.0",
        "weir_worker_kv_blocks ",
        "weir_worker_preemptions_total 0",
        "weir_worker_cache_queried_tokens_total ",
        "weir_worker_cache_hit_tokens_total ",
    ] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn a_context_that_nobody_fills_takes_no_memory_at_the_start() {
    let model = copy();
    let path = model.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["max_position_embeddings"] = json!(50_000_000);
    std::fs::write(path, config.to_string()).unwrap();
    let worker = Worker::serving(model.path(), &[]).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    let peak: u64 = words[1].parse().unwrap();
    assert!(peak < 256 * 1024, "{peak} KiB");
}
