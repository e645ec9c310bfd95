//! What makes an ask another one.

use std::sync::Arc;

use serde_json::json;
use weir_crds::{RoutePolicy, SLMDeployment};

use super::*;
use crate::wire::Wire;

struct Made {
    spec: Value,
    stable: &'static str,
    status: Value,
    ready: &'static str,
    tenant: Option<&'static str>,
    body: Value,
    header: &'static str,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            spec: json!({}),
            stable: "11111111",
            status: json!([{ "name": "tickets", "digest": "sha256:1", "ready": 1, "outdated": 0 }]),
            ready: "11111111",
            tenant: Some("support/alice"),
            body: json!({}),
            header: "up",
        }
    }
}

/// Nothing where it is not known what answers.
fn made(made: Made) -> Option<Key> {
    let mut spec = json!({
        "models": ["m"],
        "tiers": [{ "name": "small", "deployment": { "name": "triage", "adapter": "tickets" } }],
    });
    for (field, value) in made.spec.as_object().unwrap() {
        spec[field] = value.clone();
    }
    let policy: RoutePolicy = serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
        "metadata": { "name": "support", "generation": 1 }, "spec": spec,
    }))
    .unwrap();
    let deployment: SLMDeployment = serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
        "metadata": { "name": "triage" },
        "spec": {
            "model": { "source": "file:///models/triage" },
            "adapters": [{ "name": "tickets", "source": "file:///models/tickets" }],
        },
        "status": { "rollout": { "stable": made.stable }, "adapters": made.status },
    }))
    .unwrap();
    let table = weir_policy::compile([&policy], [&deployment], &Default::default());
    let ready = match made.ready {
        "" => Default::default(),
        ready => [(ready.to_owned(), [([10, 0, 0, 1], 8000).into()].into())].into(),
    };
    let view = View {
        table: Arc::new(table),
        replicas: [("triage".to_owned(), ready)].into(),
        ..View::default()
    };
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    for (field, value) in made.body.as_object().unwrap() {
        body[field] = value.clone();
    }
    let ask = crate::decode::decode(Wire::Chat, body.to_string().as_bytes()).unwrap();
    let headers = [("x-way", made.header), ("x-other", made.header)];
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let headers: HeaderMap = headers.into_iter().collect();
    let policy = view.table.policy("support").unwrap();
    let models = Models::of(policy, &view)?;
    let deciding = ["x-way".to_owned()].into();
    Some(key(
        (policy, &models),
        made.tenant,
        (&ask, &headers),
        &deciding,
    ))
}

fn is_same(other: Made) -> bool {
    let usual = made(Made::default());
    assert!(usual.is_some());
    made(other) == usual
}

#[test]
fn how_an_answer_is_sent_and_how_fields_are_ordered_changes_nothing() {
    let body = json!({ "stream": true, "stream_options": { "include_usage": true } });
    assert!(is_same(Made {
        body,
        ..Made::default()
    }));
    let one = json!({ "temperature": 0, "seed": 1 });
    let other = json!({ "seed": 1, "temperature": 0 });
    let [one, other] = [one, other].map(|body| {
        made(Made {
            body,
            ..Made::default()
        })
    });
    assert_eq!(one, other);
}

#[test]
fn whatever_changes_an_answer_makes_another_ask() {
    for body in [
        json!({ "messages": [{ "role": "user", "content": "Hi" }] }),
        json!({ "temperature": 0 }),
        json!({ "max_tokens": 5 }),
        json!({ "n": 2 }),
        json!({ "stop": ["x"] }),
        json!({ "metadata": { "a": "b" } }),
        json!({ "user": "carol" }),
        json!({ "made_up": 1 }),
    ] {
        let other = Made {
            body: body.clone(),
            ..Made::default()
        };
        assert!(!is_same(other), "{body}");
    }
    assert!(!is_same(Made {
        header: "down",
        ..Made::default()
    }));
}

#[test]
fn no_tenant_gets_what_another_asked() {
    assert!(!is_same(Made {
        tenant: Some("support/bob"),
        ..Made::default()
    }));
    assert!(!is_same(Made {
        tenant: None,
        ..Made::default()
    }));
}

#[test]
fn another_policy_model_or_adapter_answers_anew() {
    assert!(!is_same(Made {
        spec: json!({ "timeout": "1m" }),
        ..Made::default()
    }));
    let rolled = Made {
        stable: "22222222",
        ready: "22222222",
        ..Made::default()
    };
    assert!(!is_same(rolled));
    let status = json!([{ "name": "tickets", "digest": "sha256:2", "ready": 1, "outdated": 0 }]);
    assert!(!is_same(Made {
        status,
        ..Made::default()
    }));
    assert!(
        is_same(Made {
            ready: "",
            ..Made::default()
        }),
        "scaled to zero it is the same"
    );
}

#[test]
fn while_an_adapter_is_changed_nothing_is_known_of_it() {
    let status = json!([{ "name": "tickets", "ready": 1, "outdated": 1 }]);
    assert_eq!(
        made(Made {
            status,
            ..Made::default()
        }),
        None
    );
}

#[test]
fn an_answer_of_another_revision_is_not_one_of_theirs() {
    let models = Models::with_revision("11111111");
    assert!(models.have("11111111") && models.have(""));
    assert!(!models.have("22222222"));
}
