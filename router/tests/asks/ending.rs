//! A router that is told to end.

use std::time::Duration;

use http::StatusCode;
use reqwest::{Client, Response};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::rig::{Rig, Setup, json_of};
use crate::worker::{Play, Reply, Scripted, sure, unsure};

/// Far below the deadline after which a process drops what still runs.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn an_idle_router_ends_at_once() {
    let rig = Rig::start(Setup::default()).await;
    rig.begin_end();
    timeout(SOON, rig.ended()).await.unwrap();
}

#[tokio::test]
async fn an_ask_in_hand_is_answered_before_the_end() {
    let worker = Scripted::start([unsure()]).await;
    let workers = vec![worker];
    let rig = Rig::start(Setup {
        workers,
        ..Setup::default()
    })
    .await;
    rig.frontier_fault("stall=500ms").await;
    let (response, ()) = tokio::join!(rig.ask(json!({})), async {
        rig.until_counted("weir_router_asks_running 1").await;
        rig.begin_end();
    });
    assert_eq!(response.status(), StatusCode::OK);
    timeout(SOON, rig.ended()).await.unwrap();
}

/// One client of each version of HTTP.
fn clients() -> [Client; 2] {
    // Fails if another test of this binary was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http2 = Client::builder().http2_prior_knowledge().build();
    [Client::new(), http2.unwrap()]
}

/// A router whose only replica plays `script` as it comes.
async fn rig(script: Vec<Play>) -> (Rig, Scripted) {
    let worker = Scripted::start([script]).await;
    let rig = Rig::start(Setup {
        policy: json!({ "streaming": { "holdBack": "None" } }),
        workers: vec![worker.clone()],
        process: |args| args.shutdown_deadline = Duration::from_secs(3),
        ..Setup::default()
    })
    .await;
    (rig, worker)
}

/// A stream, read until the first word of its answer.
async fn begun(client: &Client, rig: &Rig, path: &str) -> (Response, String) {
    let body = json!({
        "model": "assistant", "stream": true, "max_tokens": 9, "input": "hi",
        "messages": [{ "role": "user", "content": "hi" }],
    });
    let request = client.post(format!("{}{path}", rig.url));
    let mut response = request.body(body.to_string()).send().await.unwrap();
    let mut text = String::new();
    while !text.contains("bil") {
        let chunk = response.chunk().await.unwrap().expect("more of it");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    (response, text)
}

#[tokio::test]
async fn a_stream_in_hand_goes_on_while_draining_and_ends_whole() {
    let script = [
        Play::Say("bil", -0.01),
        Play::Wait,
        Play::Say("ling", -0.01),
        Play::End,
    ];
    for client in clients() {
        let (rig, worker) = rig(script.to_vec()).await;
        let (response, begin) = begun(&client, &rig, "/v1/chat/completions").await;
        rig.begin_end();
        let (admin, asks) = (format!("{}/readyz", rig.admin), rig.client.clone());
        let address = rig.url.strip_prefix("http://").unwrap().to_owned();
        let reading = async {
            // Nothing new is accepted once it drains.
            while TcpStream::connect(&address).await.is_ok() {
                tokio::task::yield_now().await;
            }
            let ready = asks.get(admin).send().await.unwrap();
            assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
            worker.go_on();
            let text = begin + &response.text().await.unwrap();
            assert!(text.contains("ling") && text.contains("[DONE]"), "{text}");
            assert!(!text.contains("error"), "{text}");
        };
        let (ended, ()) = tokio::join!(timeout(SOON, rig.ended()), reading);
        ended.unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_outlasts_the_deadline_ends_in_one_error_of_its_own_wire() {
    let paths = [
        ("/v1/chat/completions", "data: {\"error\":"),
        ("/v1/messages", "event: error\n"),
        ("/v1/responses", "event: response.failed\n"),
    ];
    for client in clients() {
        let (rig, worker) = rig(vec![Play::Say("bil", -0.01), Play::Hang]).await;
        let mut streams = Vec::new();
        for (path, error) in paths {
            let (response, _) = begun(&client, &rig, path).await;
            streams.push((response, error));
        }
        rig.begin_end();
        let reading = async {
            for (response, error) in streams {
                let text = response.text().await.expect("it is not cut");
                assert_eq!(text.matches(error).count(), 1, "{text}");
                assert!(text.contains("the router ends"), "{text}");
                assert!(!text.contains("[DONE]"), "{text}");
            }
        };
        let (ended, ()) = tokio::join!(timeout(SOON, rig.ended()), reading);
        ended.unwrap();
        assert_eq!(worker.cancelled(), 3);
    }
}

#[tokio::test]
async fn an_ask_that_is_not_asked_of_any_tier_when_time_is_up_is_told_so() {
    let worker = Scripted::start([sure()]).await.chooses(Reply::Never);
    let classifier = json!({ "deployment": { "name": "triage" }, "labels": [
        { "label": "easy", "start": "small" }, { "label": "hard", "start": "frontier" },
    ] });
    let rig = Rig::start(Setup {
        policy: json!({ "classifier": classifier }),
        workers: vec![worker],
        process: |args| args.shutdown_deadline = Duration::from_secs(2),
        ..Setup::default()
    })
    .await;
    let body = json!({
        "model": "assistant", "messages": [{ "role": "user", "content": "hi" }],
    });
    let request = Client::new().post(format!("{}/v1/chat/completions", rig.url));
    let ending = async {
        rig.until_counted("weir_router_asks_running 1").await;
        rig.begin_end();
        timeout(SOON, rig.ended()).await.unwrap();
    };
    let (response, ()) = tokio::join!(request.body(body.to_string()).send(), ending);
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(json_of(response).await["error"]["code"], "router_ending");
}
