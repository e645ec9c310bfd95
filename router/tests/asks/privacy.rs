//! A secret in every place of an ask that must not leave the cluster, on every way that an ask can
//! take: what left and what was written is searched for it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::Response;
use serde_json::{Value, json};
use tracing::subscriber::DefaultGuard;
use weir_worker_api::ErrorCode;

use crate::log::Log;
use crate::rig::{Rig, Setup, header, json_of, merge};
use crate::wires::Wire;
use crate::worker::{Play, Reply, Scripted, sure, unsure};

const SECRET: &str = "kd-99812-zebra";

/// A router whose log is kept, under a policy that lets nothing restricted out.
struct Walk {
    rig: Rig,
    log: Log,
    _guard: DefaultGuard,
}

impl Walk {
    async fn start(policy: Value, workers: &[&Scripted]) -> Self {
        let (log, guard) = Log::start();
        let when = json!({ "header": { "name": "x-data-class", "values": ["restricted"] } });
        let mut all = json!({
            "privacy": { "denyWhen": when },
            "auth": { "keysSecretRef": { "name": "keys" } }, "pin": { "tenants": ["quality"] },
            "idleTimeout": "300ms", "timeout": "3s",
        });
        merge(&mut all, policy);
        let rig = Rig::start(Setup {
            policy: all,
            workers: workers.iter().map(|worker| (*worker).clone()).collect(),
            secrets: &[("keys", "quality", "plain:open-sesame")],
            ..Setup::default()
        })
        .await;
        Self {
            rig,
            log,
            _guard: guard,
        }
    }

    /// With the secret in its headers as well.
    async fn post(&self, path: &str, body: &Value, pin: Option<&'static str>) -> Response {
        let mut headers = headers(b"restricted");
        if let Some(pin) = pin {
            headers.insert("x-weir-tier", HeaderValue::from_static(pin));
        }
        self.send(path, body, headers).await
    }

    async fn send(&self, path: &str, body: &Value, headers: HeaderMap) -> Response {
        let url = format!("{}{path}?note={SECRET}", self.rig.url);
        let request = self.rig.client.post(url).headers(headers);
        request.body(body.to_string()).send().await.unwrap()
    }

    /// Asks the same twice under one key, and gives the decisions' ids. The second gets the answer of the
    /// first, if there is one.
    async fn ask_twice(&self) -> Vec<String> {
        let mut ids = Vec::new();
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            let mut headers = headers(b"restricted");
            headers.insert("idempotency-key", HeaderValue::from_static(SECRET));
            let body = marked(Wire::Chat, false);
            let response = self.send(Wire::Chat.path(), &body, headers.clone()).await;
            let id = header(&response, "x-weir-decision");
            response.text().await.unwrap();
            self.rig.until_counted("weir_router_asks_running 0").await;
            let record = self.rig.get(&format!("/v1/decisions/{id}"), headers).await;
            let record = json_of(record).await;
            check(&record.to_string());
            assert_eq!(record["private"], true, "{record}");
            outcomes.push(record["outcome"].as_str().unwrap().to_owned());
            ids.push(id);
        }
        assert!(
            [["answered", "joined"], ["refused", "refused"]]
                .contains(&[&*outcomes[0], &*outcomes[1]]),
            "{outcomes:?}"
        );
        ids
    }

    /// Asks on every wire, whole and as a stream, and gives the statuses; no error repeats the
    /// secret.
    async fn ask_all(&self, pin: Option<&'static str>) -> Vec<StatusCode> {
        let mut statuses = Vec::new();
        for wire in Wire::ALL {
            for stream in [false, true] {
                let response = self.post(wire.path(), &marked(wire, stream), pin).await;
                statuses.push(response.status());
                check(&format!("{:?}", response.headers()));
                let has_failed = !response.status().is_success();
                let body = response.text().await.unwrap();
                // An answer on the wire of responses says again what was asked.
                if has_failed {
                    check(&body);
                }
            }
        }
        statuses
    }

    /// Whatever was written, and whatever the stand-in outside got.
    async fn search(&self) {
        self.rig.until_counted("weir_router_asks_running 0").await;
        let sent = self.rig.sent_to_frontier().await;
        assert!(sent.is_empty(), "something left: {sent:?}");
        self.search_written().await;
    }

    async fn search_written(&self) {
        let log = self.log.text();
        assert!(log.contains("decided"), "nothing was logged");
        check(&log);
        check(&self.rig.metrics().await);
        check(&self.rig.load().await.to_string());
    }
}

/// Of an ask of this class.
fn headers(class: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("authorization", &b"Bearer open-sesame"[..]),
        ("x-data-class", class),
        ("x-note", SECRET.as_bytes()),
        ("traceparent", SECRET.as_bytes()),
    ] {
        headers.insert(name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn check(text: &str) {
    let encoded = BASE64_STANDARD.encode(SECRET);
    for form in [SECRET, &encoded[..encoded.len() - 4]] {
        if let Some(at) = text.find(form) {
            let from = text.floor_char_boundary(at.saturating_sub(300));
            let to = text.ceil_char_boundary((at + 100).min(text.len()));
            panic!("the secret is in {}", &text[from..to]);
        }
    }
}

/// An ask that has the secret in every place where a client may put one.
fn marked(wire: Wire, stream: bool) -> Value {
    let mut body = wire.body(SECRET, stream);
    let parameters = json!({ "type": "object", "description": SECRET });
    let arguments = json!({ "note": SECRET });
    let more = match wire {
        Wire::Chat => json!({
            "messages": [
                { "role": "system", "content": SECRET },
                { "role": "user", "content": [{ "type": "text", "text": SECRET }], "name": SECRET },
                { "role": "assistant", "tool_calls": [{ "id": SECRET, "type": "function",
                    "function": { "name": "note", "arguments": arguments.to_string() } }] },
                { "role": "tool", "tool_call_id": SECRET, "content": SECRET },
            ],
            "tools": [{ "type": "function", "function":
                { "name": "note", "description": SECRET, "parameters": parameters } }],
            "metadata": { "note": SECRET }, "user": SECRET, "made_up": SECRET, "stop": SECRET,
        }),
        Wire::Responses => json!({
            "instructions": SECRET,
            "input": [
                { "role": "user", "content": [{ "type": "input_text", "text": SECRET }] },
                { "type": "function_call", "call_id": "c", "name": "note",
                    "arguments": arguments.to_string() },
                { "type": "function_call_output", "call_id": "c", "output": SECRET },
            ],
            "tools": [{ "type": "function", "name": "note", "description": SECRET,
                "parameters": parameters }],
            "made_up": SECRET, "prompt_cache_key": SECRET,
        }),
        Wire::Messages => json!({
            "system": SECRET,
            "messages": [
                { "role": "user", "content": SECRET },
                { "role": "assistant", "content": [
                    { "type": "tool_use", "id": "c", "name": "note", "input": arguments }] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "c", "content": SECRET }] },
            ],
            "tools": [{ "name": "note", "description": SECRET, "input_schema": parameters }],
            "metadata": { "user_id": SECRET }, "made_up": SECRET,
        }),
    };
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

fn rule(then: Value) -> Value {
    json!({ "rules": [{ "name": "r", "when": {}, "then": then }] })
}

#[tokio::test]
async fn no_answer_and_no_failure_of_a_tier_lets_a_private_ask_out() {
    let to_its_end = vec![Play::Say("hardware", -3.0), Play::End];
    // What is shown of a stream before it breaks off went to its own client.
    for (script, whole, streamed) in [
        (sure(), 200, 200),
        (to_its_end, 200, 200),
        (vec![Play::Die], 502, 502),
        (vec![Play::Say("bil", -0.01), Play::Die], 502, 200),
        (vec![Play::Hang], 504, 504),
        (vec![Play::Refuse(ErrorCode::TooLong)], 400, 400),
    ] {
        let worker = Scripted::start([script]).await;
        let walk = Walk::start(json!({}), &[&worker]).await;
        let statuses = walk.ask_all(None).await;
        assert_eq!(statuses, [whole, streamed].repeat(3));
        let asked = format!("{:?}", worker.asked());
        assert!(
            asked.contains(SECRET),
            "the one tier that may have it gets it"
        );
        walk.search().await;
    }
    let walk = Walk::start(json!({}), &[]).await;
    assert_eq!(
        walk.ask_all(None).await,
        [StatusCode::SERVICE_UNAVAILABLE; 6]
    );
    walk.search().await;
}

#[tokio::test]
async fn what_a_policy_does_with_unsure_answers_lets_no_private_ask_out() {
    for what in ["Best", "Error"] {
        // The first is dropped, and asked for again where the best of all is given.
        let worker = Scripted::start([vec![Play::Say("hard", -3.0), Play::Hang]]).await;
        let walk = Walk::start(json!({ "onAllUnsure": what }), &[&worker]).await;
        walk.ask_all(None).await;
        assert!(worker.asked().len() >= 6);
        walk.search().await;
    }
}

#[tokio::test]
async fn no_rule_pin_split_or_label_lets_a_private_ask_out() {
    let worker = Scripted::start([sure()]).await.chooses(Reply::With("hard"));
    let worker = worker.counts(Reply::With(101));
    let split = json!([{ "tier": "frontier", "weight": 100 }]);
    let classifier = json!({ "classifier": {
        "deployment": { "name": "triage" },
        "labels": [{ "label": "easy", "start": "small" }, { "label": "hard", "start": "frontier" }],
    } });
    let over = json!({ "promptTokens": { "over": 100 } });
    let long = json!({ "name": "r", "when": over, "then": { "start": "frontier" } });
    for (policy, pin, statuses) in [
        (rule(json!({ "start": "frontier" })), None, &[403][..]),
        (rule(json!({ "only": "frontier" })), None, &[403]),
        (rule(json!({ "split": split })), None, &[403]),
        (rule(json!({ "reject": {} })), None, &[403]),
        (json!({ "rules": [long] }), None, &[200, 403]),
        (json!({}), Some("frontier"), &[403]),
        (classifier, None, &[200]),
    ] {
        let walk = Walk::start(policy.clone(), &[&worker]).await;
        for status in walk.ask_all(pin).await {
            assert!(statuses.contains(&status.as_u16()), "{policy}: {status}");
        }
        walk.search().await;
    }
}

#[tokio::test]
async fn what_makes_an_ask_private_is_seen_in_any_case_and_beside_what_nobody_can_read() {
    let walk = Walk::start(rule(json!({ "start": "frontier" })), &[]).await;
    let body = marked(Wire::Chat, false);
    for class in [
        &b"Restricted"[..],
        b"public,RESTRICTED",
        "restricted, für intern".as_bytes(),
        b"\xff\xfe ,\trestricted ",
    ] {
        let refused = walk.send(Wire::Chat.path(), &body, headers(class)).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{class:?}");
    }
    walk.search().await;
    let open = headers("unrestricted, für alle".as_bytes());
    let answer = walk.send(Wire::Chat.path(), &body, open).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn no_other_path_lets_a_private_ask_out() {
    let worker = Scripted::start([sure()]).await;
    let up = rule(json!({ "start": "frontier" }));
    for (policy, status) in [(json!({}), StatusCode::OK), (up, StatusCode::FORBIDDEN)] {
        let walk = Walk::start(policy, &[&worker]).await;
        let body = |extra: Value| {
            let mut body = json!({ "model": "assistant" });
            merge(&mut body, extra);
            body
        };
        let completions = |extra: Value| ("/v1/completions".to_owned(), body(extra));
        let count =
            |wire: Wire, suffix: &str| (format!("{}{suffix}", wire.path()), marked(wire, false));
        for ((path, body), status) in [
            (
                (
                    "/v1/embeddings".into(),
                    body(json!({ "input": SECRET, "user": SECRET })),
                ),
                status,
            ),
            (completions(json!({ "prompt": SECRET })), status),
            // Only an endpoint could.
            (
                completions(json!({ "prompt": SECRET, "suffix": SECRET })),
                StatusCode::FORBIDDEN,
            ),
            (count(Wire::Messages, "/count_tokens"), status),
            (count(Wire::Responses, "/input_tokens"), status),
        ] {
            let response = walk.post(&path, &body, None).await;
            assert_eq!(response.status(), status, "{path}");
            check(&format!("{:?}", response.headers()));
            check(&response.text().await.unwrap());
        }
        for id in walk.ask_twice().await {
            let said = json!({ "id": id, "verdict": "bad", "comment": SECRET });
            let response = walk.post("/v1/feedback", &said, None).await;
            assert_eq!(response.status(), StatusCode::OK);
            check(&response.text().await.unwrap());
        }
        walk.search().await;
    }
}

#[tokio::test]
async fn a_private_ask_that_is_wrong_or_whose_client_leaves_is_written_nowhere() {
    let worker = Scripted::start([vec![Play::Say("bil", -0.01), Play::Hang]]).await;
    let walk = Walk::start(json!({ "streaming": { "holdBack": "None" } }), &[&worker]).await;
    for wire in Wire::ALL {
        let mut wrong = marked(wire, true);
        wrong["temperature"] = SECRET.into();
        let refused = walk.post(wire.path(), &wrong, None).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        check(&refused.text().await.unwrap());
        let mut streamed = marked(wire, true);
        streamed["model"] = "triage".into();
        let mut left = walk.post(wire.path(), &streamed, None).await;
        assert_eq!(left.status(), StatusCode::OK);
        left.chunk().await.unwrap();
        drop(left);
    }
    walk.rig.until_counted("outcome=\"disconnected\"} 3").await;
    walk.search().await;
}

#[tokio::test]
async fn an_endpoint_inside_gets_a_private_ask() {
    let worker = Scripted::start([unsure()]).await;
    let policy = json!({ "tiers": [{}, { "endpoint": { "location": "Inside" } }] });
    let walk = Walk::start(policy, &[&worker]).await;
    assert_eq!(walk.ask_all(None).await, [StatusCode::OK; 6]);
    walk.rig.until_counted("weir_router_asks_running 0").await;
    let got = walk.rig.sent_to_frontier().await;
    assert_eq!(got.len(), 6);
    assert!(json!(got).to_string().contains(SECRET));
    walk.search_written().await;
}

#[tokio::test]
async fn what_is_redacted_leaves_from_no_place_of_an_ask() {
    for provider in ["OpenAICompatible", "OpenAI", "Anthropic"] {
        let worker = Scripted::start([unsure()]).await;
        let policy = json!({
            "privacy": { "denyWhen": null, "redact": { "patterns": ["kd-[0-9]{5}-[a-z]+"] } },
            "tiers": [{}, { "endpoint": { "provider": provider } }],
        });
        let walk = Walk::start(policy, &[&worker]).await;
        for wire in Wire::ALL {
            for stream in [false, true] {
                for fault in ["crlf", "status=400", "error-after=1"] {
                    walk.rig.frontier_fault(fault).await;
                    let response = walk.post(wire.path(), &marked(wire, stream), None).await;
                    assert!(!header(&response, "x-weir-decision").is_empty());
                    response.text().await.unwrap();
                    walk.rig.no_frontier_faults().await;
                }
            }
        }
        walk.rig.until_counted("weir_router_asks_running 0").await;
        let sent = walk.rig.sent_to_frontier().await;
        assert!(sent.len() >= 6, "{provider}: {sent:?}");
        check(&json!(sent).to_string());
        walk.search_written().await;
    }
}
