//! Asks that are refused before any attempt, in OpenAI's shape.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::rig::{Rig, Setup, header, json_of};
use crate::worker::{Play, Scripted, sure};

async fn refused(response: reqwest::Response, status: StatusCode) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(header(&response, "x-should-retry"), "false");
    assert!(!header(&response, "x-request-id").is_empty());
    let body = json_of(response).await;
    assert_eq!(body["error"]["type"], "invalid_request_error");
    body["error"].clone()
}

#[tokio::test]
async fn invalid_json_is_refused_with_its_place_and_a_wrong_field_by_name() {
    let rig = Rig::start(Setup::default()).await;
    let response = rig.post("{\"model\": ".into(), HeaderMap::new()).await;
    let error = refused(response, StatusCode::BAD_REQUEST).await;
    assert!(
        error["message"].as_str().unwrap().contains("line 1 column"),
        "{error}"
    );
    let response = rig.ask(json!({ "temperature": "hot" })).await;
    let error = refused(response, StatusCode::BAD_REQUEST).await;
    assert_eq!(error["param"], "temperature");
}

#[tokio::test]
async fn an_unknown_model_is_answered_with_those_that_exist() {
    let rig = Rig::start(Setup::default()).await;
    let response = rig.ask(json!({ "model": "gpt-x" })).await;
    let error = refused(response, StatusCode::NOT_FOUND).await;
    assert_eq!(error["code"], "model_not_found");
    assert_eq!(
        error["message"],
        "there is no model \"gpt-x\"; there are: assistant, triage, triage:tickets"
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_the_next_one_served() {
    let worker = Scripted::start([sure()]).await;
    let rig = Rig::start(Setup {
        workers: vec![worker],
        args: |args| args.max_body_bytes = 1000,
        ..Setup::default()
    })
    .await;
    let response = rig.ask(json!({ "user": "x".repeat(1000) })).await;
    let error = refused(response, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert_eq!(error["message"], "the body is longer than 1000 bytes");
    assert_eq!(rig.ask(json!({})).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_writes_before_it_reads_sees_why_its_long_body_is_refused() {
    let rig = Rig::start(Setup::default()).await;
    let address = rig.url.strip_prefix("http://").unwrap().to_owned();
    let answer = tokio::task::spawn_blocking(move || {
        use std::io::{Read, Write};
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        let body = vec![b' '; 30 << 20];
        let length = body.len();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(&body).unwrap();
        let mut start = [0; 12];
        socket.read_exact(&mut start).unwrap();
        String::from_utf8(start.to_vec()).unwrap()
    });
    assert_eq!(answer.await.unwrap(), "HTTP/1.1 413");
}

#[tokio::test]
async fn bodies_that_would_fill_memory_are_told_to_come_back() {
    let worker = Scripted::start([vec![Play::Say("bil", -0.01), Play::Hang]]).await;
    let rig = Rig::start(Setup {
        workers: vec![worker],
        args: |args| args.max_bodies_bytes = 256 << 10,
        ..Setup::default()
    })
    .await;
    let long = "x".repeat(100 << 10);
    let first = json!({ "model": "triage", "stream": true, "user": long });
    let first = rig.ask(first).await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = rig.ask(json!({ "user": long })).await;
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&second, "retry-after"), "1");
    let values = vec![0; 200_000];
    let refused = rig.ask(json!({ "made_up": values })).await;
    assert!(refused.status().is_client_error());
    drop(first);
}

#[tokio::test]
async fn a_pinned_tier_is_refused_by_its_header_where_nobody_may_pin() {
    let rig = Rig::start(Setup::default()).await;
    let mut headers = HeaderMap::new();
    headers.insert("x-weir-tier", http::HeaderValue::from_static("frontier"));
    let response = rig.ask_with(json!({}), headers).await;
    let error = refused(response, StatusCode::FORBIDDEN).await;
    assert_eq!(error["param"], "x-weir-tier");
    assert!(rig.sent_to_frontier().await.is_empty());
}

#[tokio::test]
async fn every_early_refusal_is_counted_as_refused_and_none_as_broken() {
    let worker = Scripted::start([vec![Play::Say("bil", -0.01), Play::Hang]]).await;
    let rig = Rig::start(Setup {
        policy: json!({ "auth": { "keysSecretRef": { "name": "keys" } } }),
        workers: vec![worker],
        args: |args| (args.max_asks, args.max_body_bytes) = (1, 1000),
        secrets: &[("keys", "alice", "plain:open-sesame")],
        ..Setup::default()
    })
    .await;
    let mut known = HeaderMap::new();
    let key = http::HeaderValue::from_static("Bearer open-sesame");
    known.insert("authorization", key);
    let ask = async |extra: Value, headers: HeaderMap| {
        rig.ask_with(extra, headers).await.status().as_u16()
    };
    assert_eq!(ask(json!({ "n": 0 }), known.clone()).await, 400);
    assert_eq!(ask(json!({}), HeaderMap::new()).await, 401);
    assert_eq!(ask(json!({ "model": "x" }), known.clone()).await, 404);
    let long = json!({ "user": "x".repeat(1000) });
    assert_eq!(ask(long, known.clone()).await, 413);
    let hanging = json!({ "model": "triage", "stream": true });
    let first = rig.ask_with(hanging, known.clone()).await;
    assert_eq!(ask(json!({}), known).await, 429);
    rig.until_counted("weir_router_asks_total{policy=\"\",outcome=\"refused\"} 5")
        .await;
    assert!(!rig.metrics().await.contains("outcome=\"broken\""));
    drop(first);
}

#[tokio::test]
async fn another_path_or_method_is_refused_in_the_same_shape() {
    let rig = Rig::start(Setup::default()).await;
    let response = rig.get("/v1/completions", HeaderMap::new()).await;
    assert_eq!(
        refused(response, StatusCode::NOT_FOUND).await["code"],
        "unknown_url"
    );
    let response = rig.get("/v1/chat/completions", HeaderMap::new()).await;
    refused(response, StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn more_asks_than_the_router_takes_are_told_to_come_back() {
    let worker = Scripted::start([vec![Play::Say("bil", -0.01), Play::Hang]]).await;
    let rig = Rig::start(Setup {
        workers: vec![worker.clone()],
        args: |args| args.max_asks = 1,
        ..Setup::default()
    })
    .await;
    let first = rig.ask(json!({ "model": "triage", "stream": true })).await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = rig.ask(json!({})).await;
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&second, "retry-after"), "1");
    assert_eq!(header(&second, "x-should-retry"), "true");
    assert_eq!(json_of(second).await["error"]["type"], "rate_limit_error");
    drop(first);
    rig.until("the first is let go", |load| {
        load["deployments"]["triage"]["running"] == 0
    })
    .await;
    assert_eq!(worker.cancelled(), 1);
}
