//! Where asks begin: rules, splits, pins and the classifier.

use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::Response;
use serde_json::{Value, json};

use crate::rig::{Rig, Setup, header, json_of, merge};
use crate::worker::{Play, Reply, Scripted, sure, unsure};

/// The policy with one rule `r`.
fn rule(when: Value, then: Value) -> Value {
    json!({ "rules": [{ "name": "r", "when": when, "then": then }] })
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

async fn error(response: Response, status: StatusCode) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(header(&response, "x-should-retry"), "false");
    json_of(response).await["error"].clone()
}

/// A prompt of about so many tokens, four bytes each.
fn long(tokens: usize) -> Value {
    let text = "tick".repeat(tokens);
    json!({ "messages": [{ "role": "user", "content": text }] })
}

#[tokio::test]
async fn a_rule_can_begin_an_ask_further_up_and_is_counted() {
    let worker = Scripted::start([sure()]).await;
    let start = rule(
        json!({ "metadata": { "name": "purpose", "values": ["legal"] } }),
        json!({ "start": "frontier" }),
    );
    let rig = Rig::with(start, &[&worker]).await;
    let legal = rig.ask(json!({ "metadata": { "purpose": "legal" } })).await;
    assert_eq!(header(&legal, "x-weir-attempts"), "frontier");
    let other = rig.ask(json!({ "metadata": { "purpose": "sales" } })).await;
    assert_eq!(header(&other, "x-weir-attempts"), "small");
    for (by, name) in [("rule", "r"), ("order", "")] {
        let labels = format!("policy=\"support\",by=\"{by}\",name=\"{name}\"");
        rig.until_counted(&format!("weir_router_routes_total{{{labels}}} 1"))
            .await;
    }
}

#[tokio::test]
async fn an_ask_that_begins_at_a_tier_may_escalate_from_there() {
    let worker = Scripted::start([unsure()]).await;
    let rig = Rig::with(rule(json!({}), json!({ "start": "small" })), &[&worker]).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(header(&response, "x-weir-tier"), "frontier");
}

#[tokio::test]
async fn the_only_tier_of_an_ask_answers_whatever_its_score_and_nobody_else_does() {
    let mut unsure_to_its_end = unsure();
    unsure_to_its_end[2] = Play::End;
    let worker = Scripted::start([unsure_to_its_end, vec![Play::Die]]).await;
    let mut policy = rule(json!({}), json!({ "only": "small" }));
    // Not even where a policy would rather have an error than an unsure answer.
    policy["onAllUnsure"] = "Error".into();
    let rig = Rig::with(policy, &[&worker]).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(header(&response, "x-weir-attempts"), "small");
    let score: f64 = header(&response, "x-weir-score").parse().unwrap();
    assert!(score < 0.9, "{score}");
    assert_eq!(header(&response, "x-weir-unsure"), "");
    let answer = json_of(response).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "hardware");
    let failed = rig.ask(json!({})).await;
    assert_eq!(failed.status(), StatusCode::BAD_GATEWAY);
    assert!(rig.sent_to_frontier().await.is_empty());
}

#[tokio::test]
async fn what_the_only_tier_cannot_serve_is_named() {
    let worker = Scripted::start([sure()]).await;
    let rig = Rig::with(rule(json!({}), json!({ "only": "small" })), &[&worker]).await;
    let response = rig.ask(json!({ "audio": {} })).await;
    let error = error(response, StatusCode::BAD_REQUEST).await;
    assert_eq!(error["param"], "audio");
}

#[tokio::test]
async fn a_rule_refuses_in_the_words_of_the_policy() {
    let when = json!({ "header": { "name": "X-Team", "values": ["ads"] } });
    let reject = rule(when, json!({ "reject": { "message": "not for ads" } }));
    let worker = Scripted::start([sure()]).await;
    let rig = Rig::with(reject, &[&worker]).await;
    let refused = rig.ask_with(json!({}), headers(&[("x-team", "ads")])).await;
    let error = error(refused, StatusCode::FORBIDDEN).await;
    assert_eq!(error["message"], "not for ads");
    assert_eq!(error["code"], "rejected_by_rule");
    let others = headers(&[("x-team", "search")]);
    assert_eq!(rig.ask_with(json!({}), others).await.status(), 200);
    rig.until_counted("weir_router_routes_total{policy=\"support\",by=\"rule\",name=\"r\"} 1")
        .await;
}

#[tokio::test]
async fn a_split_gives_tiers_their_shares() {
    let worker = Scripted::start([sure()]).await;
    let split = |small: u32| {
        let shares = [("small", small), ("frontier", 100 - small)];
        let shares = shares.map(|(tier, weight)| json!({ "tier": tier, "weight": weight }));
        rule(json!({}), json!({ "split": shares }))
    };
    let rig = Rig::with(split(50), &[&worker]).await;
    let mut small = 0;
    for _ in 0..40 {
        let response = rig.ask(json!({})).await;
        small += usize::from(header(&response, "x-weir-tier") == "small");
    }
    // Fewer than 4 or more than 36 of 40 fair draws: once in a hundred million runs.
    assert!((4..=36).contains(&small), "{small} of 40");
    let rig = Rig::with(split(0), &[&worker]).await;
    for _ in 0..10 {
        assert_eq!(header(&rig.ask(json!({})).await, "x-weir-tier"), "frontier");
    }
}

#[tokio::test]
async fn a_language_is_told_from_the_last_message_of_the_user() {
    let worker = Scripted::start([sure()]).await;
    let german = rule(json!({ "language": "de" }), json!({ "start": "frontier" }));
    let rig = Rig::with(german, &[&worker]).await;
    for (text, tier) in [
        (
            "Meine Rechnung ist falsch, bitte erstatten Sie mir den Betrag.",
            "frontier",
        ),
        ("My invoice is wrong, please refund me the amount.", "small"),
        ("danke", "small"),
    ] {
        let response = rig.ask(json!({ "messages": [{ "content": text }] })).await;
        assert_eq!(header(&response, "x-weir-tier"), tier, "{text}");
    }
}

#[tokio::test]
async fn tokens_are_counted_by_the_first_tier_only_where_its_bytes_leave_the_rule_open() {
    let worker = Scripted::start([sure()]).await.counts(Reply::With(101));
    let over = rule(
        json!({ "promptTokens": { "over": 100 } }),
        json!({ "start": "frontier" }),
    );
    let rig = Rig::with(over, &[&worker]).await;
    for (tokens, tier, counted) in [(10, "small", 0), (1000, "frontier", 0), (80, "frontier", 1)] {
        let response = rig.ask(long(tokens)).await;
        assert_eq!(header(&response, "x-weir-tier"), tier, "{tokens}");
        assert_eq!(worker.tokenized().len(), counted, "{tokens}");
    }
    assert_eq!(worker.tokenized()[0].model, "triage");
}

#[tokio::test]
async fn tokens_of_several_prompts_count_together() {
    let worker = Scripted::start([sure()]).await.counts(Reply::With(40));
    let over = rule(
        json!({ "promptTokens": { "over": 100 } }),
        json!({ "start": "frontier" }),
    );
    let rig = Rig::with(over, &[&worker]).await;
    for (prompts, tier) in [(2, "small"), (3, "frontier")] {
        let prompt = vec!["tick".repeat(30); prompts];
        let body = json!({ "model": "assistant", "prompt": prompt, "max_tokens": 5 });
        let request = rig.client.post(format!("{}/v1/completions", rig.url));
        let response = request.body(body.to_string()).send().await.unwrap();
        assert_eq!(header(&response, "x-weir-tier"), tier, "{prompts}");
    }
    assert_eq!(worker.tokenized().len(), 5);
}

#[tokio::test]
async fn a_replica_that_leaves_is_passed_over_for_another_that_counts_and_chooses() {
    let leaves = Scripted::start([sure()]).await;
    let leaves = leaves.counts(Reply::Leaves).chooses(Reply::Leaves);
    let stays = Scripted::start([sure()]).await;
    let stays = stays.counts(Reply::With(90)).chooses(Reply::With("hard"));
    let policy = json!({
        "rules": [{
            "name": "long", "when": { "promptTokens": { "over": 100 } }, "then": { "only": "small" },
        }],
        "classifier": labels(),
    });
    let rig = Rig::with(policy, &[&leaves, &stays]).await;
    for number in 0..16 {
        // By its bytes the prompt would be over the bound.
        let text = format!("{number} {}", "tick".repeat(110));
        let ask = json!({ "messages": [{ "role": "user", "content": text }] });
        let response = rig.ask(ask).await;
        assert_eq!(header(&response, "x-weir-tier"), "frontier");
    }
    assert!(!leaves.tokenized().is_empty());
    assert!(!leaves.chosen().is_empty());
}

#[tokio::test]
async fn tokens_are_estimated_where_nobody_counts_them_in_time() {
    let over = |bound: u32| {
        let when = json!({ "promptTokens": { "over": bound } });
        rule(when, json!({ "start": "frontier" }))
    };
    let hanging = Scripted::start([sure()]).await.counts(Reply::Never);
    let failing = Scripted::start([sure()]).await;
    for worker in [&hanging, &failing] {
        let rig = Rig::with(over(100), &[worker]).await;
        for (tokens, tier) in [(90, "small"), (110, "frontier")] {
            let response = rig.ask(long(tokens)).await;
            assert_eq!(header(&response, "x-weir-tier"), tier, "{tokens}");
        }
        assert_eq!(worker.tokenized().len(), 2);
    }
    let rig = Rig::with(over(100), &[&hanging]).await;
    rig.ask(long(90)).await;
    assert_eq!(hanging.cancelled(), 3);
    // Without a replica the ask goes on at once, and waits for one only as an attempt.
    let rig = Rig::with(over(100), &[]).await;
    let response = rig.ask(long(110)).await;
    assert_eq!(header(&response, "x-weir-attempts"), "frontier");
}

/// A policy with two tenants, of which `quality` may pin; `extra` is merged over it.
async fn with_pin(extra: Value, worker: &Scripted) -> Rig {
    let mut policy = json!({
        "auth": { "keysSecretRef": { "name": "keys" } }, "pin": { "tenants": ["quality"] },
    });
    merge(&mut policy, extra);
    Rig::start(Setup {
        policy,
        workers: vec![worker.clone()],
        secrets: &[
            ("keys", "quality", "plain:open-sesame"),
            ("keys", "sales", "plain:abracadabra"),
        ],
        ..Setup::default()
    })
    .await
}

const QUALITY: (&str, &str) = ("authorization", "Bearer open-sesame");
const SALES: (&str, &str) = ("authorization", "Bearer abracadabra");

#[tokio::test]
async fn a_tenant_that_may_pins_a_tier_and_others_learn_nothing_of_them() {
    let worker = Scripted::start([sure()]).await;
    let rig = with_pin(json!({}), &worker).await;
    let pin = async |headers| rig.ask_with(json!({}), headers).await;
    let pinned = pin(headers(&[QUALITY, ("x-weir-tier", "frontier")])).await;
    assert_eq!(header(&pinned, "x-weir-attempts"), "frontier");
    rig.until_counted(
        "weir_router_routes_total{policy=\"support\",by=\"pin\",name=\"frontier\"} 1",
    )
    .await;
    for tier in ["frontier", "huge", "a b"] {
        let refused = pin(headers(&[SALES, ("x-weir-tier", tier)])).await;
        let error = error(refused, StatusCode::FORBIDDEN).await;
        assert_eq!(error["code"], "pin_not_allowed");
        assert_eq!(error["param"], "x-weir-tier");
        assert!(!error.to_string().contains("small"), "{error}");
    }
    let unpinned = pin(headers(&[SALES])).await;
    assert_eq!(header(&unpinned, "x-weir-tier"), "small");
    // A deployment under its own name has no tiers to choose from.
    let alone = headers(&[QUALITY, ("x-weir-tier", "triage")]);
    let alone = rig.ask_with(json!({ "model": "triage" }), alone).await;
    assert_eq!(alone.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_pin_that_names_no_tier_is_refused_by_its_header() {
    let worker = Scripted::start([sure()]).await;
    let rig = with_pin(json!({}), &worker).await;
    for (pins, message) in [
        (
            &["huge"][..],
            "there is no tier \"huge\"; there are: small, frontier",
        ),
        (&["small", "frontier"], "must be there once"),
        (&["small, frontier"], "must be there once"),
        (&[""], "must be there once"),
    ] {
        let mut headers = headers(&[QUALITY]);
        for pin in pins {
            headers.append("x-weir-tier", HeaderValue::from_static(pin));
        }
        let refused = rig.ask_with(json!({}), headers).await;
        let error = error(refused, StatusCode::BAD_REQUEST).await;
        assert_eq!(error["param"], "x-weir-tier");
        assert!(
            error.to_string().contains(&message.replace('"', "\\\"")),
            "{error}"
        );
    }
    assert!(worker.asked().is_empty());
}

#[tokio::test]
async fn a_pin_wins_over_rules_but_for_one_that_refuses_and_its_tier_is_not_judged() {
    let mut unsure_to_its_end = unsure();
    unsure_to_its_end[2] = Play::End;
    let worker = Scripted::start([unsure_to_its_end]).await;
    let rules = json!([
        {
            "name": "no", "when": { "metadata": { "name": "purpose", "values": ["scraping"] } },
            "then": { "reject": {} },
        },
        { "name": "up", "then": { "start": "frontier" } },
    ]);
    let rig = with_pin(json!({ "rules": rules }), &worker).await;
    let pin = headers(&[QUALITY, ("x-weir-tier", "small")]);
    let pinned = rig.ask_with(json!({}), pin.clone()).await;
    assert_eq!(header(&pinned, "x-weir-tier"), "small");
    assert_eq!(header(&pinned, "x-weir-unsure"), "");
    let scraping = json!({ "metadata": { "purpose": "scraping" } });
    let refused = rig.ask_with(scraping, pin).await;
    let error = error(refused, StatusCode::FORBIDDEN).await;
    assert_eq!(error["code"], "rejected_by_rule");
}

#[tokio::test]
async fn a_private_ask_goes_nowhere_else_whatever_rules_pins_and_labels_say() {
    let private = json!({ "header": { "name": "x-data-class", "values": ["restricted"] } });
    let private = json!({ "privacy": { "denyWhen": private } });
    let class = ("x-data-class", "restricted");
    let outside = [
        json!({ "start": "frontier" }),
        json!({ "only": "frontier" }),
    ];
    for then in outside {
        let worker = Scripted::start([sure()]).await;
        let mut policy = rule(json!({}), then);
        merge(&mut policy, private.clone());
        let rig = Rig::with(policy, &[&worker]).await;
        let refused = rig.ask_with(json!({}), headers(&[class])).await;
        let error = error(refused, StatusCode::FORBIDDEN).await;
        assert_eq!(error["code"], "egress_denied");
        assert!(rig.sent_to_frontier().await.is_empty());
    }
    let worker = Scripted::start([sure()]).await;
    let rig = with_pin(private.clone(), &worker).await;
    let pin = headers(&[QUALITY, class, ("x-weir-tier", "frontier")]);
    let refused = rig.ask_with(json!({}), pin).await;
    assert_eq!(
        error(refused, StatusCode::FORBIDDEN).await["code"],
        "egress_denied"
    );
    assert!(rig.sent_to_frontier().await.is_empty());
    // A label is only a guess: the one tier that may take the ask does, and nobody is asked for it.
    let worker = worker.chooses(Reply::With("hard"));
    let rig = with_classifier(private, &worker).await;
    let response = rig.ask_with(json!({}), headers(&[class])).await;
    assert_eq!(header(&response, "x-weir-tier"), "small");
    assert!(worker.chosen().is_empty());
}

/// A classifier that is the deployment `triage` itself.
fn labels() -> Value {
    json!({
        "deployment": { "name": "triage" },
        "labels": [{ "label": "easy", "start": "small" }, { "label": "hard", "start": "frontier" }],
    })
}

/// A policy whose labels are of the deployment `triage` itself; `extra` is merged over it.
async fn with_classifier(extra: Value, worker: &Scripted) -> Rig {
    let mut policy = json!({ "classifier": labels() });
    merge(&mut policy, extra);
    Rig::with(policy, &[worker]).await
}

#[tokio::test]
async fn a_classifier_says_where_an_ask_begins() {
    for (label, tier) in [("easy", "small"), ("hard", "frontier")] {
        let worker = Scripted::start([sure()]).await.chooses(Reply::With(label));
        let rig = with_classifier(json!({}), &worker).await;
        let response = rig.ask(json!({})).await;
        assert_eq!(header(&response, "x-weir-attempts"), tier);
        let chosen = &worker.chosen()[0];
        assert_eq!(chosen.options, ["easy", "hard"]);
        assert_eq!(chosen.model, "triage");
        assert!(chosen.prompt.is_some());
        let labels = format!("policy=\"support\",by=\"classifier\",name=\"{tier}\"");
        rig.until_counted(&format!("weir_router_routes_total{{{labels}}} 1"))
            .await;
    }
}

#[tokio::test]
async fn a_classifier_has_no_say_in_whose_vectors_these_are() {
    let worker = Scripted::start([sure()]).await.chooses(Reply::With("hard"));
    let rig = with_classifier(json!({}), &worker).await;
    let body = json!({ "model": "assistant", "input": "the spider ate my invoice" });
    let request = rig.client.post(format!("{}/v1/embeddings", rig.url));
    let response = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(header(&response, "x-weir-tier"), "small");
    assert!(worker.chosen().is_empty());
}

#[tokio::test]
async fn a_classifier_that_fails_or_takes_too_long_leaves_tiers_in_their_order() {
    let failing = Scripted::start([sure()]).await;
    let hanging = Scripted::start([sure()]).await.chooses(Reply::Never);
    let elsewhere = json!({ "classifier": { "deployment": { "name": "nobody" } } });
    for (worker, extra, chosen) in [
        (&failing, json!({}), 1),
        (&hanging, json!({}), 1),
        (&Scripted::start([sure()]).await, elsewhere, 0),
    ] {
        let rig = with_classifier(extra, worker).await;
        let response = rig.ask(json!({})).await;
        assert_eq!(header(&response, "x-weir-attempts"), "small");
        assert_eq!(worker.chosen().len(), chosen);
        rig.until_counted(
            "weir_router_routes_total{policy=\"support\",by=\"classifier_failed\",name=\"\"} 1",
        )
        .await;
    }
    assert_eq!(hanging.cancelled(), 1);
}

#[tokio::test]
async fn a_classifier_is_asked_only_where_no_rule_and_no_pin_decides() {
    let worker = Scripted::start([sure()]).await.chooses(Reply::With("hard"));
    let tools = rule(json!({ "tools": false }), json!({ "start": "small" }));
    let rig = with_classifier(tools, &worker).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(header(&response, "x-weir-tier"), "small");
    assert!(worker.chosen().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_while_its_ask_is_classified_cancels_that() {
    let worker = Scripted::start([sure()]).await.chooses(Reply::Never);
    let rig = with_classifier(json!({}), &worker).await;
    tokio::select! {
        answer = rig.ask(json!({})) => panic!("answered: {answer:?}"),
        () = rig.until("the classifier is at work", |load| {
            load["deployments"]["triage"]["running"] == 1
        }) => {}
    }
    rig.until_counted("weir_router_asks_total{policy=\"support\",outcome=\"disconnected\"} 1")
        .await;
    assert!(worker.asked().is_empty());
}
