//! What the record of a decision says of the way that an ask was sent.

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use weir_router::Args;

use crate::log::Log;
use crate::rig::{Rig, Setup};
use crate::worker::{Reply, Scripted, sure};

/// What the record says of an ask for a prompt of 440 bytes, with the tenant's key and a pin if there is one.
async fn route(policy: Value, workers: &[&Scripted], pin: Option<&'static str>) -> String {
    let (log, _guard) = Log::start();
    let rig = Rig::start(Setup {
        policy,
        workers: workers.iter().map(|worker| (*worker).clone()).collect(),
        args: |args: &mut Args| args.replica_wait = std::time::Duration::ZERO,
        secrets: &[("keys", "quality", "plain:open-sesame")],
        ..Setup::default()
    })
    .await;
    let mut headers = HeaderMap::new();
    let key = HeaderValue::from_static("Bearer open-sesame");
    headers.insert("authorization", key);
    if let Some(pin) = pin {
        headers.insert("x-weir-tier", HeaderValue::from_static(pin));
    }
    let messages = json!([{ "content": "tick".repeat(106) }]);
    let response = rig.ask_with(json!({ "messages": messages }), headers).await;
    response.text().await.unwrap();
    rig.until_counted("weir_router_asks_running 0").await;
    let decisions = log.decisions();
    assert_eq!(decisions.len(), 1, "{decisions:?}");
    decisions[0]["route"].as_str().unwrap().to_owned()
}

fn rule(when: Value, then: Value) -> Value {
    json!({ "rules": [{ "name": "r", "when": when, "then": then }] })
}

#[tokio::test]
async fn a_record_says_which_rule_sent_an_ask_and_by_what() {
    let worker = Scripted::start([sure()]).await.counts(Reply::With(101));
    let failing = Scripted::start([sure()]).await;
    let up = || json!({ "start": "frontier" });
    let over = |bound: u32| rule(json!({ "promptTokens": { "over": bound } }), up());
    for (policy, workers, expected) in [
        (json!({}), &[&worker][..], "order"),
        (rule(json!({}), up()), &[&worker], "rule r: every ask"),
        (over(100), &[&worker], "rule r: prompt 101 tokens over 100"),
        (
            over(10),
            &[&worker],
            "rule r: prompt about 110 tokens over 10",
        ),
        (
            over(100),
            &[],
            "rule r: prompt an estimated 110 tokens over 100; prompt estimated, no ready replica",
        ),
        (
            over(110),
            &[&failing],
            "order: prompt estimated, the replica answered Internal",
        ),
        (
            rule(json!({ "tools": false }), json!({ "reject": {} })),
            &[&worker],
            "rule r: no tools",
        ),
    ] {
        assert_eq!(route(policy, workers, None).await, expected);
    }
}

#[tokio::test]
async fn a_record_has_the_draw_of_a_split() {
    let worker = Scripted::start([sure()]).await;
    let split = json!([{ "tier": "frontier", "weight": 100 }]);
    let split = rule(json!({}), json!({ "split": split }));
    let said = route(split, &[&worker], None).await;
    let draw = said.strip_prefix("rule r: every ask; drew ");
    let draw = draw.and_then(|said| said.strip_suffix(" for frontier"));
    let draw: f64 = draw.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    assert!((0.0..=1.0).contains(&draw));
}

#[tokio::test]
async fn a_record_says_who_pinned_or_classified_an_ask() {
    let pin = json!({
        "auth": { "keysSecretRef": { "name": "keys" } }, "pin": { "tenants": ["quality"] },
    });
    let worker = Scripted::start([sure()]).await.chooses(Reply::With("hard"));
    assert_eq!(route(pin, &[&worker], Some("small")).await, "pin small");
    let classifier = json!({ "classifier": {
        "deployment": { "name": "triage" },
        "labels": [{ "label": "easy", "start": "small" }, { "label": "hard", "start": "frontier" }],
    } });
    let said = route(classifier.clone(), &[&worker], None).await;
    assert_eq!(said, "classifier frontier: label \"hard\" at 0.9000");
    let said = route(classifier, &[], None).await;
    assert_eq!(said, "classifier_failed: no ready replica");
}
