//! Clients that ask for an answer and do not read it.

use std::time::Duration;

use futures::StreamExt;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::{Code, transport::Endpoint};
use weir_worker_api::worker_client::WorkerClient;

use crate::harness::{Worker, about, endless};

/// Longer than a machine that is busy keeps one who reads.
const PATIENCE: [&str; 4] = [
    "--reader-patience=2s",
    "--connection-patience=1s",
    "--max-sequences=16",
    "--max-waiting=4",
];

/// What was written of answers that were given up, and that the next is served.
async fn expect_given_up(worker: &Worker) {
    worker.until_said(&["an answer is given up"]).await;
    worker.until_idle().await;
    let report = worker.report().await;
    assert_eq!(report["worker"]["blocks_used"], 0, "{report}");
    worker.chat(&about("Where is my parcel?", json!({}))).await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_given_up_and_says_so_at_its_end() {
    let worker = Worker::start(&PATIENCE).await;
    // More than lies between two processes.
    let much = json!({ "stream": true, "n": 16, "logprobs": true, "top_logprobs": 20 });
    let response = worker.post(&endless(much)).send().await.unwrap();
    let mut stream = response.bytes_stream();
    stream.next().await.unwrap().unwrap();
    expect_given_up(&worker).await;
    let mut rest = Vec::new();
    while let Some(piece) = stream.next().await {
        rest.extend_from_slice(&piece.unwrap());
    }
    let rest = String::from_utf8(rest).unwrap();
    let mut last = rest.trim_end().rsplit("\n\n");
    assert_eq!(last.next(), Some("data: [DONE]"));
    let error = last.next().unwrap().strip_prefix("data: ").unwrap();
    let error: Value = serde_json::from_str(error).unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    assert_eq!(message, "the answer was not read for too long");
}

#[tokio::test]
async fn a_grpc_stream_that_nobody_reads_is_given_up_beside_one_that_is_read() {
    let worker = Worker::start(&PATIENCE).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", worker.address)).unwrap();
    let channel = endpoint.initial_stream_window_size(1 << 14).connect().await;
    let mut client = WorkerClient::new(channel.unwrap());
    let request = weir_worker_api::GenerateRequest {
        choices: 15,
        top_logprobs: 20,
        ..crate::grpc::endless(1, 400)
    };
    let mut unread = client.generate(request).await.unwrap().into_inner();
    unread.next().await.unwrap().unwrap();
    // On the same connection.
    let beside = client.generate(crate::grpc::endless(2, 400)).await;
    let mut beside = beside.unwrap().into_inner();
    while let Some(event) = beside.next().await {
        event.unwrap();
    }
    expect_given_up(&worker).await;
    let mut last = None;
    while let Some(event) = unread.next().await {
        last = Some(event);
    }
    let status = last.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "the answer was not read for too long");
}

#[tokio::test]
async fn a_whole_answer_over_http2_that_its_client_lets_nobody_send_is_dropped() {
    let worker = Worker::start(&PATIENCE).await;
    let client = Client::builder().http2_prior_knowledge();
    let client = client.http2_initial_stream_window_size(0).no_proxy();
    let url = format!("http://{}/v1/models", worker.address);
    // Its head comes; of the rest nothing may be sent, and the connection is well.
    let unread = client.build().unwrap().get(url).send().await.unwrap();
    assert_eq!(unread.status(), 200);
    let dropped = timeout(Duration::from_secs(300), unread.bytes()).await;
    assert!(dropped.expect("the answer is dropped").is_err());
}

#[tokio::test]
async fn a_grpc_client_that_leaves_frees_what_its_answer_held() {
    let worker = Worker::start(&[]).await;
    let mut client = worker.grpc().await;
    let mut stream = client
        .generate(crate::grpc::endless(1, 450))
        .await
        .unwrap()
        .into_inner();
    stream.next().await.unwrap().unwrap();
    worker.until(|load| load["running"] == 1).await;
    drop(stream);
    worker.until_idle().await;
    assert_eq!(worker.report().await["worker"]["blocks_used"], 0);
    let (_, metrics) = worker.admin("/metrics").await;
    let cancelled = "weir_worker_requests_total{call=\"generate\",outcome=\"cancelled\"} 1";
    assert!(metrics.contains(cancelled), "{metrics}");
}
