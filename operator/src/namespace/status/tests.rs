//! What a policy's status says, one story each.

use serde_json::json;

use super::*;
use weir_policy::last_good::LastGood;
use weir_policy::load::RouterLoad;
use weir_policy::table::compile;

mod health;

fn policy(generation: i64, timeout: &str) -> RoutePolicy {
    serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
        "metadata": { "name": "support", "namespace": "ns", "uid": "p", "generation": generation },
        "spec": {
            "models": ["assistant"], "timeout": timeout,
            "tiers": [
                { "name": "small", "deployment": { "name": "triage" } },
                { "name": "frontier", "endpoint": {
                    "provider": "OpenAI", "model": "big",
                    "apiKeySecretRef": { "name": "keys", "key": "openai" },
                } },
            ],
        },
    }))
    .unwrap()
}

#[test]
fn a_bundle_that_is_missing_is_told_from_a_secret() {
    let missing = MissingCredential {
        policy: "support".into(),
        tier: Some("frontier".into()),
        secret: "authorities".into(),
        key: Some("ca.pem".into()),
        is_config_map: true,
        is_for_records: false,
    };
    assert_eq!(
        super::told(&missing),
        "tier frontier is out: entry ca.pem of ConfigMap authorities is missing or holds no \
         certificate authorities"
    );
}

fn router(generation: i64, missing: bool) -> Option<RouterLoad> {
    Some(RouterLoad {
        policies: [("support".to_owned(), generation)].into(),
        missing_credentials: if missing {
            vec![MissingCredential {
                policy: "support".into(),
                tier: Some("frontier".into()),
                secret: "keys".into(),
                key: Some("openai".into()),
                is_config_map: false,
                is_for_records: false,
            }]
        } else {
            Vec::new()
        },
        ..RouterLoad::default()
    })
}

fn observed(
    policy: &RoutePolicy,
    ready_replicas: u32,
    routers: Vec<Option<RouterLoad>>,
) -> Observed {
    let triage = json!([{
        "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
        "metadata": { "name": "triage", "namespace": "ns", "uid": "d" },
        "spec": { "model": { "source": "file:///models/triage" } },
        "status": { "readyReplicas": ready_replicas },
    }]);
    Observed {
        namespace: "ns".into(),
        policies: vec![policy.clone()],
        deployments: serde_json::from_value(triage).unwrap(),
        routers,
        ..Observed::default()
    }
}

fn status_of(observed: &Observed) -> RoutePolicyStatus {
    let table = compile(
        &observed.policies,
        &observed.deployments,
        &observed.last_good,
    );
    status(
        &observed.policies[0],
        observed,
        &table,
        &Applied::default(),
        Timestamp::UNIX_EPOCH,
    )
}

fn told(observed: &Observed) -> Vec<String> {
    let status = status_of(observed);
    let conditions = status.conditions.iter();
    conditions
        .map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message))
        .collect()
}

#[test]
fn a_policy_that_every_router_follows_is_ready() {
    let observed = observed(
        &policy(2, "1m"),
        1,
        vec![router(2, false), router(2, false)],
    );
    assert_eq!(
        told(&observed),
        [
            "Ready=True Serving: every tier answers",
            "CredentialsReady=True CredentialsFound: every Secret and CA bundle that the policy names is there",
        ]
    );
}

#[test]
fn a_policy_that_a_router_has_not_taken_up_is_not_ready_yet() {
    let observed = observed(
        &policy(2, "1m"),
        1,
        vec![router(2, false), router(1, false)],
    );
    assert_eq!(
        told(&observed)[0],
        "Ready=False Progressing: 1 of 2 routers follow it"
    );
}

#[test]
fn a_router_that_has_not_reported_is_waited_for() {
    let observed = observed(&policy(2, "1m"), 1, vec![None]);
    assert_eq!(
        told(&observed),
        [
            "Ready=False Progressing: 0 of 1 routers follow it",
            "Reconciling=True Progressing: 0 of 1 routers follow it",
        ]
    );
}

#[test]
fn without_a_router_a_policy_is_not_ready() {
    let observed = observed(&policy(2, "1m"), 1, vec![]);
    assert_eq!(
        told(&observed)[0],
        "Ready=False RouterUnavailable: no router of the namespace is ready yet"
    );
}

#[test]
fn a_missing_secret_is_named_and_takes_out_only_its_tier() {
    let observed = observed(&policy(2, "1m"), 1, vec![router(2, true)]);
    assert_eq!(
        told(&observed),
        [
            "Ready=True Serving: tier frontier is out: entry openai of Secret keys is missing",
            "CredentialsReady=False CredentialsMissing: tier frontier is out: entry openai of Secret keys is missing",
        ]
    );
}

#[test]
fn a_missing_secret_for_records_takes_out_no_tier() {
    let mut router = router(2, true);
    let missing = &mut router.as_mut().unwrap().missing_credentials[0];
    (missing.tier, missing.is_for_records) = (None, true);
    let observed = observed(&policy(2, "1m"), 1, vec![router]);
    assert_eq!(
        told(&observed),
        [
            "Ready=True Serving: every tier answers",
            "CredentialsReady=False CredentialsMissing: records are not written: entry openai of Secret keys is missing",
        ]
    );
}

#[test]
fn a_policy_of_which_no_tier_answers_is_not_ready() {
    let observed = observed(&policy(2, "1m"), 0, vec![router(2, true)]);
    assert_eq!(
        told(&observed)[0],
        "Ready=False TierUnavailable: tier small: no replica of triage is ready; \
         tier frontier is out: entry openai of Secret keys is missing"
    );
}

/// Has the deployment gone to zero, as one does that nobody asks.
fn sleep(observed: &mut Observed) {
    let status = json!({ "conditions": [{
        "type": "Ready", "status": "True", "reason": "ScaledToZero", "message": "nobody asks",
        "lastTransitionTime": "2026-11-21T06:00:00Z",
    }] });
    observed.deployments[0].status = serde_json::from_value(status).unwrap();
}

#[test]
fn a_tier_that_sleeps_answers_as_the_next_ask_wakes_it() {
    let mut observed = observed(&policy(2, "1m"), 0, vec![router(2, false)]);
    observed.policies[0].spec.tiers.truncate(1);
    assert!(told(&observed)[0].starts_with("Ready=False TierUnavailable"));
    sleep(&mut observed);
    assert_eq!(told(&observed)[0], "Ready=True Serving: every tier answers");
    assert!(status_of(&observed).tiers[0].ready);
    // Nothing wakes one whose replicas somebody has set to none.
    observed.deployments[0].spec.replicas = Some(0);
    assert!(told(&observed)[0].starts_with("Ready=False TierUnavailable"));
}

#[test]
fn a_tier_whose_deployment_does_not_exist_is_named() {
    let mut observed = observed(&policy(2, "1m"), 1, vec![router(2, false)]);
    observed.deployments.clear();
    assert_eq!(
        told(&observed)[0],
        "Ready=True Serving: tier small: there is no SLMDeployment triage"
    );
}

#[test]
fn a_tier_whose_adapter_does_not_exist_or_is_nowhere_yet_is_named() {
    let mut policy = policy(2, "1m");
    policy.spec.tiers[0].deployment.as_mut().unwrap().adapter = Some("tickets".into());
    let mut observed = observed(&policy, 1, vec![router(2, false)]);
    let said = |observed: &Observed| told(observed)[0].clone();
    assert_eq!(
        said(&observed),
        "Ready=True Serving: tier small: SLMDeployment triage has no adapter tickets"
    );
    let adapters = json!([{ "name": "tickets", "source": "s3://m/tickets" }]);
    observed.deployments[0].spec.adapters = serde_json::from_value(adapters).unwrap();
    assert_eq!(
        said(&observed),
        "Ready=True Serving: tier small: no replica of triage has its adapter tickets"
    );
    // What was listed before answers until the new one is there.
    for (ready, outdated) in [(1, 0), (0, 1)] {
        let status = observed.deployments[0].status.as_mut().unwrap();
        let served = json!([{ "name": "tickets", "ready": ready, "outdated": outdated }]);
        status.adapters = serde_json::from_value(served).unwrap();
        assert_eq!(said(&observed), "Ready=True Serving: every tier answers");
    }
    policy.spec.tiers.truncate(1);
    observed.policies = vec![policy];
    observed.deployments[0].spec.adapters.clear();
    assert_eq!(
        said(&observed),
        "Ready=False AdapterNotFound: tier small: SLMDeployment triage has no adapter tickets"
    );
}

#[test]
fn a_classifier_that_cannot_classify_is_told() {
    let mut policy = policy(2, "1m");
    let labels = [("easy", "small"), ("hard", "frontier")];
    let labels = labels.map(|(label, start)| json!({ "label": label, "start": start }));
    let classifier = json!({ "deployment": { "name": "triage" }, "labels": labels });
    policy.spec.classifier = serde_json::from_value(classifier).unwrap();
    let mut observed = observed(&policy, 1, vec![router(2, false)]);
    assert_eq!(told(&observed)[0], "Ready=True Serving: every tier answers");
    let engine = json!({ "image": "a:1", "protocol": "OpenAI" });
    observed.deployments[0].spec.engine = serde_json::from_value(engine).unwrap();
    assert_eq!(
        told(&observed)[0],
        "Ready=True Serving: classifier: the server of SLMDeployment triage is another's, which cannot classify: \
         asks begin at the first tier"
    );
}

#[test]
fn an_invalid_update_says_what_goes_on_serving() {
    let mut observed = observed(&policy(3, "soon"), 1, vec![router(2, false)]);
    let good = LastGood {
        generation: 2,
        spec: policy(2, "1m").spec,
    };
    observed.last_good = [("support".to_owned(), good)].into();
    let told = told(&observed);
    assert!(
        told[0].starts_with("Ready=False Invalid: spec.timeout"),
        "{told:?}"
    );
    assert!(
        told[0].ends_with("generation 2 goes on serving"),
        "{told:?}"
    );
    assert!(told[2].starts_with("Stalled=True Invalid"), "{told:?}");
}

#[test]
fn a_policy_that_never_was_valid_says_that_nothing_is_served() {
    let observed = observed(&policy(1, "soon"), 1, vec![router(0, false)]);
    assert!(told(&observed)[0].ends_with("nothing is served under its model names"));
}

/// What the status says of reports, and again when nobody has reported to a new leader yet.
#[test]
fn what_routers_reported_holds_until_they_report_again() {
    for missing in [false, true] {
        for ready_replicas in [0, 1] {
            let mut seen = observed(&policy(2, "1m"), ready_replicas, vec![router(2, missing)]);
            let first = status_of(&seen);
            seen.policies[0].status = Some(first.clone());
            seen.routers = vec![None];
            assert_eq!(status_of(&seen), first, "{missing} {ready_replicas}");

            seen.policies[0].metadata.generation = Some(3);
            let next = told(&seen);
            assert_eq!(next[0], "Ready=False Progressing: 0 of 1 routers follow it");
        }
    }
}
