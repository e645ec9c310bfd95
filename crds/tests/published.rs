//! The committed YAML is what the types say, and holds what the schema promises everywhere.

#![allow(clippy::unwrap_used, reason = "what surprises a test ends it")]

use std::{fs, path::Path};

use serde_json::{Value, json};
use weir_crds::{RoutePolicy, SLMDeployment, crds, manifests, unknown_fields};

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Calls `look` with the path and the content of every schema in `schema`.
fn walk(schema: &Value, path: &str, look: &mut impl FnMut(&str, &Value)) {
    look(path, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        walk(field, &format!("{path}.{name}"), look);
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", ".*")] {
        if schema[key].is_object() {
            walk(&schema[key], &format!("{path}{suffix}"), look);
        }
    }
}

/// Every schema of both kinds, by path.
fn every_schema(mut look: impl FnMut(&str, &Value)) {
    for crd in crds() {
        let kind = crd.spec.names.kind.clone();
        let crd = serde_json::to_value(&crd).unwrap();
        let root = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        walk(root, &kind, &mut look);
    }
}

/// The paths of schemas that `is_wrong`.
fn wrong(is_wrong: impl Fn(&str, &Value) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    every_schema(|path, schema| {
        if is_wrong(path, schema) {
            found.push(path.to_owned());
        }
    });
    found
}

#[test]
fn the_committed_yaml_is_what_the_types_say() {
    for (name, yaml) in manifests() {
        let committed = fs::read_to_string(folder("yaml").join(&name)).unwrap_or_default();
        assert!(committed == yaml, "{name} is stale: run `make generate`");
    }
}

#[test]
fn a_definition_stays_under_60_kb() {
    for (name, yaml) in manifests() {
        assert!(yaml.len() < 60_000, "{name} has {} bytes", yaml.len());
    }
}

#[test]
fn nothing_is_nullable() {
    assert_eq!(wrong(|_, schema| !schema["nullable"].is_null()), [""; 0]);
}

#[test]
fn every_field_is_described_in_one_line() {
    let undescribed = wrong(|path, schema| {
        let described = schema["description"]
            .as_str()
            .is_some_and(|text| !text.is_empty() && !text.contains('\n'));
        let ours = [".spec", ".status"].iter().any(|part| path.contains(part));
        ours && !described && !path.ends_with("[]") && !path.ends_with(".*")
    });
    assert_eq!(undescribed, [""; 0]);
}

#[test]
fn everything_that_a_user_writes_is_bounded() {
    let unbounded = wrong(|path, schema| {
        let bound = match schema["type"].as_str() {
            Some("string") if schema["enum"].is_null() => &schema["maxLength"],
            Some("array") => &schema["maxItems"],
            Some("object") if schema["additionalProperties"].is_object() => {
                &schema["maxProperties"]
            }
            _ => return false,
        };
        path.contains(".spec") && bound.is_null()
    });
    assert_eq!(unbounded, [""; 0]);
}

#[test]
fn every_list_says_who_owns_its_items() {
    let unsaid = wrong(|path, schema| {
        path.contains(".spec")
            && schema["type"] == "array"
            && schema["x-kubernetes-list-type"].is_null()
    });
    assert_eq!(unsaid, [""; 0]);
}

#[test]
fn every_rule_says_what_to_change() {
    every_schema(|path, schema| {
        for rule in schema["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let message = rule["message"].as_str().unwrap_or_default();
            assert!(message.len() > 30, "{path}: {rule}");
        }
    });
}

#[test]
fn status_has_no_defaults_but_that_nobody_has_looked_yet() {
    let unseen = json!({ "observedGeneration": -1 });
    let defaulted = wrong(|path, schema| {
        let of_kind = path.split_once('.').map(|(_, field)| field);
        let expected = match of_kind == Some("status") {
            true => &unseen,
            false => &Value::Null,
        };
        path.contains(".status") && schema["default"] != *expected
    });
    assert_eq!(defaulted, [""; 0]);
}

#[test]
fn a_field_whose_presence_counts_has_no_default() {
    for field in [
        "SLMDeployment.spec.resources.count",
        "SLMDeployment.spec.cache",
        "SLMDeployment.spec.engine.image",
        "SLMDeployment.spec.engine.args",
        "SLMDeployment.spec.replicas",
        "RoutePolicy.spec.quality",
        "RoutePolicy.spec.tiers[].accept",
        "RoutePolicy.spec.tiers[].accept.threshold",
    ] {
        assert_eq!(
            wrong(|path, schema| path == field && schema["default"].is_null()),
            [field]
        );
    }
}

#[test]
fn an_example_keeps_every_field_through_the_types() {
    for entry in fs::read_dir(folder("examples")).unwrap() {
        let path = entry.unwrap().path();
        let example: Value = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(unknown_fields(&example), [""; 0], "{}", path.display());
        let typed = match example["kind"].as_str().unwrap() {
            "SLMDeployment" => serde_json::to_value(
                serde_json::from_value::<SLMDeployment>(example.clone()).unwrap(),
            ),
            _ => serde_json::to_value(
                serde_json::from_value::<RoutePolicy>(example.clone()).unwrap(),
            ),
        };
        assert!(
            holds(&typed.unwrap()["spec"], &example["spec"]),
            "{}",
            path.display()
        );
    }
}

/// Whether `whole` has everything that `part` has.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, part)| whole.get(name).is_some_and(|whole| holds(whole, part))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len()
                && whole
                    .iter()
                    .zip(part)
                    .all(|(whole, part)| holds(whole, part))
        }
        (whole, part) => whole == part,
    }
}

#[test]
fn the_example_of_every_field_has_every_field() {
    for (file, kind, exclusive) in [
        // Of each union one member, and what the others exclude.
        (
            "deployment-every-field.yaml",
            "SLMDeployment",
            &["cache.hostPath"][..],
        ),
        (
            "policy-every-field.yaml",
            "RoutePolicy",
            &["quality", "classifier.learned"],
        ),
    ] {
        let text = fs::read_to_string(folder("examples").join(file)).unwrap();
        let example: Value = serde_saphyr::from_str(&text).unwrap();
        let missing = wrong(|path, _| {
            let Some(field) = path.strip_prefix(&format!("{kind}.spec.")) else {
                return false;
            };
            let is_excluded = exclusive.iter().any(|prefix| field.starts_with(prefix));
            !is_excluded && !has(&example["spec"], field)
        });
        assert_eq!(missing, [""; 0], "{file}");
    }
}

/// Whether `value` has the field at `path`, in any item of the lists on the way.
fn has(value: &Value, path: &str) -> bool {
    let (first, rest) = match path.split_once(['.', '[']) {
        Some((first, rest)) => (first, rest),
        None => (path, ""),
    };
    match (first, value) {
        ("", _) => true,
        ("]", Value::Array(items)) => items
            .iter()
            .any(|item| has(item, rest.trim_start_matches('.'))),
        ("*", Value::Object(fields)) => !fields.is_empty(),
        (name, Value::Object(fields)) => fields.get(name).is_some_and(|field| has(field, rest)),
        _ => false,
    }
}

#[test]
fn a_field_that_the_kind_does_not_have_is_named() {
    let object = json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy", "metadata": {"name": "p"},
        "sepc": {},
        "spec": {
            "model": "m",
            "tiers": [{"name": "small", "endpoint": {"headers": {"any": "thing"}, "url": "x"}}],
        },
    });
    assert_eq!(
        unknown_fields(&object),
        ["sepc", "spec.model", "spec.tiers[0].endpoint.url"]
    );
    assert_eq!(
        unknown_fields(&json!({"kind": "Secret", "spec": {"a": 1}})),
        [""; 0]
    );
}
