//! What the chart's schema takes and refuses, by Helm itself: a value that is mistyped is named, and installs nothing.

#![allow(clippy::unwrap_used, reason = "what surprises a test ends it")]

use std::process::Command;

use serde_json::{Value, json};
use weir_e2e::{HELM, repository};

/// What Helm makes of the chart with one value, or what it says instead.
fn made(name: &str, value: &Value) -> Result<String, String> {
    let mut helm = Command::new(HELM.built().unwrap().join("helm"));
    helm.args(["template", "weir", "--set-json"])
        .arg(format!("{name}={value}"))
        .arg(repository().join("charts/weir"));
    let output = helm.output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

fn takes(name: &str, value: &Value) {
    let made = made(name, value);
    assert!(made.is_ok(), "{name}={value}: {}", made.unwrap_err());
}

/// `at` is where the fault is, below `name`; `word` is what of it is told.
fn refuses(name: &str, value: &Value, (at, word): (&str, &str)) {
    let Err(said) = made(name, value) else {
        panic!("{name}={value} is taken");
    };
    let place = format!("at '/{}{at}'", name.replace('.', "/"));
    let mut lines = said.lines().filter(|line| line.contains(&place));
    let is_told = lines.any(|line| line.contains(word));
    assert!(is_told, "{name}={value} without {word} {place}: {said}");
}

/// Every list of peers, by name.
const PEERS: [&str; 3] = [
    "networkPolicies.clients",
    "networkPolicies.scrapers",
    "networkPolicies.dns",
];
const EGRESS: [&str; 3] = [
    "networkPolicies.egress.operator",
    "networkPolicies.egress.routers",
    "networkPolicies.egress.workers",
];

#[test]
fn peers_are_taken_as_a_network_policy_has_them() {
    let labels = json!({ "matchLabels": { "app.kubernetes.io/name": "shop", "empty": "" } });
    let expressions = json!({ "matchExpressions": [
        { "key": "team", "operator": "In", "values": ["a", "b"] },
        { "key": "team", "operator": "NotIn", "values": ["c"] },
        { "key": "example.com/paid", "operator": "Exists" },
        { "key": "gone", "operator": "DoesNotExist", "values": [] },
    ] });
    let peers = json!([
        { "podSelector": labels },
        { "namespaceSelector": expressions, "podSelector": {} },
        { "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"] } },
    ]);
    takes("networkPolicies.clients", &peers);
    let ports = json!([
        { "port": 5432 },
        { "protocol": "UDP", "port": "dns-udp" },
        { "protocol": "TCP", "port": 3000, "endPort": 3010 },
    ]);
    for name in EGRESS {
        takes(
            name,
            &json!([{ "to": peers, "ports": ports }, { "ports": ports }]),
        );
    }
}

#[test]
fn a_mistyped_peer_is_refused_by_its_name_and_opens_nothing() {
    let selectors = [
        (
            json!({ "matchLabel": { "app": "shop" } }),
            ("", "'matchLabel'"),
        ),
        (
            json!({ "matchLabels": { "app": 1 } }),
            ("/matchLabels/app", "number"),
        ),
        (
            json!({ "matchLabels": { "app": "a b" } }),
            ("/matchLabels/app", "'a b'"),
        ),
        (
            json!({ "matchLabels": { "-a": "b" } }),
            ("/matchLabels", "'-a'"),
        ),
        (
            json!({ "matchLabels": "app" }),
            ("/matchLabels", "want object"),
        ),
        (json!({ "app": "shop" }), ("", "'app'")),
        (json!("app=shop"), ("", "want object")),
    ];
    let expressions = [
        (json!({ "key": "a", "operator": "In" }), ("", "'values'")),
        (
            json!({ "key": "a", "operator": "NotIn", "values": [] }),
            ("/values", "minItems"),
        ),
        (
            json!({ "key": "a", "operator": "Exists", "values": ["b"] }),
            ("/values", "maxItems"),
        ),
        (
            json!({ "key": "a", "operator": "in", "values": ["b"] }),
            ("/operator", "'In'"),
        ),
        (
            json!({ "key": "a", "operator": "In", "value": ["b"] }),
            ("", "'value'"),
        ),
        (json!({ "operator": "Exists" }), ("", "'key'")),
        (json!({ "key": "a" }), ("", "'operator'")),
    ];
    let expressions = expressions.map(|(expression, (at, word))| {
        let at = format!("/matchExpressions/0{at}");
        (json!({ "matchExpressions": [expression] }), (at, word))
    });
    let selectors = selectors.map(|(selector, (at, word))| (selector, (at.to_owned(), word)));
    for (selector, (at, word)) in selectors.iter().chain(&expressions) {
        for of in ["podSelector", "namespaceSelector"] {
            let peer = json!([{ of: selector }]);
            refuses(
                "networkPolicies.clients",
                &peer,
                (&format!("/0/{of}{at}"), word),
            );
        }
    }
    let wrong = json!([{ "podSelector": { "matchLabel": {} } }]);
    for name in PEERS {
        refuses(name, &json!([{ "podSelectr": {} }]), ("/0", "'podSelectr'"));
        refuses(name, &json!([{}]), ("/0", "minProperties"));
        refuses(name, &wrong, ("/0/podSelector", "'matchLabel'"));
    }
    for name in EGRESS {
        refuses(
            name,
            &json!([{ "to": wrong }]),
            ("/0/to/0/podSelector", "'matchLabel'"),
        );
    }
}

#[test]
fn a_network_or_a_port_that_is_none_is_refused() {
    let clients = "networkPolicies.clients";
    let block = |block: Value| json!([{ "ipBlock": block }]);
    let of = |cidr: &str| block(json!({ "cidr": cidr }));
    refuses(clients, &of("10.0.0.0"), ("/0/ipBlock/cidr", "'10.0.0.0'"));
    refuses(clients, &block(json!({})), ("/0/ipBlock", "'cidr'"));
    let excepted = block(json!({ "cidr": "10.0.0.0/8", "excepts": [] }));
    refuses(clients, &excepted, ("/0/ipBlock", "'excepts'"));
    let both = json!([{ "ipBlock": { "cidr": "10.0.0.0/8" }, "podSelector": {} }]);
    refuses(clients, &both, ("/0", "maxProperties"));
    for (port, (at, word)) in [
        (json!({ "port": 0 }), ("/port", "minimum")),
        (json!({ "port": 65536 }), ("/port", "maximum")),
        (json!({ "port": "80" }), ("/port", "'80'")),
        (json!({ "port": "no_name" }), ("/port", "'no_name'")),
        (json!({ "ports": 80 }), ("", "'ports'")),
        (
            json!({ "protocol": "tcp", "port": 80 }),
            ("/protocol", "'TCP'"),
        ),
        (json!({ "endPort": 80 }), ("", "'port'")),
        (
            json!({ "port": "http", "endPort": 80 }),
            ("/port", "want integer"),
        ),
        (json!({}), ("", "minProperties")),
    ] {
        let rule = json!([{ "ports": [port] }]);
        refuses(EGRESS[1], &rule, (&format!("/0/ports/0{at}"), word));
    }
    // Either would be everywhere, and nothing in it says so.
    refuses(EGRESS[1], &json!([{}]), ("/0", "minProperties"));
    refuses(EGRESS[1], &json!([{ "to": [] }]), ("/0/to", "minItems"));
    refuses(
        EGRESS[1],
        &json!([{ "ports": [] }]),
        ("/0/ports", "minItems"),
    );
}

#[test]
fn addresses_are_taken_as_the_programs_read_them() {
    for address in [
        "",
        "http://proxy.egress.svc:3128",
        "https://10.1.1.1",
        "http://[fd00::1]:80/",
    ] {
        takes("router.egressProxy", &json!(address));
    }
    for address in [
        "proxy:3128",
        "http:proxy",
        "http://",
        "http://proxy:0",
        "http://proxy:65536",
        "http://300.1.1.1:80",
        "http://me:secret@proxy:3128",
        "http://proxy:3128/path",
        "socks5://proxy:1080",
        " http://proxy:3128",
    ] {
        refuses("router.egressProxy", &json!(address), ("", address));
    }
    takes(
        "otlpEndpoint",
        &json!("http://collector.observability.svc:4317"),
    );
    for address in [
        "https://collector:4317",
        "collector:4317",
        "http://a b",
        "http://a:99999",
    ] {
        refuses("otlpEndpoint", &json!(address), ("", address));
    }
}

#[test]
fn quantities_are_taken_as_the_programs_read_them() {
    let names = ["router.resources.cpu", "router.resources.memory"];
    for name in names {
        for quantity in [
            json!("100m"),
            json!("1.5"),
            json!("0.5Gi"),
            json!("010"),
            json!(2),
        ] {
            takes(name, &quantity);
        }
        for (quantity, word) in [
            (json!("1Gib"), "'1Gib'"),
            (json!("a lot"), "'a lot'"),
            (json!("-1"), "'-1'"),
            (json!("0"), "'0'"),
            (json!("0.0Gi"), "'0.0Gi'"),
            (json!("1 Gi"), "'1 Gi'"),
            (json!("1e3"), "'1e3'"),
            (json!(""), "''"),
            (json!(0), "minimum"),
            (json!(0.5), "got number"),
        ] {
            refuses(name, &quantity, ("", word));
        }
    }
    for name in ["cpu", "memory", "ephemeralStorage"] {
        let profile = json!({ "large": { name: "8 GiB" } });
        refuses("profiles", &profile, (&format!("/large/{name}"), "'8 GiB'"));
    }
    let of_operator = "operator.resources";
    refuses(of_operator, &json!({ "limit": {} }), ("", "'limit'"));
    refuses(
        of_operator,
        &json!({ "limits": { "memory": "lots" } }),
        ("/limits/memory", "'lots'"),
    );
    refuses(
        of_operator,
        &json!({ "requests": { "mem": "1Gi" } }),
        ("/requests", "'mem'"),
    );
}

#[test]
fn where_pods_run_and_what_they_are_called_is_taken_as_kubernetes_has_it() {
    let tolerations = json!([
        { "operator": "Exists" },
        { "key": "large", "operator": "Equal", "value": "yes", "effect": "NoSchedule" },
        { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30 },
    ]);
    takes("operator.tolerations", &tolerations);
    let selector = json!({ "pool": "large" });
    takes(
        "profiles",
        &json!({ "a": { "nodeSelector": selector, "tolerations": tolerations } }),
    );
    for (toleration, (at, word)) in [
        (json!({ "ky": "a", "operator": "Exists" }), ("", "'ky'")),
        (json!({ "value": "a" }), ("", "'key'")),
        (
            json!({ "key": "a", "operator": "exists" }),
            ("/operator", "'Exists'"),
        ),
        (
            json!({ "key": "a", "operator": "Exists", "value": "b" }),
            ("/value", "maxLength"),
        ),
        (
            json!({ "key": "a", "effect": "NoRun" }),
            ("/effect", "'NoSchedule'"),
        ),
        (json!({}), ("", "minProperties")),
    ] {
        let tolerations = json!([toleration]);
        refuses(
            "operator.tolerations",
            &tolerations,
            (&format!("/0{at}"), word),
        );
        let profile = json!({ "a": { "tolerations": tolerations } });
        refuses(
            "profiles",
            &profile,
            (&format!("/a/tolerations/0{at}"), word),
        );
    }
    for name in ["operator.nodeSelector", "operator.podLabels"] {
        refuses(name, &json!({ "a": "b c" }), ("/a", "'b c'"));
        refuses(name, &json!({ "a b": "c" }), ("", "'a b'"));
    }
    refuses(
        "operator.podAnnotations",
        &json!({ "a b": "c" }),
        ("", "'a b'"),
    );
    refuses(
        "images.pullSecrets",
        &json!(["No Name"]),
        ("/0", "'No Name'"),
    );
    refuses("router.image", &json!("a b"), ("", "'a b'"));
}

/// Every object that the schema describes, with the way to it.
fn objects<'a>(schema: &'a Value, way: &str, found: &mut Vec<(String, &'a Value)>) {
    match schema {
        Value::Object(fields) => {
            if schema["type"] == "object" || fields.contains_key("properties") {
                found.push((way.to_owned(), schema));
            }
            for (name, schema) in fields {
                objects(schema, &format!("{way}/{name}"), found);
            }
        }
        Value::Array(all) => {
            for (number, schema) in all.iter().enumerate() {
                objects(schema, &format!("{way}/{number}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn no_object_of_the_values_takes_a_name_that_is_not_described() {
    let schema = repository().join("charts/weir/values.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    let mut found = Vec::new();
    objects(&schema, "", &mut found);
    assert!(found.len() > 20, "{}", found.len());
    for (way, object) in found {
        // What Helm hands to every chart, and conditions on an object that is described around them.
        let is_another = way.ends_with("/global")
            || ["if", "then", "else"]
                .iter()
                .any(|word| way.ends_with(word))
            || way.ends_with("/properties");
        let is_closed =
            object["additionalProperties"] == false || object["additionalProperties"].is_object();
        assert!(is_another || is_closed, "{way} takes any name");
    }
    let said = made("network", &json!({ "enabled": false })).unwrap_err();
    assert!(said.contains("'network' not allowed"), "{said}");
}
