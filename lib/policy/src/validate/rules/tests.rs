//! One test for each way in which rules, the classifier and pins are refused.

use serde_json::{Value, json};
use weir_crds::{RoutePolicySpec, reasons};

use super::super::tests::with;
use super::super::{settings, validate};
use super::*;

/// The valid spec with keys and these.
fn spec(extra: &Value) -> RoutePolicySpec {
    let keys = json!({ "keysSecretRef": { "name": "keys" } });
    let mut spec = serde_json::to_value(with("/auth", keys)).unwrap();
    for (field, value) in extra.as_object().unwrap() {
        spec[field] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

/// Fails unless there is one problem, at `field`, whose message has `message`.
fn refused(spec: &RoutePolicySpec, field: &str, message: &str) {
    let problems = validate(spec);
    assert_eq!(problems.len(), 1, "{field}: {problems:?}");
    assert_eq!(problems[0].field, field);
    assert_eq!(problems[0].reason, reasons::INVALID);
    let said = &problems[0].message;
    assert!(said.contains(message), "{said}");
}

fn rule(when: Value, then: Value) -> Value {
    json!({ "rules": [{ "name": "r", "when": when, "then": then }] })
}

#[test]
fn rules_become_what_they_say_with_the_places_of_their_tiers() {
    let rules = json!([
        { "name": "a", "then": { "start": "frontier" } },
        { "name": "b", "then": { "only": "small" } },
        { "name": "c", "then": { "reject": { "message": "no" } } },
        { "name": "d", "when": { "tenant": "acme" }, "then": { "split": [
            { "tier": "frontier", "weight": 10 }, { "tier": "small", "weight": 90 },
        ] } },
    ]);
    let classifier = json!({
        "deployment": { "name": "router" },
        "labels": [{ "label": "easy", "start": "small" }, { "label": "hard", "start": "frontier" }],
    });
    let pin = json!({ "tenants": ["acme"] });
    let found = settings(&spec(
        &json!({ "rules": rules, "classifier": classifier, "pin": pin }),
    ));
    let found = found.unwrap();
    let thens: Vec<Then> = found.rules.iter().map(|rule| rule.then.clone()).collect();
    let message = Some("no".to_owned());
    let share = |tier, weight| Share { tier, weight };
    assert_eq!(
        thens,
        [
            Then::Start(1),
            Then::Only(0),
            Then::Reject { message },
            Then::Split(vec![share(1, 10), share(0, 90)]),
        ]
    );
    let starts: Vec<usize> = found
        .classifier
        .iter()
        .flat_map(|of| &of.labels)
        .map(|of| of.start)
        .collect();
    assert_eq!(starts, [0, 1]);
    assert!(found.pin_tenants.contains("acme"));
    assert_eq!(
        found.deployments().collect::<Vec<_>>(),
        ["triage", "router"]
    );
}

#[test]
fn a_rule_that_names_no_tier_is_refused_with_those_that_there_are() {
    let there_are = "\"huge\" is no tier: there are small, frontier";
    for (then, field) in [
        (json!({ "start": "huge" }), "start"),
        (json!({ "only": "huge" }), "only"),
        (
            json!({ "split": [{ "tier": "small", "weight": 50 }, { "tier": "huge", "weight": 50 }] }),
            "split[1].tier",
        ),
    ] {
        let field = format!("spec.rules[0].then.{field}");
        refused(&spec(&rule(json!({}), then)), &field, there_are);
    }
}

#[test]
fn a_rule_does_exactly_one_thing() {
    for then in [json!({}), json!({ "start": "small", "reject": {} })] {
        let spec = spec(&rule(json!({}), then));
        refused(&spec, "spec.rules[0].then", "exactly one of");
    }
}

#[test]
fn a_split_has_every_tier_once_and_sums_to_100() {
    let split = |shares: &[(&str, u32)]| {
        let shares = shares.iter();
        let shares = shares.map(|(tier, weight)| json!({ "tier": tier, "weight": weight }));
        spec(&rule(
            json!({}),
            json!({ "split": shares.collect::<Vec<_>>() }),
        ))
    };
    let at = "spec.rules[0].then.split";
    refused(&split(&[("small", 60), ("frontier", 30)]), at, "sum to 90");
    refused(&split(&[]), at, "sum to 0");
    refused(
        &split(&[("small", 60), ("small", 40)]),
        at,
        "\"small\" is there twice",
    );
}

#[test]
fn the_names_of_rules_are_plain_and_different() {
    let named = |names: &[&str]| {
        let rules = names.iter();
        let rules = rules.map(|name| json!({ "name": name, "then": { "start": "small" } }));
        spec(&json!({ "rules": rules.collect::<Vec<_>>() }))
    };
    refused(
        &named(&["a", "b", "a"]),
        "spec.rules",
        "\"a\" is there twice",
    );
    for name in ["A", "a b", "a.b", &"a".repeat(64)] {
        refused(&named(&[name]), "spec.rules[0].name", "lower-case letters");
    }
}

#[test]
fn a_condition_that_no_ask_can_meet_is_refused() {
    for (when, field, message) in [
        (
            json!({ "promptTokens": {} }),
            "promptTokens",
            "over and under",
        ),
        (
            json!({ "promptTokens": { "over": 5, "under": 6 } }),
            "promptTokens",
            "no number is over 5 and under 6",
        ),
        (
            json!({ "header": { "name": "a b", "values": ["x"] } }),
            "header.name",
            "no name of a header",
        ),
        (
            json!({ "header": { "name": "x-team", "values": [] } }),
            "header.values",
            "must not be empty",
        ),
        (
            json!({ "header": { "name": "x-team", "values": ["x", "a, b"] } }),
            "header.values",
            "\"a, b\" has a comma",
        ),
        (
            json!({ "header": { "name": "x-team", "values": ["x "] } }),
            "header.values",
            "a space at an end",
        ),
        (
            json!({ "metadata": { "name": "", "values": ["x"] } }),
            "metadata.name",
            "is empty",
        ),
        (
            json!({ "metadata": { "name": "purpose", "values": [] } }),
            "metadata.values",
            "must not be empty",
        ),
        (
            json!({ "language": "deu" }),
            "language",
            "\"deu\" is no ISO 639-1 code",
        ),
        (json!({ "tenant": "a/b" }), "tenant", "name of an entry"),
        (
            json!({ "adapter": "tickets" }),
            "adapter",
            "no model name of the policy ends in \":tickets\"",
        ),
    ] {
        let spec = spec(&rule(when, json!({ "start": "small" })));
        refused(&spec, &format!("spec.rules[0].when.{field}"), message);
    }
    let mut adapted = rule(json!({ "adapter": "tickets" }), json!({ "start": "small" }));
    adapted["models"] = json!(["support", "support:tickets"]);
    assert_eq!(validate(&spec(&adapted)), []);
}

#[test]
fn without_keys_there_are_no_tenants_to_name() {
    let without_keys = |extra: Value| {
        let mut spec = spec(&extra);
        spec.auth = None;
        spec
    };
    let tenant = rule(json!({ "tenant": "acme" }), json!({ "start": "small" }));
    let why = "no tenants without spec.auth";
    refused(&without_keys(tenant), "spec.rules[0].when.tenant", why);
    let pin = json!({ "pin": { "tenants": ["acme"] } });
    refused(&without_keys(pin), "spec.pin.tenants[0]", why);
    assert_eq!(validate(&without_keys(json!({ "pin": {} }))), []);
}

#[test]
fn pins_name_tenants_once() {
    let pin = |tenants: Value| spec(&json!({ "pin": { "tenants": tenants } }));
    refused(
        &pin(json!(["a", "../b"])),
        "spec.pin.tenants[1]",
        "name of an entry",
    );
    refused(
        &pin(json!(["a", "a"])),
        "spec.pin.tenants",
        "\"a\" is there twice",
    );
}

#[test]
fn a_classifier_has_a_deployment_and_labels_to_choose_from() {
    let label = |label: &str, start: &str| json!({ "label": label, "start": start });
    let both = json!([label("easy", "small"), label("hard", "frontier")]);
    let classifier = |deployment: Value, labels: Value| {
        let classifier = json!({ "deployment": deployment, "labels": labels });
        spec(&json!({ "classifier": classifier }))
    };
    let router = || json!({ "name": "router" });
    let at = "spec.classifier";
    let labels = "spec.classifier.labels";
    refused(
        &classifier(router(), Value::Null),
        at,
        "deployment and labels",
    );
    refused(
        &classifier(Value::Null, both.clone()),
        at,
        "deployment and labels",
    );
    refused(&spec(&json!({ "classifier": {} })), at, "either learned");
    refused(
        &classifier(json!({ "name": "a/b" }), both),
        "spec.classifier.deployment.name",
        "name of an object",
    );
    let few = json!([label("easy", "small")]);
    refused(&classifier(router(), few), labels, "at least two labels");
    let twice = json!([label("easy", "small"), label("easy", "frontier")]);
    refused(
        &classifier(router(), twice),
        labels,
        "\"easy\" is there twice",
    );
    let unnamed = json!([label("", "small"), label("hard", "frontier")]);
    refused(&classifier(router(), unnamed), labels, "a name is empty");
    let unknown = json!([label("easy", "small"), label("hard", "huge")]);
    let there_are = "\"huge\" is no tier";
    refused(
        &classifier(router(), unknown),
        "spec.classifier.labels[1].start",
        there_are,
    );
}

#[test]
fn a_classifier_that_learns_is_not_implemented_yet() {
    let problems = validate(&spec(&json!({ "classifier": { "learned": {} } })));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].field, "spec.classifier.learned");
    assert_eq!(problems[0].reason, reasons::NOT_IMPLEMENTED);
}
