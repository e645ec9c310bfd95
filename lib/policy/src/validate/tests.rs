//! One test for each way in which a policy is refused.

use serde_json::{Value, json};
use weir_crds::{RoutePolicySpec, crds};

use super::*;
use crate::testing;

/// The valid spec with `value` at the JSON pointer `at`.
pub(super) fn with(at: &str, value: Value) -> RoutePolicySpec {
    let mut spec = serde_json::to_value(testing::policy("support").spec).unwrap();
    let (parent, field) = at.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[field] = value;
    serde_json::from_value(spec).unwrap()
}

#[test]
fn a_valid_policy_has_no_problems() {
    assert_eq!(validate(&testing::policy("support").spec), []);
}

#[test]
fn every_fault_is_named_by_its_field() {
    for (at, value, field, message) in [
        ("/models", json!([]), "spec.models", "must not be empty"),
        (
            "/models",
            json!(["a", "a"]),
            "spec.models",
            "\"a\" is there twice",
        ),
        (
            "/tiers/1/name",
            json!("small"),
            "spec.tiers",
            "\"small\" is there twice",
        ),
        (
            "/tiers/0/deployment",
            Value::Null,
            "spec.tiers[0]",
            "one of deployment and endpoint",
        ),
        (
            "/tiers/0/accept/threshold",
            json!("2"),
            "spec.tiers[0].accept.threshold",
            "2",
        ),
        (
            "/tiers/0/accept/escalateOn",
            json!({ "patterns": ["a", "("] }),
            "spec.tiers[0].accept.escalateOn.patterns[1]",
            "does not compile: error: unclosed group",
        ),
        (
            "/tiers/1/accept",
            json!({}),
            "spec.tiers[1].accept",
            "take accept out",
        ),
        ("/timeout", json!("soon"), "spec.timeout", "\"soon\""),
        (
            "/cache",
            json!({ "exact": "0s" }),
            "spec.cache.exact",
            "above zero",
        ),
        (
            "/limits",
            json!({ "perTenant": { "tokensPerMinute": 0 } }),
            "spec.limits.perTenant.tokensPerMinute",
            "at least 1",
        ),
        (
            "/budget",
            json!([{ "period": "Day", "limit": "ten" }]),
            "spec.budget[0].limit",
            "\"ten\"",
        ),
        (
            "/budget",
            json!([{ "period": "Day", "limit": "1" }, { "period": "Day", "limit": "2" }]),
            "spec.budget[1].period",
            "Day is there twice",
        ),
        (
            "/maxDuration",
            json!("0s"),
            "spec.maxDuration",
            "above zero",
        ),
        (
            "/tiers/1/endpoint/timeouts",
            json!({ "idle": "x" }),
            "spec.tiers[1].endpoint.timeouts.idle",
            "\"x\"",
        ),
        (
            "/tiers/1/endpoint/provider",
            json!("OpenAICompatible"),
            "spec.tiers[1].endpoint.baseUrl",
            "needs it",
        ),
        (
            "/tiers/1/endpoint/baseUrl",
            json!("ftp://a"),
            "spec.tiers[1].endpoint.baseUrl",
            "begin with",
        ),
        (
            "/tiers/1/endpoint/baseUrl",
            json!("https://u:p@a"),
            "spec.tiers[1].endpoint.baseUrl",
            "user name",
        ),
        (
            "/tiers/1/endpoint/baseUrl",
            json!("https:///v1"),
            "spec.tiers[1].endpoint.baseUrl",
            "no host",
        ),
        (
            "/tiers/1/endpoint/location",
            json!("Inside"),
            "spec.tiers[1].endpoint.baseUrl",
            ".svc",
        ),
        (
            "/tiers/1/endpoint/headers",
            json!({ "a b": "c" }),
            "spec.tiers[1].endpoint.headers.a b",
            "header",
        ),
        (
            "/tiers/1/endpoint/price/inputPerMillion",
            json!("-1"),
            "spec.tiers[1].endpoint.price.inputPerMillion",
            "-1",
        ),
        (
            "/privacy",
            json!({ "egress": "Deny" }),
            "spec.privacy.egress",
            "take it out",
        ),
        (
            "/privacy",
            json!({ "denyWhen": { "header": { "name": "a b", "values": ["x"] } } }),
            "spec.privacy.denyWhen.header.name",
            "no name of a header",
        ),
        (
            "/privacy",
            json!({ "denyWhen": { "header": { "name": "x-data-class", "values": ["a,b"] } } }),
            "spec.privacy.denyWhen.header.values",
            "has a comma",
        ),
        (
            "/records",
            json!({ "to": "s3://b/p" }),
            "spec.records.credentialsSecretRef",
            "aws_access_key_id",
        ),
        (
            "/records",
            json!({ "to": "s3://b//p", "credentialsSecretRef": { "name": "s3" } }),
            "spec.records.to",
            "plain names",
        ),
        (
            "/records",
            json!({ "to": "s3://b", "credentialsSecretRef": { "name": "../s3" } }),
            "spec.records.credentialsSecretRef.name",
            "no slash",
        ),
        (
            "/records",
            json!({ "text": "Include" }),
            "spec.records.text",
            "s3://",
        ),
        (
            "/records",
            json!({ "credentialsSecretRef": { "name": "s3" } }),
            "spec.records.credentialsSecretRef",
            "take it out",
        ),
    ] {
        let problems = validate(&with(at, value.clone()));
        let found = problems.iter().find(|problem| problem.field == field);
        let found = found.unwrap_or_else(|| panic!("{at} {value}: {problems:?}"));
        assert_eq!(found.reason, reasons::INVALID, "{at}");
        assert!(found.message.contains(message), "{at}: {}", found.message);
    }
}

#[test]
fn every_fault_of_what_is_redacted_is_named() {
    for (redact, field, message) in [
        (json!({}), "spec.privacy.redact", "name kinds or patterns"),
        (
            json!({ "patterns": ["a", "("] }),
            "spec.privacy.redact.patterns[1]",
            "does not compile: unclosed group",
        ),
        (
            json!({ "patterns": ["a*"] }),
            "spec.privacy.redact.patterns[0]",
            "matches the empty text",
        ),
        (
            json!({ "patterns": vec!["a"; 17] }),
            "spec.privacy.redact.patterns",
            "at most 16",
        ),
    ] {
        let problems = validate(&with("/privacy", json!({ "redact": redact })));
        let invalid: Vec<_> = problems
            .iter()
            .filter(|problem| problem.reason == reasons::INVALID)
            .collect();
        assert_eq!(invalid.len(), 1, "{field}: {problems:?}");
        assert_eq!(invalid[0].field, field);
        assert!(
            invalid[0].message.contains(message),
            "{}",
            invalid[0].message
        );
    }
    let redact = json!({ "kinds": ["Email", "Phone"], "patterns": ["TICKET-[0-9]+"] });
    let problems = validate(&with("/privacy", json!({ "redact": redact })));
    assert_eq!(problems, []);
}

#[test]
fn a_reference_that_leaves_the_folder_of_secrets_is_refused() {
    let key_ref = |name: &str, key: &str| {
        let reference = json!({ "name": name, "key": key });
        with("/tiers/1/endpoint/apiKeySecretRef", reference)
    };
    let at = "spec.tiers[1].endpoint.apiKeySecretRef";
    for (spec, field) in [
        (key_ref("../../outside", "token"), format!("{at}.name")),
        (key_ref("/etc", "token"), format!("{at}.name")),
        (key_ref("", "token"), format!("{at}.name")),
        (key_ref("keys", ".."), format!("{at}.key")),
        (key_ref("keys", "../../token"), format!("{at}.key")),
        (key_ref("keys", "/etc/passwd"), format!("{at}.key")),
        (
            with("/auth", json!({ "keysSecretRef": { "name": ".." } })),
            "spec.auth.keysSecretRef.name".to_owned(),
        ),
    ] {
        let problems = validate(&spec);
        assert_eq!(problems.len(), 1, "{field}: {problems:?}");
        assert_eq!(problems[0].field, field);
        assert_eq!(problems[0].reason, reasons::INVALID);
    }
    assert_eq!(validate(&key_ref("provider.keys", ".api_Key-1")), []);
}

#[test]
fn a_key_is_not_sent_in_plain_text_out_of_the_cluster() {
    let mut spec = with("/tiers/1/endpoint/baseUrl", json!("http://example.com/v1"));
    assert_eq!(validate(&spec), []);
    let endpoint = spec.tiers[1].endpoint.as_mut().unwrap();
    endpoint.api_key_secret_ref =
        serde_json::from_value(json!({ "name": "a", "key": "b" })).unwrap();
    assert!(validate(&spec)[0].message.contains("use https://"));
    let endpoint = spec.tiers[1].endpoint.as_mut().unwrap();
    endpoint.base_url = Some("http://127.0.0.1:9000/v1".into());
    assert_eq!(
        validate(&spec),
        [],
        "on a laptop it never leaves the machine"
    );
}

#[test]
fn a_header_that_holds_a_key_is_not_sent_in_plain_text_either() {
    let at = "spec.tiers[1].endpoint.headers";
    let problems = |url: &str, name: &str| {
        let mut spec = with("/tiers/1/endpoint/headers", json!({ name: "secret" }));
        spec.tiers[1].endpoint.as_mut().unwrap().base_url = Some(url.to_owned());
        let problems = validate(&spec);
        let fields = problems.into_iter().map(|problem| problem.field);
        fields.collect::<Vec<String>>()
    };
    for name in [
        "authorization",
        "X-Api-Key",
        "api-key",
        "x-auth-token",
        "Cookie",
    ] {
        let found = problems("HTTP://example.com/v1", name);
        assert_eq!(found, [format!("{at}.{name}")]);
        for url in ["https://example.com/v1", "http://127.0.0.1:9000/v1"] {
            assert_eq!(problems(url, name), [""; 0], "{url} {name}");
        }
    }
    assert_eq!(problems("http://example.com/v1", "x-max-tokens"), [""; 0]);
}

#[test]
fn a_ca_bundle_is_for_what_is_encrypted() {
    let mut spec = with("/tiers/1/endpoint/baseUrl", json!("https://example.com/v1"));
    let endpoint = spec.tiers[1].endpoint.as_mut().unwrap();
    let bundle = |name: &str| json!({ "configMapRef": { "name": name, "key": "ca.pem" } });
    endpoint.ca_bundle = serde_json::from_value(bundle("authorities")).unwrap();
    assert_eq!(validate(&spec), []);
    let endpoint = spec.tiers[1].endpoint.as_mut().unwrap();
    endpoint.base_url = Some("http://example.com/v1".into());
    assert_eq!(validate(&spec)[0].field, "spec.tiers[1].endpoint.caBundle");
    let endpoint = spec.tiers[1].endpoint.as_mut().unwrap();
    endpoint.base_url = Some("https://example.com/v1".into());
    endpoint.ca_bundle = serde_json::from_value(bundle("../authorities")).unwrap();
    let field = "spec.tiers[1].endpoint.caBundle.configMapRef.name";
    assert_eq!(validate(&spec)[0].field, field);
}

#[test]
fn what_nobody_honours_yet_is_refused_by_name() {
    for (at, value, field) in [
        (
            "/quality",
            json!({ "maxRegret": "0.02", "reference": "frontier" }),
            "spec.quality",
        ),
        (
            "/classifier",
            json!({ "learned": {} }),
            "spec.classifier.learned",
        ),
    ] {
        let problems = validate(&with(at, value));
        let found = problems.iter().find(|problem| problem.field == field);
        let found = found.unwrap_or_else(|| panic!("{at}: {problems:?}"));
        assert_eq!(found.reason, reasons::NOT_IMPLEMENTED);
    }
}

#[test]
fn anthropics_newer_api_takes_no_sampling_and_its_version_is_a_date() {
    let unsupported = |version: Value| {
        let mut spec = testing::policy("support").spec;
        let endpoint = spec.tiers[1].endpoint.as_mut().unwrap();
        endpoint.provider = weir_crds::Provider::Anthropic;
        endpoint.api_version = version.as_str().map(str::to_owned);
        let settings = settings(&spec)?;
        let endpoint = settings.tiers[1].endpoint().unwrap();
        Ok::<_, Vec<Problem>>(endpoint.unsupported.clone())
    };
    assert_eq!(unsupported(json!("2023-06-01")), Ok(vec![]));
    let sampling = ["temperature", "top_p", "top_k"].map(str::to_owned);
    for newer in [json!("2026-10-21"), Value::Null] {
        assert_eq!(unsupported(newer), Ok(sampling.to_vec()));
    }
    let problems = unsupported(json!("newest")).unwrap_err();
    assert_eq!(problems[0].field, "spec.tiers[1].endpoint.apiVersion");
}

#[test]
fn endpoints_and_deployments_stand_in_any_order_and_each_but_the_last_is_judged() {
    let mut spec = testing::policy("support").spec;
    spec.tiers.swap(0, 1);
    spec.tiers[0].accept = spec.tiers[1].accept.take();
    let settings = settings(&spec).unwrap();
    assert!(settings.tiers[0].endpoint().is_some());
    let threshold = settings.tiers[0].accept().unwrap().threshold;
    assert_eq!(threshold, Some(0.9));
    assert!(settings.tiers[1].accept().is_none());
}

#[test]
fn more_tiers_than_a_cluster_would_take_are_refused_on_a_laptop_too() {
    let mut spec = testing::policy("support").spec;
    let middle = spec.tiers[0].clone();
    for number in 2..8 {
        let mut tier = middle.clone();
        tier.name = format!("small-{number}");
        spec.tiers.insert(1, tier);
    }
    assert_eq!(validate(&spec), []);
    let mut ninth = middle;
    ninth.name = "ninth".into();
    spec.tiers.insert(1, ninth);
    assert_eq!(validate(&spec)[0].field, "spec.tiers");
}

/// Prints what the documentation lists; fails where a path of the table is not in the schema.
#[test]
fn the_honoured_fields_are_fields_of_the_schema() {
    let crds = crds();
    let crd = crds
        .iter()
        .find(|crd| crd.spec.names.kind == "RoutePolicy")
        .unwrap();
    let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
    let spec = &schema["openAPIV3Schema"]["properties"]["spec"];
    for field in HONOURED.paths() {
        let mut node = spec;
        for part in field.split('.').skip(1) {
            let (name, is_list) = match part.strip_suffix("[]") {
                Some(name) => (name, true),
                None => (part, false),
            };
            node = &node["properties"][name];
            node = if is_list { &node["items"] } else { node };
        }
        assert!(node.is_object(), "{field} is not in the schema");
    }
    for field in HONOURED.missing(spec) {
        println!("not implemented yet: {field}");
    }
}

#[test]
fn an_endpoint_of_a_policy_with_a_budget_has_a_price() {
    let mut spec = with("/budget", json!([{ "period": "Month", "limit": "500.00" }]));
    assert_eq!(validate(&spec), []);
    let settings = settings(&spec).unwrap();
    assert_eq!(settings.budgets[0].limit.to_string(), "500.00");
    spec.tiers[1].endpoint.as_mut().unwrap().price = None;
    let problems = validate(&spec);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].field, "spec.tiers[1].endpoint.price");
    spec.budget.clear();
    assert_eq!(validate(&spec), []);
}

#[test]
fn an_endpoint_of_a_policy_with_a_budget_takes_a_bound_of_its_answers() {
    let fault = |provider: &str, unsupported: Value| {
        let mut spec = with("/budget", json!([{ "period": "Month", "limit": "500.00" }]));
        let endpoint = spec.tiers[1].endpoint.as_mut().unwrap();
        endpoint.provider = serde_json::from_value(json!(provider)).unwrap();
        endpoint.base_url = Some("https://frontier.example.com/v1".into());
        endpoint.unsupported = serde_json::from_value(unsupported).unwrap();
        let fields = validate(&spec).into_iter().map(|problem| problem.field);
        let fields: Vec<String> = fields.collect();
        spec.budget.clear();
        assert_eq!(validate(&spec), []);
        fields
    };
    let both = json!(["max_completion_tokens", "max_tokens"]);
    let field = ["spec.tiers[1].endpoint.unsupported"];
    for (provider, unsupported, expected) in [
        ("OpenAI", both.clone(), &field[..]),
        ("OpenAICompatible", both, &field),
        ("OpenAI", json!(["max_output_tokens"]), &field),
        ("Anthropic", json!(["max_tokens"]), &field),
        ("OpenAI", json!(["max_tokens"]), &[]),
        ("OpenAICompatible", json!(["max_tokens"]), &[]),
    ] {
        assert_eq!(fault(provider, unsupported), expected, "{provider}");
    }
}
