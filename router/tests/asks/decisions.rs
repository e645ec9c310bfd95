//! What a client is told of earlier decisions, and may say of them.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::idempotency::keyed;
use crate::log::Log;
use crate::rig::{Rig, Setup, header, json_of};
use crate::worker::{Play, Reply, Scripted, sure, unsure};

fn bearer(key: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static(key));
    headers
}

async fn with_tenants(worker: Scripted) -> Rig {
    Rig::start(Setup {
        policy: json!({ "auth": { "keysSecretRef": { "name": "keys" } } }),
        workers: vec![worker],
        secrets: &[
            ("keys", "alice", "plain:open-sesame"),
            ("keys", "bob", "plain:abracadabra"),
        ],
        ..Setup::default()
    })
    .await
}

async fn say(rig: &Rig, headers: HeaderMap, feedback: Value) -> reqwest::Response {
    let url = format!("{}/v1/feedback", rig.url);
    let request = rig.client.post(url).headers(headers);
    request.body(feedback.to_string()).send().await.unwrap()
}

#[tokio::test]
async fn a_decision_can_be_asked_about_with_every_step_and_why() {
    let worker = Scripted::start([unsure()]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    let response = rig.ask(json!({ "user": "u-7" })).await;
    let id = header(&response, "x-weir-decision");
    response.text().await.unwrap();
    rig.until_counted("weir_router_asks_running 0").await;
    let response = rig
        .get(&format!("/v1/decisions/{id}"), HeaderMap::new())
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    let record = json_of(response).await;
    for (at, expected) in [
        ("/id", json!(id)),
        ("/policy", json!("support")),
        ("/generation", json!(1)),
        ("/wire", json!("openai.chat")),
        ("/task", json!("Choice")),
        ("/route/by", json!("order")),
        ("/plan/0", json!({ "tier": "small", "reason": "first" })),
        ("/plan/1", json!({ "tier": "frontier", "reason": "above" })),
        ("/attempts/0/outcome", json!("dropped")),
        ("/attempts/0/provider", json!("weir")),
        ("/attempts/0/revision", json!("11111111")),
        ("/attempts/1/outcome", json!("committed")),
        ("/attempts/1/provider", json!("openai_compatible")),
        ("/attempts/1/model", json!("big")),
        ("/attempts/1/host", json!("127.0.0.1")),
        ("/outcome", json!("answered")),
        ("/tier", json!("frontier")),
        ("/finish", json!(["stop"])),
        ("/labels", json!([])),
        ("/coin", Value::Null),
        ("/redacted", Value::Null),
    ] {
        assert_eq!(record.pointer(at), Some(&expected), "{at} of {record}");
    }
    let checkpoints = &record["attempts"][0]["judged"]["checkpoints"];
    assert!(
        checkpoints.as_array().is_some_and(|all| !all.is_empty()),
        "{record}"
    );
    assert!(record.get("text").is_none());
}

#[tokio::test]
async fn a_private_ask_has_what_it_was_kept_from_in_its_record() {
    let worker = Scripted::start([sure()]).await;
    let rig = Rig::with(json!({ "privacy": restricts() }), &[&worker]).await;
    let response = restricted(&rig, json!({}), HeaderMap::new()).await;
    let id = header(&response, "x-weir-decision");
    rig.until_counted("weir_router_asks_running 0").await;
    let record = json_of(
        rig.get(&format!("/v1/decisions/{id}"), HeaderMap::new())
            .await,
    )
    .await;
    assert_eq!(record["private"], true);
    let kept_from = json!([{ "tier": "frontier", "reason": "egress" }]);
    assert_eq!(record["passedOver"], kept_from);
}

/// What a policy lets nothing restricted out by.
fn restricts() -> Value {
    json!({ "denyWhen": { "header": { "name": "x-data-class", "values": ["restricted"] } } })
}

/// A restricted ask with other headers too.
async fn restricted(rig: &Rig, extra: Value, more: HeaderMap) -> reqwest::Response {
    let mut headers = HeaderMap::new();
    headers.insert("x-data-class", HeaderValue::from_static("restricted"));
    headers.extend(more);
    rig.ask_with(extra, headers).await
}

/// Asks, and leaves while the tokens of the prompt are counted; gives the decision's id.
async fn leave(rig: &Rig, log: &Log, worker: &Scripted) -> String {
    let messages = json!([{ "role": "user", "content": "tick".repeat(106) }]);
    let is_counted = async {
        while worker.tokenized().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        _ = restricted(rig, json!({ "messages": messages }), HeaderMap::new()) => panic!("answered"),
        () = is_counted => {}
    }
    rig.until_counted("weir_router_asks_running 0").await;
    let decisions = log.decisions();
    let mut left = decisions.iter();
    let left = left.find(|decision| decision["outcome"] == "disconnected");
    let left = left.unwrap_or_else(|| panic!("{decisions:?}"));
    left["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_ask_is_private_however_early_it_ends() {
    let (log, _guard) = Log::start();
    let worker = Scripted::start([sure()]).await.counts(Reply::Never);
    let up = json!({ "header": { "name": "x-way", "values": ["up"] } });
    let policy = json!({ "privacy": restricts(), "rules": [
        { "name": "none", "when": { "tools": true }, "then": { "reject": {} } },
        { "name": "up", "when": up, "then": { "start": "frontier" } },
        { "name": "long", "when": { "promptTokens": { "over": 100 } }, "then": { "only": "small" } },
    ] });
    let rig = Rig::with(policy, &[&worker]).await;
    let tool = json!({ "type": "function", "function": { "name": "f" } });
    let way = HeaderMap::from_iter([(
        HeaderName::from_static("x-way"),
        HeaderValue::from_static("up"),
    )]);
    let mut ids = Vec::new();
    for (extra, more) in [
        (json!({ "tools": [tool] }), HeaderMap::new()),
        (json!({}), way),
        (json!({}), keyed("k")),
        (json!({}), keyed("k")),
    ] {
        let response = restricted(&rig, extra, more).await;
        ids.push(header(&response, "x-weir-decision"));
        response.text().await.unwrap();
    }
    ids.push(leave(&rig, &log, &worker).await);
    let expected = ["refused", "refused", "answered", "joined", "disconnected"];
    for (id, outcome) in ids.iter().zip(expected) {
        let path = format!("/v1/decisions/{id}");
        let record = json_of(rig.get(&path, HeaderMap::new()).await).await;
        assert_eq!(record["outcome"], outcome);
        assert_eq!(record["private"], true, "{outcome}: {record}");
    }
}

#[tokio::test]
async fn an_ask_that_is_still_worked_on_tells_how_far_it_is() {
    let hangs = vec![Play::Say("a", -0.01), Play::Hang];
    let worker = Scripted::start([hangs]).await;
    let rig = Rig::with(
        json!({ "streaming": { "headersAfter": "10ms" } }),
        &[&worker],
    )
    .await;
    let stream = rig.ask(json!({ "stream": true })).await;
    let id = header(&stream, "x-weir-decision");
    let record = json_of(
        rig.get(&format!("/v1/decisions/{id}"), HeaderMap::new())
            .await,
    )
    .await;
    assert_eq!(record["outcome"], "running");
    assert_eq!(record["attempts"][0]["outcome"], "cancelled");
    // What is said of it meanwhile is there when it is over.
    let said = say(
        &rig,
        HeaderMap::new(),
        json!({ "id": id, "verdict": "bad" }),
    )
    .await;
    assert_eq!(said.status(), StatusCode::OK);
    drop(stream);
    rig.until_counted("weir_router_asks_running 0").await;
    let record = json_of(
        rig.get(&format!("/v1/decisions/{id}"), HeaderMap::new())
            .await,
    )
    .await;
    assert_eq!(record["outcome"], "disconnected");
    assert_eq!(record["labels"][0]["verdict"], "bad");
}

#[tokio::test]
async fn what_is_another_tenants_is_as_unknown_as_what_never_was() {
    let rig = with_tenants(Scripted::start([sure()]).await).await;
    let response = rig.ask_with(json!({}), bearer("Bearer open-sesame")).await;
    let id = header(&response, "x-weir-decision");
    response.text().await.unwrap();
    rig.until_counted("weir_router_asks_running 0").await;
    let get = async |id: &str, key| {
        let response = rig.get(&format!("/v1/decisions/{id}"), bearer(key)).await;
        (response.status(), response.text().await.unwrap())
    };
    assert_eq!(get(&id, "Bearer open-sesame").await.0, StatusCode::OK);
    let (status, others) = get(&id, "Bearer abracadabra").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let never = get("0123456789abcdef01234567", "Bearer abracadabra").await;
    assert_eq!(never, (status, others));
    assert_eq!(get(&id, "Bearer wrong").await.0, StatusCode::UNAUTHORIZED);
    let feedback = json!({ "id": id, "verdict": "bad" });
    for (key, status) in [
        ("Bearer abracadabra", StatusCode::NOT_FOUND),
        ("Bearer wrong", StatusCode::UNAUTHORIZED),
        ("Bearer open-sesame", StatusCode::OK),
    ] {
        assert_eq!(
            say(&rig, bearer(key), feedback.clone()).await.status(),
            status
        );
    }
}

#[tokio::test]
async fn an_ask_without_a_key_or_a_model_is_no_decision_to_ask_about() {
    let rig = with_tenants(Scripted::start([sure()]).await).await;
    let asked = async |body: Value, key| {
        let response = rig.ask_with(body, bearer(key)).await;
        let id = header(&response, "x-weir-decision");
        response.text().await.unwrap();
        rig.until_counted("weir_router_asks_running 0").await;
        let path = format!("/v1/decisions/{id}");
        rig.get(&path, bearer("Bearer open-sesame")).await.status()
    };
    let lost = asked(json!({}), "Bearer wrong").await;
    assert_eq!(lost, StatusCode::NOT_FOUND);
    let lost = asked(json!({ "model": "none" }), "Bearer open-sesame").await;
    assert_eq!(lost, StatusCode::NOT_FOUND);
    assert_eq!(asked(json!({}), "Bearer open-sesame").await, StatusCode::OK);
}

#[tokio::test]
async fn a_verdict_on_an_answer_is_recorded_counted_and_bounded() {
    let rig = Rig::with(json!({}), &[&Scripted::start([sure()]).await]).await;
    let answer = json_of(rig.ask(json!({})).await).await;
    rig.until_counted("weir_router_asks_running 0").await;
    let verdict = json!({
        "id": answer["id"], "verdict": "good", "score": 0.5, "comment": "my address is 1 Elm St",
    });
    let response = say(&rig, HeaderMap::new(), verdict.clone()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let recorded = json_of(response).await;
    let label = &recorded["label"];
    assert_eq!(
        (&label["verdict"], &label["score"]),
        (&json!("good"), &json!(0.5))
    );
    assert!(label.get("comment").is_none(), "the policy keeps no text");
    let id = recorded["id"].as_str().unwrap();
    let record = json_of(
        rig.get(&format!("/v1/decisions/{id}"), HeaderMap::new())
            .await,
    )
    .await;
    assert_eq!(record["labels"], json!([label]));
    let counted = "weir_router_feedback_total{policy=\"support\",verdict=\"good\"} 1";
    rig.until_counted(counted).await;
    for _ in 1..8 {
        let more = say(&rig, HeaderMap::new(), verdict.clone()).await;
        assert_eq!(more.status(), StatusCode::OK);
    }
    let refused = say(&rig, HeaderMap::new(), verdict).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let unnamed = say(&rig, HeaderMap::new(), json!({ "id": id, "verdict": "ok" })).await;
    assert_eq!(json_of(unnamed).await["error"]["param"], "verdict");
}
