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
            "NetworkPolicy weir-router",
            "NetworkPolicy weir-worker",
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

/// A policy with these tiers besides a small one, and `besides`.
fn policy(tiers: serde_json::Value, besides: serde_json::Value) -> serde_json::Value {
    let mut all = vec![json!({ "name": "small", "deployment": { "name": "triage" } })];
    all.extend(tiers.as_array().unwrap().iter().cloned());
    let mut policy = json!([{
        "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
        "metadata": { "name": "support", "namespace": "support", "uid": "p1", "generation": 3 },
        "spec": { "models": ["assistant"], "tiers": all },
    }]);
    for (key, value) in besides.as_object().unwrap() {
        policy[0]["spec"][key] = value.clone();
    }
    policy
}

/// Whom the pods of the NetworkPolicy may reach besides names: peers, as text, and ports.
fn reached(objects: &[Wanted], name: &str) -> Vec<(String, Vec<i64>)> {
    let of_name = |wanted: &&Wanted| wanted.kind == Kind::NetworkPolicy && wanted.name == name;
    let network = objects.iter().find(of_name).unwrap();
    let rules = network.body["spec"]["egress"].as_array().unwrap();
    let ports = |rule: &serde_json::Value| {
        let ports = rule["ports"].as_array().cloned().unwrap_or_default();
        let numbers = ports.iter().map(|port| port["port"].as_i64().unwrap());
        numbers.collect::<Vec<_>>()
    };
    let rules = rules.iter().skip(1);
    rules
        .map(|rule| (rule["to"].to_string(), ports(rule)))
        .collect()
}

const WORKERS: &str = r#"[{"podSelector":{"matchLabels":{"app.kubernetes.io/managed-by":"weir","weir.dev/component":"worker"}}}]"#;
const ANYWHERE: &str = r#"[{"ipBlock":{"cidr":"0.0.0.0/0","except":["169.254.0.0/16","100.100.100.200/32","168.63.129.16/32","192.0.0.192/32"]}},{"ipBlock":{"cidr":"::/0","except":["fe80::/10","fd00:ec2::/32","fd20:ce::254/128","fd00:42::42/128"]}}]"#;

/// What every router reaches, with the API server at an address that is known.
fn every_router_and(more: &[(&str, &[i64])]) -> Vec<(String, Vec<i64>)> {
    let api_server = (r#"[{"ipBlock":{"cidr":"10.9.9.9/32"}}]"#, [6443].as_slice());
    [(WORKERS, [8000].as_slice()), api_server]
        .iter()
        .chain(more)
        .map(|(to, ports)| ((*to).to_owned(), ports.to_vec()))
        .collect()
}

fn at_an_address() -> Settings {
    Settings {
        network_policies: r#"{"apiServer":{"cidrs":["10.9.9.9/32"],"ports":[6443]}}"#
            .parse()
            .unwrap(),
        ..Settings::default()
    }
}

#[test]
fn routers_reach_outside_what_their_policies_name_there_and_without_it_nothing() {
    let own =
        r#"[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"support"}}}]"#;
    let other = own.replace("support", "models");
    let compatible = |url: &str| {
        json!([{ "name": "big", "endpoint": {
            "provider": "OpenAICompatible", "model": "big", "baseUrl": url,
        } }])
    };
    let openai = json!([{ "name": "big", "endpoint": { "provider": "OpenAI", "model": "big" } }]);
    let store = json!({ "records": {
        "to": "s3://b/p", "credentialsSecretRef": { "name": "store" },
    } });
    for (tiers, besides, expected) in [
        (json!([]), json!({}), vec![]),
        (
            compatible("http://a.models.svc/v1"),
            json!({}),
            vec![(other.as_str(), [].as_slice())],
        ),
        (
            compatible("http://a/v1"),
            json!({}),
            vec![(own, [].as_slice())],
        ),
        (openai, json!({}), vec![(ANYWHERE, [443].as_slice())]),
        (
            compatible("https://models.example.com:8443"),
            json!({}),
            vec![(ANYWHERE, [443, 8443].as_slice())],
        ),
        (json!([]), store, vec![(ANYWHERE, [443].as_slice())]),
    ] {
        let observed = observed(policy(tiers.clone(), besides), triage());
        let objects = objects(&observed, &at_an_address());
        let expected = every_router_and(&expected);
        assert_eq!(reached(&objects, "weir-router"), expected, "{tiers}");
    }
}

#[test]
fn with_a_proxy_routers_reach_it_and_not_what_lies_behind_it() {
    let settings = Settings {
        egress_proxy: Some("http://10.1.1.1:3128".into()),
        ..at_an_address()
    };
    let proxy = (r#"[{"ipBlock":{"cidr":"10.1.1.1/32"}}]"#, [3128].as_slice());
    let models = (
        r#"[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"models"}}}]"#,
        [].as_slice(),
    );
    for (mut endpoint, expected) in [
        (json!({ "provider": "OpenAI" }), proxy),
        (json!({ "baseUrl": "https://203.0.113.7/v1" }), proxy),
        (json!({ "baseUrl": "http://a.models.svc/v1" }), proxy),
        (
            json!({ "baseUrl": "http://a.models.svc/v1", "location": "Inside" }),
            models,
        ),
    ] {
        endpoint["model"] = "big".into();
        if endpoint["provider"].is_null() {
            endpoint["provider"] = "OpenAICompatible".into();
        }
        let tiers = json!([{ "name": "big", "endpoint": endpoint }]);
        let observed = observed(policy(tiers.clone(), json!({})), triage());
        let objects = objects(&observed, &settings);
        let expected = every_router_and(&[expected]);
        assert_eq!(reached(&objects, "weir-router"), expected, "{tiers}");
    }
}

#[test]
fn workers_reach_where_models_come_from_and_no_api_server_of_theirs() {
    let settings = Settings {
        network_policies: r#"{"sources":["10.2.0.0/16"],"metadata":true,
            "egress":{"workers":[{"to":[{"ipBlock":{"cidr":"10.3.0.0/16"}}]}]}}"#
            .parse()
            .unwrap(),
        ..Settings::default()
    };
    let objects = objects(&observed(json!([]), triage()), &settings);
    let metadata = [
        "169.254.0.0/16",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "fe80::/10",
        "fd00:ec2::/32",
        "fd20:ce::254/128",
        "fd00:42::42/128",
    ];
    let metadata = metadata.map(|range| format!(r#"{{"ipBlock":{{"cidr":"{range}"}}}}"#));
    let metadata = format!("[{}]", metadata.join(","));
    let expected = [
        (metadata.as_str(), [].as_slice()),
        (ANYWHERE, &[80, 443]),
        (r#"[{"ipBlock":{"cidr":"10.2.0.0/16"}}]"#, &[]),
        (r#"[{"ipBlock":{"cidr":"10.3.0.0/16"}}]"#, &[]),
    ];
    let expected = expected.map(|(to, ports)| (to.to_owned(), ports.to_vec()));
    assert_eq!(reached(&objects, "weir-worker"), expected);
}

#[test]
fn where_somebody_else_says_who_may_speak_to_whom_nothing_is_made() {
    let settings = Settings {
        network_policies: r#"{"enabled":false}"#.parse().unwrap(),
        ..Settings::default()
    };
    let objects = objects(&observed(json!([]), triage()), &settings);
    assert!(
        objects
            .iter()
            .all(|wanted| wanted.kind != Kind::NetworkPolicy)
    );
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
