//! Endpoints before the last tier: their answers are held back and judged as a worker's are, by what they say of
//! their tokens or else by their words.

use http::HeaderMap;
use reqwest::Response;
use serde_json::{Value, json};

use crate::money::impatient;
use crate::rig::{QUESTION, Rig, Setup, header, json_of, merge, streamed};
use crate::wires::{Seen, Wire};
use crate::worker::{Play, Scripted, unsure};

/// Where a test's own tiers find the stand-in: known once that runs.
const STAND_IN: &str = "http://127.0.0.1:1/v1";

/// An endpoint that tells this of its tokens, and fails like this.
pub fn endpoint(name: &str, told: &str, fault: &str) -> Value {
    let mut headers = json!({ "x-stand-in-logprobs": told, "x-tier": name });
    if !fault.is_empty() {
        headers["x-stand-in-fault"] = fault.into();
    }
    if told.is_empty() {
        headers
            .as_object_mut()
            .unwrap()
            .remove("x-stand-in-logprobs");
    }
    json!({
        "name": name,
        "endpoint": {
            "provider": "OpenAICompatible", "model": name, "baseUrl": STAND_IN, "headers": headers,
            "price": { "inputPerMillion": "1", "outputPerMillion": "4" },
        },
    })
}

pub fn judged(mut tier: Value, accept: Value) -> Value {
    tier["accept"] = accept;
    tier
}

pub fn small() -> Value {
    let accept = json!({ "task": "Choice", "threshold": "0.9" });
    judged(
        json!({ "name": "small", "deployment": { "name": "triage" } }),
        accept,
    )
}

/// A policy with these tiers.
pub async fn rig(tiers: Vec<Value>, policy: Value, workers: &[&Scripted]) -> Rig {
    let workers = workers.iter().map(|worker| (*worker).clone()).collect();
    let rig = Rig::start(Setup {
        workers,
        args: impatient,
        ..Setup::default()
    })
    .await;
    let mut world = (**rig.world.borrow()).clone();
    let mut object = serde_json::to_value(&*world.policies[0]).unwrap();
    let tiers = Value::from(tiers).to_string();
    let tiers = tiers.replace(STAND_IN, &format!("{}/v1", rig.frontier));
    object["spec"]["tiers"] = serde_json::from_str(&tiers).unwrap();
    object["spec"]["retries"] = json!({ "max": 0 });
    merge(&mut object["spec"], policy);
    world.policies = vec![std::sync::Arc::new(serde_json::from_value(object).unwrap())];
    rig.follow(world).await;
    rig
}

pub async fn record(rig: &Rig, id: &str) -> Value {
    rig.until_counted("weir_router_asks_running 0").await;
    let path = format!("/v1/decisions/{id}");
    json_of(rig.get(&path, HeaderMap::new()).await).await
}

/// Waits until the stand-in has seen these tiers' clients leave, and no others.
async fn until_left(rig: &Rig, tiers: &[&str]) {
    let mut seen = Vec::new();
    for _ in 0..1000 {
        let sent = rig.sent_to_frontier().await;
        let left = sent.iter().filter(|request| request["left"] == true);
        seen = left
            .map(|request| request["headers"]["x-tier"].as_str().unwrap().to_owned())
            .collect();
        if seen == tiers {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("left are {seen:?} and not {tiers:?}");
}

pub fn tier_of(response: &Response) -> String {
    header(response, "x-weir-tier")
}

#[tokio::test]
async fn a_sure_answer_of_an_endpoint_before_the_last_tier_is_given() {
    let first = judged(
        endpoint("first", "-0.001", ""),
        json!({ "threshold": "0.9" }),
    );
    let rig = rig(vec![first, endpoint("last", "", "")], json!({}), &[]).await;
    for stream in [false, true] {
        let response = rig.ask(json!({ "stream": stream })).await;
        assert_eq!(tier_of(&response), "first");
        let score: f64 = header(&response, "x-weir-score").parse().unwrap();
        assert!((0.99..1.0).contains(&score), "{score}");
        let id = header(&response, "x-weir-decision");
        let body = response.text().await.unwrap();
        assert!(!body.contains("\"token\""), "{body}");
        let record = record(&rig, &id).await;
        let judged = &record["attempts"][0]["judged"];
        assert_eq!(judged["verdict"]["Commit"]["Sure"]["threshold"], 0.9);
        assert_eq!(judged["evidence"]["entropyMean"], Value::Null);
    }
    for request in rig.sent_to_frontier().await {
        assert_eq!(request["body"]["logprobs"], true);
        assert_eq!(request["body"]["top_logprobs"], 2);
    }
}

#[tokio::test]
async fn a_hopeless_answer_of_an_endpoint_is_cancelled_there_and_never_shown() {
    let first = judged(
        endpoint("first", "-4.5", "endless"),
        json!({ "threshold": "0.9", "task": "Choice" }),
    );
    for stream in [false, true] {
        let tiers = vec![first.clone(), endpoint("last", "", "")];
        let rig = rig(tiers, json!({}), &[]).await;
        let response = rig.ask(json!({ "stream": stream })).await;
        assert_eq!(tier_of(&response), "last");
        let attempts = header(&response, "x-weir-attempts");
        assert!(
            attempts.starts_with("first;dropped;score=0.0"),
            "{attempts}"
        );
        let id = header(&response, "x-weir-decision");
        response.text().await.unwrap();
        until_left(&rig, &["first"]).await;
        let record = record(&rig, &id).await;
        let dropped = &record["attempts"][0];
        assert!(dropped["judged"]["verdict"]["Abort"]["Hopeless"].is_object());
        assert_eq!(dropped["estimated"], true, "nobody said how much there was");
        assert_eq!(record["tier"], "last");
        let last = rig.sent_to_frontier().await.remove(1);
        assert_eq!(
            last["body"].get("logprobs"),
            None,
            "its answer counts anyway"
        );
    }
}

#[tokio::test]
async fn eight_tiers_are_climbed_one_by_one_and_each_that_is_dropped_is_cancelled() {
    let worker = Scripted::start([unsure()]).await;
    let names = ["t2", "t3", "t4", "t5", "t6", "t7"];
    let mut tiers = vec![small()];
    tiers.extend(names.map(|name| {
        let accept = json!({ "threshold": "0.9", "task": "Choice" });
        judged(endpoint(name, "-4.5", "hang-after=2"), accept)
    }));
    tiers.push(endpoint("last", "", ""));
    let rig = rig(tiers, json!({}), &[&worker]).await;
    let response = rig.ask(json!({ "stream": true })).await;
    assert_eq!(tier_of(&response), "last");
    let id = header(&response, "x-weir-decision");
    let answer = streamed(response).await;
    assert!(
        answer.is_done && !answer.text.contains("hard"),
        "{}",
        answer.text
    );
    assert_eq!(worker.cancelled(), 1);
    until_left(&rig, &names).await;
    let record = record(&rig, &id).await;
    let attempts = record["attempts"].as_array().unwrap();
    let outcomes: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            (
                attempt["tier"].as_str().unwrap(),
                attempt["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    let dropped = ["small", "t2", "t3", "t4", "t5", "t6", "t7"].map(|name| (name, "dropped"));
    assert_eq!(outcomes, [&dropped[..], &[("last", "committed")]].concat());
    assert_eq!(record["plan"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn an_endpoint_that_tells_nothing_of_its_tokens_is_judged_by_its_words() {
    let tiers = |told: &str| {
        let first = judged(endpoint("first", told, ""), json!({ "threshold": "0.99" }));
        vec![first, endpoint("last", "", "")]
    };
    let said = |text: &str| {
        let content = format!("Say: {text}");
        json!({ "messages": [{ "role": "user", "content": content }] })
    };
    for told in ["none", "refused"] {
        let rig = rig(tiers(told), json!({}), &[]).await;
        for (text, tier, verdict) in [
            (
                "It goes to billing.",
                "first",
                json!({ "Commit": "Plausible" }),
            ),
            (
                "I am not sure where it goes.",
                "last",
                json!({ "Abort": { "Signal": "Hedging" } }),
            ),
            (
                "I'm sorry, but I can't help with that.",
                "last",
                json!({ "Abort": { "Signal": "Refusal" } }),
            ),
        ] {
            let response = rig.ask(said(text)).await;
            assert_eq!(tier_of(&response), tier, "{told} {text}");
            let id = header(&response, "x-weir-decision");
            response.text().await.unwrap();
            let record = record(&rig, &id).await;
            assert_eq!(
                record["attempts"][0]["judged"]["verdict"], verdict,
                "{text}"
            );
        }
        // The first was asked for them once, and the last never is.
        let sent = rig.sent_to_frontier().await;
        let asked = sent.iter().filter(|sent| sent["body"]["logprobs"] == true);
        assert_eq!(asked.count(), 1, "{told}");
    }
}

#[tokio::test]
async fn every_wire_of_a_client_meets_every_provider_as_a_first_tier() {
    for provider in ["OpenAICompatible", "OpenAI", "Anthropic"] {
        let mut first = judged(
            endpoint("first", "-0.001", ""),
            json!({ "threshold": "0.9" }),
        );
        first["endpoint"]["provider"] = provider.into();
        let rig = rig(
            vec![first, endpoint("last", "", "status=500")],
            json!({}),
            &[],
        )
        .await;
        for wire in Wire::ALL {
            for stream in [false, true] {
                let body = wire.body(QUESTION, stream);
                let response = wire.ask(&rig, &body, HeaderMap::new()).await;
                assert_eq!(tier_of(&response), "first", "{provider} {wire:?}");
                assert_eq!(
                    header(&response, "x-weir-unsure"),
                    "",
                    "{provider} {wire:?}"
                );
                let has_score = !header(&response, "x-weir-score").is_empty();
                assert_eq!(has_score, provider != "Anthropic", "{provider} {wire:?}");
                let text = response.text().await.unwrap();
                let shows = text.contains("\"top_logprobs\":[{");
                assert!(!shows, "{provider} {wire:?}: {text}");
            }
            let body = wire.body(QUESTION, true);
            let response = wire.ask(&rig, &body, HeaderMap::new()).await;
            let seen = wire.see(response, true).await;
            let Seen::Whole(text) = seen else {
                panic!("{provider} {wire:?}: {seen:?}");
            };
            assert!(text.starts_with("I am a stand-in"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_client_that_asked_for_log_probabilities_gets_its_own() {
    let first = judged(
        endpoint("first", "-0.001", ""),
        json!({ "threshold": "0.9" }),
    );
    let rig = rig(vec![first, endpoint("last", "", "")], json!({}), &[]).await;
    for (asked, shown) in [(0, 0), (1, 1), (4, 4)] {
        let wish = json!({ "logprobs": true, "top_logprobs": asked });
        let response = rig.ask(wish).await;
        assert_eq!(tier_of(&response), "first");
        let body = json_of(response).await;
        let entries = body["choices"][0]["logprobs"]["content"]
            .as_array()
            .unwrap();
        assert!(entries.len() > 3);
        assert_eq!(entries[0]["top_logprobs"].as_array().unwrap().len(), shown);
    }
    let most = rig.sent_to_frontier().await.remove(2);
    assert_eq!(most["body"]["top_logprobs"], 4);
}

#[tokio::test]
async fn a_private_ask_climbs_only_tiers_inside() {
    let worker = Scripted::start([vec![
        Play::Say("hard", -0.1),
        Play::Say("ware", -3.0),
        Play::End,
    ]])
    .await;
    let class = json!({ "header": { "name": "x-data-class", "values": ["restricted"] } });
    let first = judged(
        endpoint("first", "-0.001", ""),
        json!({ "threshold": "0.9" }),
    );
    let tiers = vec![first, small(), endpoint("last", "", "")];
    let policy = json!({ "privacy": { "denyWhen": class } });
    let rig = rig(tiers, policy, &[&worker]).await;
    let mut headers = HeaderMap::new();
    headers.insert("x-data-class", "restricted".parse().unwrap());
    let response = rig.ask_with(json!({}), headers).await;
    assert_eq!(tier_of(&response), "small");
    assert_eq!(header(&response, "x-weir-unsure"), "true");
    assert!(rig.sent_to_frontier().await.is_empty());
}

/// An answer that does not fit: the stand-in fills the schema that it was given, and the small tier says this.
fn misfit() -> Vec<Play> {
    vec![Play::Say("{\"tem\":\"x\"}", -0.001), Play::End]
}

fn form() -> Value {
    let schema = json!({
        "type": "object", "required": ["team"], "additionalProperties": false,
        "properties": { "team": { "type": "string" } },
    });
    let schema = json!({ "name": "route", "schema": schema });
    json!({ "response_format": { "type": "json_schema", "json_schema": schema } })
}

#[tokio::test]
async fn an_answer_without_the_form_that_was_asked_for_goes_up_unless_the_policy_lets_it() {
    for (goes_up, tier) in [(true, "last"), (false, "small")] {
        let worker = Scripted::start([misfit()]).await;
        let mut small = small();
        small["accept"]["escalateOn"] = json!({ "schemaFailure": goes_up });
        let rig = rig(vec![small, endpoint("last", "", "")], json!({}), &[&worker]).await;
        let response = rig.ask(form()).await;
        assert_eq!(tier_of(&response), tier);
        let id = header(&response, "x-weir-decision");
        response.text().await.unwrap();
        let record = record(&rig, &id).await;
        let verdict = &record["attempts"][0]["judged"]["verdict"];
        let has_failed = verdict["Abort"]["Signal"] == "SchemaFailure";
        assert_eq!(has_failed, goes_up, "{verdict}");
    }
}

#[tokio::test]
async fn an_endpoint_s_document_and_its_calls_are_held_against_what_was_asked() {
    let first = judged(
        endpoint("first", "-0.001", ""),
        json!({ "threshold": "0.5" }),
    );
    let rig = rig(vec![first, endpoint("last", "", "")], json!({}), &[]).await;
    let verdict = async |extra: Value| {
        let response = rig.ask(extra).await;
        let tier = tier_of(&response);
        let id = header(&response, "x-weir-decision");
        response.text().await.unwrap();
        let record = record(&rig, &id).await;
        (tier, record["attempts"][0]["judged"]["verdict"].clone())
    };
    let (tier, _) = verdict(form()).await;
    assert_eq!(tier, "first");
    let tool = |parameters: Value| {
        let function = json!({ "name": "route", "parameters": parameters });
        json!({ "tools": [{ "type": "function", "function": function }] })
    };
    let team = json!({ "type": "object", "required": ["team"], "properties": { "team": { "type": "string" } } });
    let (tier, kind) = verdict(tool(team.clone())).await;
    assert_eq!(
        (tier.as_str(), kind),
        ("first", json!({ "Commit": "Plausible" }))
    );
    // The stand-in knows no patterns.
    let mut spelled = team;
    spelled["properties"]["team"]["pattern"] = "^[0-9]+$".into();
    let (tier, kind) = verdict(tool(spelled)).await;
    let failed = json!({ "Abort": { "Signal": "SchemaFailure" } });
    assert_eq!((tier.as_str(), kind), ("last", failed));
}

/// The same with what was learnt in the policy's status.
pub async fn learnt(rig: &Rig, calibration: Value) {
    let mut world = (**rig.world.borrow()).clone();
    let mut object = serde_json::to_value(&*world.policies[0]).unwrap();
    object["status"] = json!({ "calibration": calibration });
    world.policies = vec![std::sync::Arc::new(serde_json::from_value(object).unwrap())];
    rig.follow(world).await;
}

#[tokio::test]
async fn a_threshold_is_taken_from_what_was_learnt_and_a_useless_tier_is_passed_over() {
    let mut first = judged(endpoint("first", "-0.2", ""), json!({ "task": "Choice" }));
    first["accept"]["escalateOn"] = json!({ "refusal": false });
    let rig = rig(vec![first, endpoint("last", "", "")], json!({}), &[]).await;
    let ask = async || {
        let said = json!([{ "role": "user", "content": "Say: to billing then" }]);
        let response = rig.ask(json!({ "messages": said })).await;
        let id = header(&response, "x-weir-decision");
        response.text().await.unwrap();
        record(&rig, &id).await
    };
    assert_eq!(
        ask().await["tier"],
        "last",
        "the built-in threshold is higher"
    );
    learnt(&rig, json!({ "state": "Certified", "threshold": "0.3" })).await;
    let record = ask().await;
    assert_eq!(record["tier"], "first");
    assert_eq!(record["attempts"][0]["judged"]["threshold"], 0.3);
    let wrong = json!({ "threshold": "0.3", "weights": ["NaN", "1"] });
    learnt(&rig, wrong).await;
    assert_eq!(ask().await["tier"], "last", "the built-in one is back");
    learnt(&rig, json!({ "state": "Useless", "threshold": "0.3" })).await;
    let record = ask().await;
    assert_eq!(record["attempts"].as_array().unwrap().len(), 1);
    let passed_over = json!([{ "tier": "first", "reason": "useless" }]);
    assert_eq!(record["passedOver"], passed_over);
}
