//! Who gets a model name, and what is served when a spec is refused.

use k8s_time::created;
use serde_json::json;

use super::*;
use crate::testing::{deployment, policy};

mod k8s_time {
    use weir_crds::RoutePolicy;

    /// `policy`, created that many seconds after the epoch.
    pub fn created(mut policy: RoutePolicy, seconds: i64) -> RoutePolicy {
        let time = format!("1970-01-01T00:00:{seconds:02}Z");
        policy.metadata.creation_timestamp = serde_json::from_value(time.into()).unwrap();
        policy
    }
}

fn owner(table: &Table, model: &str) -> String {
    match &table.route(model).unwrap().owner {
        Owner::Policy(policy) => format!("policy {}", policy.name),
        Owner::Deployment(name) => format!("deployment {name}"),
    }
}

fn broken(mut policy: RoutePolicy) -> RoutePolicy {
    policy.spec.timeout = "soon".into();
    policy.metadata.generation = Some(2);
    policy
}

#[test]
fn a_policy_has_its_models_and_a_deployment_its_name() {
    let table = compile(
        [&policy("support")],
        [&deployment("triage")],
        &BTreeMap::new(),
    );
    assert_eq!(owner(&table, "support"), "policy support");
    assert_eq!(owner(&table, "triage"), "deployment triage");
    assert!(table.route("other").is_none());
    assert!(table.problems("support").is_empty());
}

#[test]
fn a_name_belongs_to_the_older_policy_and_the_other_is_told() {
    let mut young = created(policy("young"), 2);
    let old = created(policy("old"), 1);
    young.spec.models = vec!["mine".into(), "old".into()];
    let table = compile([&young, &old], [], &BTreeMap::new());
    assert_eq!(owner(&table, "old"), "policy old");
    assert!(
        table.route("mine").is_none(),
        "a policy is served whole or not at all"
    );
    let problem = &table.problems("young")[0];
    assert_eq!(problem.reason, reasons::MODEL_NAME_TAKEN);
    assert_eq!(
        problem.message,
        "spec.models[1]: \"old\" belongs already to the policy \"old\""
    );
}

#[test]
fn of_two_policies_of_the_same_age_the_lower_uid_keeps_the_name() {
    let (mut a, mut b) = (created(policy("a"), 1), created(policy("b"), 1));
    a.metadata.uid = Some("2".into());
    b.metadata.uid = Some("1".into());
    a.spec.models = vec!["same".into()];
    b.spec.models = vec!["same".into()];
    let table = compile([&a, &b], [], &BTreeMap::new());
    assert_eq!(owner(&table, "same"), "policy b");
}

#[test]
fn a_policy_may_claim_the_name_of_a_deployment() {
    let mut policy = policy("support");
    policy.spec.models = vec!["triage".into()];
    let table = compile([&policy], [&deployment("triage")], &BTreeMap::new());
    assert_eq!(owner(&table, "triage"), "policy support");
}

#[test]
fn a_refused_update_leaves_the_last_good_one_serving() {
    let good = policy("support");
    let last_good = LastGood {
        generation: 1,
        spec: good.spec.clone(),
    };
    let last_good = [("support".to_owned(), last_good)].into();
    let table = compile([&broken(good)], [], &last_good);
    assert_eq!(table.policy("support").unwrap().generation, 1);
    assert_eq!(table.problems("support")[0].field, "spec.timeout");
}

#[test]
fn a_refused_policy_without_a_last_good_one_is_not_served_and_disturbs_nobody() {
    let table = compile([&broken(policy("a")), &policy("b")], [], &BTreeMap::new());
    assert!(table.policy("a").is_none() && table.route("a").is_none());
    assert!(table.policy("b").is_some());
}

#[test]
fn a_deployment_asks_for_the_keys_of_the_policies_that_use_it() {
    let mut closed = policy("support");
    closed.spec.auth =
        serde_json::from_value(json!({ "keysSecretRef": { "name": "keys" } })).unwrap();
    let table = compile(
        [&closed, &policy("open")],
        [&deployment("triage")],
        &BTreeMap::new(),
    );
    let keys = &table.route("triage").unwrap().keys;
    assert_eq!(
        keys,
        &[Keys {
            policy: "support".into(),
            secret: "keys".into()
        }]
    );
    assert!(table.route("open").unwrap().keys.is_empty());
}

#[test]
fn a_deployment_asks_for_the_keys_of_a_refused_policy_as_well() {
    let keys = |name: &str| serde_json::from_value(json!({ "keysSecretRef": { "name": name } }));
    let mut closed = policy("support");
    closed.spec.auth = keys("keys").unwrap();
    let last_good = LastGood {
        generation: 1,
        spec: closed.spec.clone(),
    };
    let refused = broken(closed);
    let of = |secret: &str| Keys {
        policy: "support".into(),
        secret: secret.into(),
    };
    let asked_for = |refused: &RoutePolicy, last_good: &BTreeMap<String, LastGood>| {
        let table = compile([refused], [&deployment("triage")], last_good);
        table.route("triage").unwrap().keys.clone()
    };
    assert_eq!(asked_for(&refused, &BTreeMap::new()), [of("keys")]);
    let last_good = [("support".to_owned(), last_good)].into();
    assert_eq!(asked_for(&refused, &last_good), [of("keys")], "once");
    let mut moved = refused;
    moved.spec.auth = keys("others").unwrap();
    assert_eq!(asked_for(&moved, &last_good), [of("keys"), of("others")]);
}

#[test]
fn a_deployment_that_classifies_for_a_policy_asks_for_its_keys() {
    let mut closed = policy("support");
    closed.spec.auth =
        serde_json::from_value(json!({ "keysSecretRef": { "name": "keys" } })).unwrap();
    let label = |label: &str| json!({ "label": label, "start": "small" });
    let classifier =
        json!({ "deployment": { "name": "router" }, "labels": [label("a"), label("b")] });
    closed.spec.classifier = serde_json::from_value(classifier).unwrap();
    for policy in [closed.clone(), broken(closed)] {
        let table = compile([&policy], [&deployment("router")], &BTreeMap::new());
        assert_eq!(table.route("router").unwrap().keys.len(), 1);
    }
}

#[test]
fn a_deployment_that_is_not_there_is_named_and_the_policy_is_served() {
    let table = compile([&policy("support")], [], &BTreeMap::new());
    assert_eq!(table.missing_deployments("support"), ["triage"]);
    assert!(table.route("support").is_some());
}

#[test]
fn an_adapter_is_a_model_of_its_own_under_the_keys_of_its_deployment() {
    let mut adapted = deployment("triage");
    let listed = json!([{ "name": "tickets", "source": "s3://m/tickets" }]);
    adapted.spec.adapters = serde_json::from_value(listed).unwrap();
    let mut closed = policy("support");
    closed.spec.auth =
        serde_json::from_value(json!({ "keysSecretRef": { "name": "keys" } })).unwrap();
    let adapter = |policy: &mut RoutePolicy, name: &str| {
        let deployment = policy.spec.tiers[0].deployment.as_mut().unwrap();
        deployment.adapter = Some(name.to_owned());
    };
    adapter(&mut closed, "tickets");
    let table = compile([&closed], [&adapted], &BTreeMap::new());
    assert_eq!(owner(&table, "triage:tickets"), "deployment triage");
    assert!(table.route("triage:other").is_none());
    let route = table.route("triage:tickets").unwrap();
    assert_eq!(route.keys, table.route("triage").unwrap().keys);
    let tier = &route.settings.tiers[0];
    assert_eq!(
        (tier.deployment(), tier.adapter()),
        (Some("triage"), Some("tickets"))
    );
    let tier = &table.route("support").unwrap().settings.tiers[0];
    assert_eq!(
        (tier.deployment(), tier.adapter()),
        (Some("triage"), Some("tickets"))
    );
    assert!(table.missing_adapters("support").is_empty());
    adapter(&mut closed, "other");
    let table = compile([&closed], [&adapted], &BTreeMap::new());
    assert_eq!(table.missing_adapters("support"), ["triage:other"]);
}

#[test]
fn what_was_learnt_is_used_and_what_of_it_is_not_valid_refuses_nothing() {
    let learnt = |calibration: serde_json::Value| {
        let mut policy = policy("support");
        policy.spec.tiers[0].accept = None;
        let status = json!({ "calibration": calibration });
        policy.status = Some(serde_json::from_value(status).unwrap());
        compile([&policy], [], &BTreeMap::new())
    };
    let threshold = |table: &Table| {
        let settings = &table.policy("support").unwrap().settings;
        settings.tiers[0].accept().unwrap().threshold
    };
    let table = learnt(json!({ "threshold": "0.7" }));
    assert_eq!(threshold(&table), Some(0.7));
    assert!(table.miscalibrated("support").is_empty());
    let table = learnt(json!({ "threshold": "0.7", "weights": ["1"] }));
    assert_eq!(threshold(&table), None);
    assert!(table.problems("support").is_empty());
    assert!(table.miscalibrated("support")[0].contains("weights"));
}
