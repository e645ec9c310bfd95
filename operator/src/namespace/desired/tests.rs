//! What a namespace shares, as files under `tests/expected`.

use serde_json::json;

use super::*;
use crate::expected::check_wanted;
use crate::namespace::last_good;
use crate::object::Kind;
use weir_policy::table::compile;

fn observed(policies: serde_json::Value, deployments: serde_json::Value) -> Observed {
    Observed {
        namespace: "support".into(),
        policies: serde_json::from_value(policies).unwrap(),
        deployments: serde_json::from_value(deployments).unwrap(),
        last_good_version: Some("7".into()),
        budgets_version: Some("8".into()),
        ..Observed::default()
    }
}

fn objects(observed: &Observed, settings: &Settings) -> Vec<Wanted> {
    let table = compile(&observed.policies, &observed.deployments, &BTreeMap::new());
    let last_good = last_good::next(
        &BTreeMap::new(),
        &observed.policies,
        &observed.unreadable,
        &table,
    );
    desired(observed, &last_good, settings)
}

fn triage() -> serde_json::Value {
    json!([{
        "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
        "metadata": { "name": "triage", "namespace": "support", "uid": "d1" },
        "spec": { "model": { "source": "file:///models/triage" } },
    }])
}

fn settings() -> Settings {
    Settings {
        router_image: "registry.test/router:1".into(),
        cluster_cidrs: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        image_pull_secrets: vec!["registry".into()],
        pods_otlp_endpoint: Some("http://collector:4317".into()),
        router_log_level: Some("info,weir_router=debug".into()),
        egress_proxy: Some("http://proxy.egress.svc:3128".into()),
        ..Settings::default()
    }
}

#[test]
fn a_namespace_with_a_policy_and_a_deployment() {
    let policy = json!([{
        "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
        "metadata": { "name": "support", "namespace": "support", "uid": "p1", "generation": 3 },
        "spec": {
            "models": ["assistant"],
            "tiers": [
                { "name": "small", "deployment": { "name": "triage" } },
                { "name": "frontier", "endpoint": {
                    "provider": "OpenAI", "model": "big",
                    "apiKeySecretRef": { "name": "provider.keys", "key": "openai" },
                    "caBundle": { "configMapRef": { "name": "authorities", "key": "ca.pem" } },
                } },
            ],
            "auth": { "keysSecretRef": { "name": "clients" } },
            "maxDuration": "15m",
        },
    }]);
    check_wanted(
        "namespace-with-policy",
        &objects(&observed(policy, triage()), &settings()),
    );
}

#[test]
fn a_lone_deployment_has_routers_too() {
    let objects = objects(&observed(json!([]), triage()), &Settings::default());
    let names: Vec<String> = objects
        .iter()
        .map(|wanted| format!("{} {}", wanted.kind, wanted.name))
        .collect();
    assert_eq!(
        names,
        [
            "ServiceAccount weir-worker",
            "ServiceAccount weir-router",
            "Role weir-router",
            "RoleBinding weir-router",
            "ConfigMap weir-policies",
            "Service weir-router",
            "Deployment weir-router",
            "PodDisruptionBudget weir-router",
        ]
    );
}

#[test]
fn a_namespace_that_nobody_uses_has_nothing() {
    let observed = observed(json!([]), json!([]));
    assert_eq!(objects(&observed, &Settings::default()), []);
}

#[test]
fn what_is_kept_is_applied_onto_the_version_that_was_read_and_nothing_else_is() {
    let mut observed = observed(json!([]), triage());
    observed.budgets.unreadable = [("support".into(), "{".into())].into();
    let objects = objects(&observed, &Settings::default());
    let versions: Vec<_> = objects
        .iter()
        .filter_map(|wanted| Some((wanted.name.as_str(), wanted.onto_version.as_deref()?)))
        .collect();
    assert_eq!(versions, [("weir-policies", "7"), ("weir-budgets", "8")]);
}

#[test]
fn a_router_reads_the_deadline_that_its_environment_names() {
    for longest in ["1500ms", "90500ms", "15m"] {
        let policy = json!([{
            "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
            "metadata": { "name": "support", "namespace": "support", "uid": "p1", "generation": 3 },
            "spec": {
                "models": ["assistant"],
                "tiers": [{ "name": "small", "deployment": { "name": "triage" } }],
                "maxDuration": longest,
            },
        }]);
        let objects = objects(&observed(policy, triage()), &Settings::default());
        let environment = environment(&objects);
        let written = &environment["WEIR_SHUTDOWN_DEADLINE"];
        let read = weir_process::parse_duration(written);
        assert_eq!(read, Ok(weir_crds::value::duration(longest).unwrap()));
    }
}

#[test]
fn a_router_is_given_the_secret_of_the_store_for_records() {
    let policy = json!([{
        "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
        "metadata": { "name": "support", "namespace": "support", "uid": "p1", "generation": 3 },
        "spec": {
            "models": ["assistant"],
            "tiers": [{ "name": "small", "deployment": { "name": "triage" } }],
            "records": { "to": "s3://b/p", "credentialsSecretRef": { "name": "store" } },
        },
    }]);
    let objects = objects(&observed(policy, triage()), &Settings::default());
    let mut routers = objects
        .iter()
        .filter(|wanted| wanted.kind == Kind::Deployment);
    let pod = &routers.next().unwrap().body["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().unwrap().iter();
    let mut secrets = volumes.map(|volume| &volume["secret"]);
    assert!(secrets.any(|secret| *secret == json!({ "secretName": "store", "optional": true })));
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let mut paths = mounts.iter().map(|mount| &mount["mountPath"]);
    assert!(paths.any(|path| *path == "/etc/weir/secrets/store"));
}

/// What the routers of `objects` find in their environment.
fn environment(objects: &[Wanted]) -> BTreeMap<String, String> {
    let routers = objects
        .iter()
        .find(|wanted| wanted.kind == Kind::Deployment);
    let container = &routers.unwrap().body["spec"]["template"]["spec"]["containers"][0];
    let variables = container["env"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    variables
        .map(|variable| (text(&variable["name"]), text(&variable["value"])))
        .collect()
}
