//! What is paid for is not asked for twice, and who waits for money loses no time by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use weir_crds::Money;

use crate::money::{call, grant, impatient, money, patient, purse, rig, within};
use crate::rig::{Rig, header, json_of, streamed};
use crate::worker::{Scripted, sure};

/// An endpoint that always answers with these events, and how often it was asked.
async fn saying(events: &'static str) -> (String, Arc<AtomicUsize>, JoinSet<()>) {
    let count = Arc::new(AtomicUsize::new(0));
    let asked = count.clone();
    let answer = move || {
        asked.fetch_add(1, Ordering::Relaxed);
        async move { ([(CONTENT_TYPE, "text/event-stream")], events) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    let app = Router::new().fallback(answer);
    server.spawn(async move { axum::serve(listener, app).await.unwrap() });
    (base, count, server)
}

const OVERLOADED: &str = concat!(
    r#"data: {"error":{"type":"overloaded_error","message":"come again"}}"#,
    "\n\n"
);
const OVERLOADED_MIDWAY: &str = concat!(
    r#"data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"bill"},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"error":{"type":"overloaded_error","message":"come again"}}"#,
    "\n\n"
);

#[tokio::test]
async fn an_endpoint_that_is_overloaded_midway_was_paid_and_is_not_asked_again() {
    for (events, times) in [(OVERLOADED, 3), (OVERLOADED_MIDWAY, 1)] {
        let (base, count, _server) = saying(events).await;
        let policy = json!({
            "tiers": [
                { "name": "first", "deployment": null, "endpoint": {
                    "provider": "OpenAICompatible", "model": "big", "baseUrl": base,
                    "price": { "inputPerMillion": "3", "outputPerMillion": "15" },
                } },
                { "name": "last", "endpoint": null, "deployment": { "name": "triage" } },
            ],
            "retries": { "max": 2, "on": ["Overloaded"] },
            "timeout": "10s",
        });
        let worker = Scripted::start([sure()]).await;
        let rig = Rig::with(policy, &[&worker]).await;
        let response = rig.ask(json!({ "stream": true })).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "x-weir-tier"), "last");
        assert_eq!(streamed(response).await.text, "billing");
        assert_eq!(count.load(Ordering::Relaxed), times, "{events}");
    }
}

#[tokio::test]
async fn who_asks_for_more_than_any_budget_has_is_told_which_field_says_so() {
    let rig = rig(within("Reject"), patient).await;
    for field in ["max_tokens", "max_completion_tokens"] {
        let response = rig.ask(json!({ field: 9_000_000 })).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let error = json_of(response).await["error"].clone();
        assert_eq!(error["param"], field, "{error}");
    }
    assert!(rig.sent_to_frontier().await.is_empty());
}

#[tokio::test]
async fn who_sends_a_prompt_that_no_budget_has_enough_for_is_not_told_to_shorten_the_answer() {
    let rig = rig(of("0.0001"), patient).await;
    for body in [json!({}), json!({ "max_tokens": 9_000_000 })] {
        let response = rig.ask(body).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let error = json_of(response).await["error"].clone();
        assert_eq!(error["param"], "messages", "{error}");
    }
    assert!(rig.sent_to_frontier().await.is_empty());
}

fn of(limit: &str) -> Value {
    json!({ "budget": [{ "period": "Month", "limit": limit, "onExhausted": "Reject" }] })
}

#[tokio::test]
async fn what_calls_in_flight_hold_is_not_spent_and_who_finds_nothing_else_may_come_again() {
    let rig = rig(within("Reject"), impatient).await;
    let call_cost = {
        let load = rig.load().await;
        money(&purse(&load)["call"])
    };
    grant(&rig, call_cost, Money::default()).await;
    rig.frontier_fault("drip=2ms").await;
    let ask = json!({ "max_tokens": 3000 });
    let stream = json!({ "max_tokens": 3000, "stream": true });
    let stream = rig.ask(stream).await;
    assert_eq!(header(&stream, "x-weir-tier"), "frontier");
    let response = rig.ask(ask).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&response, "x-should-retry"), "true");
    assert_eq!(header(&response, "retry-after"), "5");
    let error = json_of(response).await["error"].clone();
    assert_eq!(error["code"], "rate_limit_exceeded", "{error}");
    assert!(streamed(stream).await.is_done);
}

#[tokio::test]
async fn the_wait_for_money_is_no_part_of_the_time_that_an_endpoint_has() {
    let mut policy = within("Reject");
    policy["tiers"] = json!([{}, { "endpoint": {
        "timeouts": { "connect": "4s", "firstByte": "4s", "idle": "4s" },
    } }]);
    // Nor of the time that the ask has. The wait and the answer together take longer than either.
    policy["timeout"] = json!("4s");
    let rig = rig(policy, patient).await;
    rig.frontier_fault("stall=2500ms").await;
    let (response, ()) = tokio::join!(call(&rig), async {
        rig.until("the ask waits", |load| {
            !money(&purse(load)["waiting"]).is_zero()
        })
        .await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        grant(&rig, "1".parse().unwrap(), Money::default()).await;
    });
    assert_eq!(header(&response, "x-weir-tier"), "frontier");
    assert_eq!(rig.sent_to_frontier().await.len(), 1);
}

#[tokio::test]
async fn a_dear_call_is_asked_for_by_itself_and_others_wait_for_what_they_need_all_the_same() {
    let rig = rig(within("Reject"), impatient).await;
    // Two dollars, where a call costs some cents.
    let dear = rig.ask(json!({ "max_tokens": 133_000 })).await;
    assert_eq!(dear.status(), StatusCode::TOO_MANY_REQUESTS);
    let load = purse(&rig.load().await);
    assert!(money(&load["call"]) < "0.5".parse().unwrap(), "{load}");
    let (usual, ()) = tokio::join!(call(&rig), async {
        rig.until("it waits", |load| !money(&purse(load)["waiting"]).is_zero())
            .await;
    });
    assert_eq!(usual.status(), StatusCode::TOO_MANY_REQUESTS);
}
