//! The same request twice under one `Idempotency-Key`.

use http::HeaderMap;
use reqwest::Response;
use serde_json::{Value, json};

use crate::rig::{Rig, header, json_of, streamed};
use crate::worker::{Play, Scripted, sure};

pub fn keyed(key: &str) -> HeaderMap {
    let name = http::HeaderName::from_static("idempotency-key");
    [(name, key.parse().unwrap())].into_iter().collect()
}

async fn text_of(response: Response) -> String {
    let body = json_of(response).await;
    let text = body.pointer("/choices/0/message/content");
    text.unwrap_or_else(|| panic!("{body}"))
        .as_str()
        .unwrap()
        .to_owned()
}

/// A router whose worker answers each ask only when it may go on.
async fn rig() -> (Scripted, Rig) {
    let mut script = vec![Play::Wait];
    script.extend(sure());
    let worker = Scripted::start([script]).await;
    let rig = Rig::with(json!({ "retries": { "max": 0 } }), &[&worker]).await;
    (worker, rig)
}

/// Waits until the worker was asked so often.
async fn until_asked(worker: &Scripted, times: usize) {
    for _ in 0..500 {
        if worker.asked().len() >= times {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("asked {} times", worker.asked().len());
}

#[tokio::test]
async fn the_same_request_twice_is_asked_once_and_answered_twice() {
    let (worker, rig) = rig().await;
    let first = async { rig.ask_with(json!({}), keyed("k")).await };
    let again = async {
        until_asked(&worker, 1).await;
        let again = rig.ask_with(json!({}), keyed("k"));
        let go_on = async {
            rig.until_counted("weir_router_asks_running 2").await;
            worker.go_on();
        };
        tokio::join!(again, go_on).0
    };
    let (first, again) = tokio::join!(first, again);
    let decisions = [&first, &again].map(|response| header(response, "x-weir-decision"));
    assert_ne!(decisions[0], decisions[1]);
    assert_eq!(header(&again, "x-weir-tier"), "small");
    assert_eq!(text_of(first).await, "billing");
    assert_eq!(text_of(again).await, "billing");
    // And a little later again: the answer may have been lost on its way.
    let later = rig.ask_with(json!({}), keyed("k")).await;
    assert_eq!(text_of(later).await, "billing");
    assert_eq!(worker.asked().len(), 1);
    rig.until_counted("weir_router_asks_total{policy=\"support\",outcome=\"joined\"} 2")
        .await;
    let path = format!("/v1/decisions/{}", decisions[1]);
    let told: Value = json_of(rig.get(&path, HeaderMap::new()).await).await;
    assert_eq!(told["outcome"], "joined");
    assert_eq!(
        told["route"]["why"],
        format!("the answer of {}", decisions[0])
    );
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused_and_another_key_is_asked() {
    let (worker, rig) = rig().await;
    worker.go_on();
    let first = rig.ask_with(json!({}), keyed("k")).await;
    assert_eq!(text_of(first).await, "billing");
    let other = rig.ask_with(json!({ "max_tokens": 5 }), keyed("k")).await;
    assert_eq!(other.status(), 400);
    assert_eq!(header(&other, "x-should-retry"), "false");
    assert_eq!(json_of(other).await["error"]["param"], "idempotency-key");
    worker.go_on();
    let other = rig.ask_with(json!({ "max_tokens": 5 }), keyed("l")).await;
    assert_eq!(text_of(other).await, "billing");
    let long = rig.ask_with(json!({}), keyed(&"x".repeat(256))).await;
    assert_eq!(json_of(long).await["error"]["param"], "idempotency-key");
    assert_eq!(worker.asked().len(), 2);
}

#[tokio::test]
async fn a_request_whose_headers_ask_for_something_else_is_another_one() {
    let when = |value: &str| json!({ "header": { "name": "X-Way", "values": [value] } });
    let rule = json!({ "name": "r", "when": when("up"), "then": { "start": "frontier" } });
    let class = json!({ "header": { "name": "x-data-class", "values": ["restricted"] } });
    let policy = json!({ "privacy": { "denyWhen": class }, "rules": [rule] });
    let rig = Rig::with(policy, &[&Scripted::start([sure()]).await]).await;
    let ask = async |name: &'static str, value: &'static str| {
        let mut headers = keyed("k");
        headers.insert(name, value.parse().unwrap());
        rig.ask_with(json!({}), headers).await.status()
    };
    // Nobody looks at this one.
    assert_eq!(ask("x-stainless-retry-count", "0").await, 200);
    assert_eq!(ask("x-stainless-retry-count", "1").await, 200);
    for (name, value) in [
        ("x-way", "up"),
        ("x-data-class", "restricted"),
        ("x-weir-tier", "frontier"),
        ("anthropic-beta", "context-1m-2025-08-07"),
    ] {
        assert_eq!(ask(name, value).await, 400, "{name}");
    }
}

#[tokio::test]
async fn whoever_asks_again_after_losing_the_connection_gets_the_answer_that_was_in_the_making() {
    let (worker, rig) = rig().await;
    {
        let lost = rig.ask_with(json!({}), keyed("k"));
        tokio::select! {
            _ = lost => panic!("answered"),
            () = until_asked(&worker, 1) => {}
        }
    }
    rig.until_counted("weir_router_asks_running 1").await;
    let again = rig.ask_with(json!({}), keyed("k"));
    let go_on = async {
        rig.until_counted("weir_router_asks_running 2").await;
        worker.go_on();
    };
    let (again, ()) = tokio::join!(again, go_on);
    assert_eq!(text_of(again).await, "billing");
    assert_eq!((worker.asked().len(), worker.cancelled()), (1, 0));
}

#[tokio::test]
async fn an_error_is_not_kept() {
    let worker = Scripted::start([vec![Play::Die], sure()]).await;
    let nobody = json!({ "endpoint": { "baseUrl": "http://127.0.0.1:1/v1" } });
    let policy = json!({ "retries": { "max": 0 }, "tiers": [{}, nobody] });
    let rig = Rig::with(policy, &[&worker]).await;
    let failed = rig.ask_with(json!({}), keyed("k")).await;
    assert_eq!(failed.status(), 502);
    let again = rig.ask_with(json!({}), keyed("k")).await;
    assert_eq!(text_of(again).await, "billing");
}

#[tokio::test]
async fn a_stream_is_not_given_twice_and_its_key_is_free_when_it_has_ended() {
    let (worker, rig) = rig().await;
    let ask = || rig.ask_with(json!({ "stream": true }), keyed("k"));
    let again = async {
        until_asked(&worker, 1).await;
        let again = ask().await;
        worker.go_on();
        again
    };
    let (first, again) = tokio::join!(ask(), again);
    assert_eq!(again.status(), 409);
    assert_eq!(header(&again, "x-should-retry"), "true");
    assert_eq!(
        json_of(again).await["error"]["code"],
        "idempotency_key_in_use"
    );
    assert_eq!(streamed(first).await.text, "billing");
    rig.until_counted("weir_router_asks_running 0").await;
    worker.go_on();
    assert_eq!(streamed(ask().await).await.text, "billing");
}
