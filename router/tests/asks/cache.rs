//! Answers that are given again to the very same ask, and those that are not.

use std::collections::BTreeSet;
use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};
use reqwest::Response;
use serde_json::{Value, json};
use weir_router::World;

use crate::idempotency::keyed;
use crate::rig::{QUESTION, Rig, Setup, header, json_of, merge, streamed, world};
use crate::wires::{Seen, Wire};
use crate::worker::{Play, Scripted, sure};

fn cached() -> Value {
    json!({ "cache": { "exact": "10m" }, "retries": { "max": 0 } })
}

async fn rig(more: Value, scripts: impl IntoIterator<Item = Vec<Play>>) -> (Scripted, Rig) {
    let worker = Scripted::start(scripts).await;
    let mut policy = cached();
    merge(&mut policy, more);
    let rig = Rig::with(policy, &[&worker]).await;
    (worker, rig)
}

fn with(name: &'static str, value: &str) -> HeaderMap {
    let name = HeaderName::from_static(name);
    [(name, value.parse().unwrap())].into_iter().collect()
}

/// Whether an answer was an earlier one.
fn was_hit(response: &Response) -> bool {
    assert_eq!(response.status(), StatusCode::OK);
    header(response, "x-weir-cache") == "hit"
}

/// Asks with these headers, and reads all of the answer.
async fn hits(rig: &Rig, extra: Value, headers: HeaderMap) -> bool {
    let response = rig.ask_with(extra, headers).await;
    let was_hit = was_hit(&response);
    response.text().await.unwrap();
    was_hit
}

#[tokio::test]
async fn the_same_ask_is_answered_again_without_asking_a_tier_and_costs_nothing() {
    let (worker, rig) = rig(json!({}), [sure()]).await;
    let first = rig.ask(json!({ "temperature": 1 })).await;
    assert_eq!(header(&first, "x-weir-cache"), "miss");
    let decision = header(&first, "x-weir-decision");
    let again = rig.ask(json!({ "temperature": 1 })).await;
    for (name, value) in [
        ("x-weir-cache", "hit"),
        ("x-weir-cost", "0"),
        ("x-weir-tier", "small"),
        ("x-weir-attempts", "small;cached"),
    ] {
        assert_eq!(header(&again, name), value);
    }
    assert_eq!(
        header(&again, "x-weir-score"),
        header(&first, "x-weir-score")
    );
    let path = format!("/v1/decisions/{}", header(&again, "x-weir-decision"));
    let (first, again) = (json_of(first).await, json_of(again).await);
    assert_eq!(again["choices"], first["choices"]);
    assert_eq!(again["usage"], first["usage"]);
    assert_ne!(again["id"], first["id"]);
    let counted = "weir_router_asks_total{policy=\"support\",outcome=\"cached\"} 1";
    rig.until_counted(counted).await;
    let told = json_of(rig.get(&path, HeaderMap::new()).await).await;
    assert_eq!(told["outcome"], "cached");
    assert_eq!(told["route"]["by"], "cached");
    assert_eq!(told["route"]["why"], format!("the answer of {decision}"));
    assert_eq!(
        (&told["cost"], &told["attempts"]),
        (&json!("0"), &json!([]))
    );
    assert_eq!(worker.asked().len(), 1);
    for outcome in ["hit", "miss"] {
        let policy = "policy=\"support\"";
        let line = format!("weir_router_cache_lookups_total{{{policy},outcome=\"{outcome}\"}} 1");
        rig.until_counted(&line).await;
    }
}

#[tokio::test]
async fn a_stream_is_given_again_as_a_stream_and_either_serves_the_other() {
    for is_first_streamed in [true, false] {
        let (worker, rig) = rig(json!({}), [sure()]).await;
        let usage = json!({ "stream": true, "stream_options": { "include_usage": true } });
        let asks = match is_first_streamed {
            true => [usage.clone(), json!({}), usage],
            false => [json!({}), usage, json!({})],
        };
        for (index, ask) in asks.into_iter().enumerate() {
            let is_stream = ask["stream"] == true;
            let response = rig.ask(ask).await;
            assert_eq!(was_hit(&response), index > 0);
            let (text, usage) = match is_stream {
                true => {
                    let answer = streamed(response).await;
                    assert!(answer.is_done && answer.chunks.len() >= 4, "piece by piece");
                    (answer.text, answer.chunks.last().unwrap()["usage"].clone())
                }
                false => {
                    let answer = json_of(response).await;
                    let text = &answer["choices"][0]["message"]["content"];
                    (text.as_str().unwrap().to_owned(), answer["usage"].clone())
                }
            };
            assert_eq!(text, "billing");
            assert_eq!(
                (&usage["prompt_tokens"], &usage["completion_tokens"]),
                (&json!(7), &json!(2))
            );
        }
        assert_eq!(worker.asked().len(), 1);
    }
}

#[tokio::test]
async fn answers_of_every_provider_are_given_again_on_every_wire_whole_and_streamed() {
    for provider in ["OpenAICompatible", "OpenAI", "Anthropic"] {
        let rule = json!({ "name": "up", "when": {}, "then": { "only": "frontier" } });
        let endpoint = json!({ "endpoint": { "provider": provider } });
        let policy = json!({ "rules": [rule], "tiers": [{}, endpoint] });
        let (_worker, rig) = rig(policy, [sure()]).await;
        for (asked, wire) in Wire::ALL.into_iter().enumerate() {
            let mut seen = Vec::new();
            for is_stream in [false, true, false] {
                let body = wire.body(QUESTION, is_stream);
                let response = wire.ask(&rig, &body, HeaderMap::new()).await;
                let is_first = seen.is_empty();
                assert_eq!(was_hit(&response), !is_first, "{provider} {wire:?}");
                seen.push(wire.see(response, is_stream).await);
            }
            assert!(
                matches!(&seen[0], Seen::Whole(text) if !text.is_empty()),
                "{seen:?}"
            );
            assert!(
                seen.iter().all(|again| *again == seen[0]),
                "{provider} {wire:?}: {seen:?}"
            );
            assert_eq!(rig.sent_to_frontier().await.len(), asked + 1);
        }
    }
}

#[tokio::test]
async fn no_tenant_gets_the_answer_of_another() {
    let worker = Scripted::start([sure()]).await;
    let mut policy = cached();
    policy["auth"] = json!({ "keysSecretRef": { "name": "keys" } });
    let rig = Rig::start(Setup {
        policy,
        workers: vec![worker.clone()],
        secrets: &[
            ("keys", "alice", "plain:alice"),
            ("keys", "bob", "plain:bob"),
        ],
        ..Setup::default()
    })
    .await;
    let ask = async |key: &str| {
        let key = format!("Bearer {key}");
        hits(&rig, json!({}), with("authorization", &key)).await
    };
    assert_eq!([ask("alice").await, ask("bob").await], [false, false]);
    assert_eq!([ask("alice").await, ask("bob").await], [true, true]);
    assert_eq!(worker.asked().len(), 2);
}

#[tokio::test]
async fn an_ask_that_is_marked_private_is_neither_kept_nor_answered_from_what_is() {
    let when = json!({ "header": { "name": "x-data-class", "values": ["restricted"] } });
    let (worker, rig) = rig(json!({ "privacy": { "denyWhen": when } }), [sure()]).await;
    let private = || with("x-data-class", "restricted");
    assert!(!hits(&rig, json!({}), private()).await);
    assert!(
        !hits(&rig, json!({}), HeaderMap::new()).await,
        "it was not kept"
    );
    assert!(hits(&rig, json!({}), HeaderMap::new()).await);
    let again = rig.ask_with(json!({}), private()).await;
    assert_eq!(header(&again, "x-weir-cache"), "", "nobody looked");
    again.text().await.unwrap();
    assert_eq!(worker.asked().len(), 3);
}

#[tokio::test]
async fn an_answer_that_was_unsure_or_broke_off_is_not_kept() {
    let unsure = || vec![Play::Say("hard", -3.0), Play::End];
    let nobody = json!({ "endpoint": { "baseUrl": "http://127.0.0.1:1/v1" } });
    // Dropped before its end, it is asked for again where nobody else answers.
    let scripts = [unsure(), unsure(), vec![Play::Die], sure()];
    let (worker, rig) = rig(json!({ "tiers": [{}, nobody] }), scripts).await;
    let flagged = rig.ask(json!({})).await;
    assert_eq!(header(&flagged, "x-weir-unsure"), "true");
    flagged.text().await.unwrap();
    assert_eq!(rig.ask(json!({})).await.status(), StatusCode::BAD_GATEWAY);
    assert!(!hits(&rig, json!({}), HeaderMap::new()).await);
    assert!(hits(&rig, json!({}), HeaderMap::new()).await);
    assert_eq!(worker.asked().len(), 4);
}

#[tokio::test]
async fn of_a_client_that_leaves_in_the_middle_nothing_is_kept() {
    let hanging = vec![
        Play::Say("bil", -0.01),
        Play::Say("ling", -0.01),
        Play::Hang,
    ];
    let (worker, rig) = rig(json!({}), [hanging, sure()]).await;
    let asked = async {
        while worker.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = hits(&rig, json!({ "stream": true }), HeaderMap::new()) => panic!("it ended"),
        () = asked => {}
    }
    rig.until_counted("weir_router_asks_running 0").await;
    assert!(!hits(&rig, json!({}), HeaderMap::new()).await);
    assert_eq!(worker.asked().len(), 2);
}

#[tokio::test]
async fn a_request_says_whether_it_takes_an_old_answer_and_whether_its_own_is_kept() {
    let (worker, rig) = rig(json!({}), [sure()]).await;
    let ask = async |wish: &str| hits(&rig, json!({}), with("cache-control", wish)).await;
    assert!(!ask("no-store").await);
    assert!(!ask("").await, "what came before was not kept");
    assert!(ask("max-age=600").await);
    assert!(!ask("no-store").await);
    assert!(!ask("no-cache").await);
    assert!(ask("").await);
    assert_eq!(worker.asked().len(), 4);
}

#[tokio::test]
async fn an_answer_that_is_too_old_is_not_given() {
    let (worker, rig) = rig(json!({ "cache": { "exact": "300ms" } }), [sure()]).await;
    assert!(!hits(&rig, json!({}), HeaderMap::new()).await);
    tokio::time::sleep(Duration::from_millis(310)).await;
    assert!(!hits(&rig, json!({}), HeaderMap::new()).await);
    assert_eq!(worker.asked().len(), 2);
}

#[tokio::test]
async fn another_revision_or_another_policy_is_asked_anew() {
    let (worker, rig) = rig(json!({}), [sure()]).await;
    assert!(!hits(&rig, json!({}), HeaderMap::new()).await);
    assert!(hits(&rig, json!({}), HeaderMap::new()).await);
    let mut policy = cached();
    let next = |policy: &Value| world(policy.clone(), &rig.frontier, &[worker.address]);
    // Something else of the world is nothing to it.
    rig.follow(World {
        routers: 2,
        ..next(&policy)
    })
    .await;
    assert!(hits(&rig, json!({}), HeaderMap::new()).await);
    let addresses: BTreeSet<_> = [worker.address].into();
    let revision = [("22222222".to_owned(), addresses)].into();
    rig.follow(World {
        replicas: [("triage".to_owned(), revision)].into(),
        ..next(&policy)
    })
    .await;
    assert!(!hits(&rig, json!({}), HeaderMap::new()).await);
    policy["timeout"] = json!("1m");
    rig.follow(next(&policy)).await;
    assert!(!hits(&rig, json!({}), HeaderMap::new()).await);
    assert_eq!(worker.asked().len(), 3);
}

#[tokio::test]
async fn an_answer_from_memory_counts_as_an_ask_and_takes_no_tokens() {
    let limits = json!({ "asksPerMinute": 3, "tokensPerMinute": 1010 });
    let (_worker, rig) = rig(json!({ "limits": limits }), [sure()]).await;
    let most = json!({ "max_tokens": 1000 });
    for expected in [false, true, true] {
        assert_eq!(hits(&rig, most.clone(), HeaderMap::new()).await, expected);
    }
    let refused = rig.ask(most).await;
    assert_eq!(json_of(refused).await["error"]["type"], "requests");
}

#[tokio::test]
async fn an_ask_under_a_key_of_its_own_gets_an_earlier_answer_too() {
    let (worker, rig) = rig(json!({}), [sure()]).await;
    for (key, is_stream, expected) in [("a", false, false), ("b", false, true), ("c", true, true)] {
        let ask = json!({ "stream": is_stream });
        assert_eq!(hits(&rig, ask, keyed(key)).await, expected, "{key}");
    }
    let joined = rig.ask_with(json!({ "stream": false }), keyed("b")).await;
    assert_eq!(
        json_of(joined).await["choices"][0]["message"]["content"],
        "billing"
    );
    assert_eq!(worker.asked().len(), 1);
}
