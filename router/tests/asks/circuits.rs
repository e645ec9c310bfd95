//! Endpoints that are down or ask for time, over real sockets.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::rig::{QUESTION, Rig, Setup, header, json_of, streamed, world};
use crate::wires::Wire;
use crate::worker::{Play, Scripted, unsure};

/// Twice the first pause of a circuit, and more.
const LONG: Duration = Duration::from_secs(30);

/// A policy whose errors are told.
fn told() -> Value {
    json!({ "onAllUnsure": "Error" })
}

async fn unsure_below() -> Rig {
    Rig::with(told(), &[&Scripted::start([unsure()]).await]).await
}

/// The code of the error that an ask ends in.
async fn failed(rig: &Rig, status: StatusCode) -> Value {
    let response = rig.ask(json!({})).await;
    assert_eq!(response.status(), status);
    json_of(response).await["error"]["code"].clone()
}

fn circuit(value: u8) -> String {
    format!("weir_router_endpoint_circuit{{policy=\"support\",tier=\"frontier\"}} {value}")
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_left_alone_across_policies_and_asked_again_when_it_is_back() {
    let rig = unsure_below().await;
    rig.until_counted(&circuit(0)).await;
    rig.frontier_fault("status=500").await;
    for _ in 0..5 {
        assert_eq!(failed(&rig, StatusCode::BAD_GATEWAY).await, "broken");
    }
    // Another generation of the policy is about the same endpoint.
    let mut policy = told();
    policy["timeout"] = "90s".into();
    let scripted = Scripted::start([unsure()]).await;
    let world = world(policy, &rig.frontier, &[scripted.address]);
    rig.follow(world).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&response, "x-should-retry"), "true");
    let wait: u64 = header(&response, "retry-after").parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    let error = json_of(response).await["error"].clone();
    assert_eq!(error["code"], "circuit_open");
    assert_eq!(error["attempts"][1]["outcome"], "circuit_open");
    assert_eq!(rig.sent_to_frontier().await.len(), 5);
    rig.until_counted(&circuit(2)).await;
    rig.no_frontier_faults().await;
    let back = async {
        while rig.ask(json!({})).await.status() != StatusCode::OK {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LONG, back).await.expect("it is probed");
    rig.until_counted(&circuit(0)).await;
    assert_eq!(rig.sent_to_frontier().await.len(), 6, "one ask probed");
}

#[tokio::test]
async fn an_endpoint_that_asked_for_time_is_not_asked_before_and_the_client_is_told_when() {
    let rig = unsure_below().await;
    rig.frontier_fault("throttle=60s").await;
    for _ in 0..3 {
        let response = rig.ask(json!({})).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let wait: u64 = header(&response, "retry-after").parse().unwrap();
        assert!((50..=60).contains(&wait), "{wait}");
    }
    assert_eq!(rig.sent_to_frontier().await.len(), 1);
    rig.until_counted(&circuit(0)).await;
}

#[tokio::test]
async fn a_limit_of_counts_closes_the_model_to_no_messages() {
    let policy = json!({
        "rules": [{ "name": "up", "when": {}, "then": { "only": "frontier" } }],
        "tiers": [{}, { "endpoint": { "provider": "Anthropic" } }],
    });
    let rig = Rig::with(policy, &[]).await;
    rig.frontier_fault("throttle=60s").await;
    let body = Wire::Messages.body(QUESTION, false).to_string();
    let url = format!("{}/v1/messages/count_tokens", rig.url);
    let counted = rig.client.post(url).body(body.clone()).send().await;
    assert_eq!(header(&counted.unwrap(), "x-weir-estimated"), "true");
    assert_eq!(rig.sent_to_frontier().await.len(), 1, "it was asked");
    rig.no_frontier_faults().await;
    let url = format!("{}/v1/messages", rig.url);
    let answered = rig.client.post(url).body(body).send().await.unwrap();
    assert_eq!(answered.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_endpoint_that_asked_for_time_leaves_the_answer_to_what_else_there_is() {
    // Dropped at its end, so that it is there to be given.
    let whole = vec![Play::Say("hardware", -0.3), Play::End];
    let rig = Rig::with(json!({}), &[&Scripted::start([whole]).await]).await;
    rig.frontier_fault("throttle=60s").await;
    for _ in 0..2 {
        let response = rig.ask(json!({})).await;
        let attempts = header(&response, "x-weir-attempts");
        assert!(attempts.contains("frontier;overloaded"), "{attempts}");
        assert_eq!(header(&response, "x-weir-unsure"), "true");
    }
    assert_eq!(rig.sent_to_frontier().await.len(), 1);
}

#[tokio::test]
async fn asks_beyond_the_places_of_an_endpoint_wait_within_their_time() {
    let rig = Rig::start(Setup {
        policy: json!({ "onAllUnsure": "Error", "timeout": "2s", "retries": { "max": 0 } }),
        workers: vec![Scripted::start([unsure()]).await],
        args: |args| args.max_endpoint_asks = 1,
        ..Setup::default()
    })
    .await;
    // Hangs after its first piece, and keeps the one place.
    rig.frontier_fault("hang-after=1").await;
    let kept = rig.ask(json!({ "stream": true })).await;
    let began = Instant::now();
    let refused = rig.ask(json!({})).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(began.elapsed() < LONG, "no longer than the policy's time");
    assert_eq!(json_of(refused).await["error"]["code"], "overloaded");
    assert_eq!(rig.sent_to_frontier().await.len(), 1);
    rig.no_frontier_faults().await;
    let (free, ()) = tokio::join!(rig.ask(json!({ "stream": true })), async { drop(kept) });
    assert!(streamed(free).await.is_done);
}
