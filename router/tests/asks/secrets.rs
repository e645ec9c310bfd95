//! What a client says, and with which key, is in nothing that a router writes down unless its policy wants
//! that.

use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::log::Log;
use crate::rig::{Rig, Setup, header};
use crate::stores::{Bucket, Manner, give_credentials};
use crate::worker::{Play, Scripted, sure, unsure};

/// In every place where a client may write something.
const MARK: &str = "xyzzy-4711";

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("authorization", "Bearer xyzzy-4711"),
        ("x-note", "xyzzy-4711"),
        ("tracestate", "a=xyzzy-4711"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

fn question(extra: Value) -> Value {
    let mut body = json!({
        "messages": [{ "role": "user", "content": format!("my word is {MARK}") }],
        "user": MARK, "metadata": { MARK: MARK }, "stop": [MARK],
    });
    crate::rig::merge(&mut body, extra);
    body
}

#[tokio::test]
async fn a_secret_of_the_clients_is_in_no_record_log_span_or_metric_however_its_ask_ends() {
    let (log, guard) = Log::start();
    let bucket = Bucket::open(Manner::Takes).await;
    let says_it = vec![Play::Say(MARK, -0.01), Play::End];
    let dies = vec![Play::Say(MARK, -0.01), Play::Die];
    let hangs = vec![Play::Say(MARK, -0.01), Play::Hang];
    let worker = Scripted::start([says_it, unsure(), dies, hangs, sure()]).await;
    let rig = Rig::start(Setup {
        policy: json!({
            "auth": { "keysSecretRef": { "name": "keys" } },
            "retries": { "max": 0 },
            "streaming": { "headersAfter": "10ms" },
            "records": { "to": "s3://records", "credentialsSecretRef": { "name": "s3" } },
        }),
        workers: vec![worker],
        secrets: &[("keys", "alice", "plain:xyzzy-4711")],
        ..Setup::default()
    })
    .await;
    give_credentials(&rig, &bucket.url).await;
    let mut ids = Vec::new();
    let mut ask = async |extra: Value, status: StatusCode| {
        let mut headers = headers();
        // Each is a request of its own.
        let key = format!("{MARK}-{}", ids.len());
        headers.insert("idempotency-key", key.parse().unwrap());
        let response = rig.ask_with(question(extra), headers).await;
        assert_eq!(response.status(), status);
        ids.push(header(&response, "x-weir-decision"));
        response
    };
    // Answered by either tier, failed, left, and refused.
    ask(json!({}), StatusCode::OK).await.text().await.unwrap();
    ask(json!({}), StatusCode::OK).await.text().await.unwrap();
    rig.frontier_fault("throttle").await;
    let failed = ask(json!({}), StatusCode::TOO_MANY_REQUESTS).await;
    failed.text().await.unwrap();
    drop(ask(json!({ "stream": true }), StatusCode::OK).await);
    ask(json!({ "temperature": MARK }), StatusCode::BAD_REQUEST).await;
    rig.until_counted("weir_router_asks_running 0").await;
    let mut kept = String::new();
    // What could not be read is not kept.
    for (id, status) in ids.iter().zip([200, 200, 200, 200, 404]) {
        let record = rig.get(&format!("/v1/decisions/{id}"), headers()).await;
        assert_eq!(record.status(), status);
        kept.push_str(&record.text().await.unwrap());
    }
    for outcome in ["answered", "refused", "disconnected"] {
        assert!(
            kept.contains(&format!("\"outcome\":\"{outcome}\"")),
            "{outcome}: {kept}"
        );
    }
    let metrics = rig.metrics().await;
    rig.begin_end();
    rig.ended().await;
    // What fails from here on is told outside that log.
    drop(guard);
    let stored: String = bucket.puts().into_iter().map(|(_, text)| text).collect();
    let asked = ids.iter().filter(|id| stored.contains(id.as_str())).count();
    assert!(asked >= 4, "{stored}");
    // A line of the log has the fields of its spans.
    let log = log.text();
    assert!(log.contains("gen_ai.operation.name"), "{log}");
    for (what, text) in [
        ("records", kept),
        ("store", stored),
        ("log", log),
        ("metrics", metrics),
    ] {
        assert!(!text.contains(MARK), "{what}: {text}");
    }
}
