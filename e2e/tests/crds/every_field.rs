//! A rule that many fields share (durations, amounts, names) holds at each of them: each is spoilt
//! in an example that has it, and the API server has to name that very field.

use std::{collections::BTreeMap, fs, path::Path};

use kube::{
    api::{Api, DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use weir_e2e::ApiServer;

/// The beginning of a shared rule's message, and a value that breaks it. A message that stands at
/// more than one field and is not here fails the test.
fn spoilers() -> Vec<(&'static str, Value)> {
    vec![
        ("must be a duration above zero", json!("0s")),
        ("must be a fraction from", json!("1.5")),
        ("must be a relative increase from", json!("20%")),
        ("must be a quantity above zero", json!("0")),
        ("must be an amount of US dollars", json!("five")),
        ("must be the name of an entry", json!("../key")),
        ("must be the name of an object", json!("../keys")),
        (
            "must be lower-case letters, digits and dashes",
            json!("A b"),
        ),
        ("must be a regular expression that compiles", json!("(")),
        ("unknown source scheme", json!("ftp://models/triage")),
        ("the source is not complete", json!("s3://")),
    ]
}

/// A rule's message, and where it stands: names and `[]` for "any entry".
type Rule = (String, Vec<String>);

#[tokio::test]
async fn a_rule_that_fields_share_holds_at_each_of_them() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("every-field").await;
    let client = server.client().await;
    let (mut surprises, mut tried) = (Vec::new(), 0);
    for crd in weir_crds::crds() {
        let kind = crd.spec.names.kind.clone();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("weir.dev", "v1alpha1", &kind));
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
        let examples = examples(&kind);
        for (message, place) in shared_rules(&serde_json::to_value(&crd).unwrap()) {
            tried += 1;
            let spoilers = spoilers();
            let Some((_, bad)) = spoilers
                .iter()
                .find(|(start, _)| message.starts_with(start))
            else {
                surprises.push(format!("no value is known that breaks {message:?}"));
                continue;
            };
            let spoilt = examples.iter().find_map(|example| {
                let mut spoilt = example.clone();
                let field = replace(&mut spoilt, &place, bad)?;
                Some((spoilt, field))
            });
            let Some((spoilt, field)) = spoilt else {
                surprises.push(format!("no example has {kind} {}", place.join(".")));
                continue;
            };
            if let Err(said) = is_refused(&api, spoilt, &field, &message).await {
                surprises.push(format!("{kind} {field} = {bad}: {said}"));
            }
        }
    }
    assert!(tried > 40, "the rules were not found: only {tried}");
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// Whether the API server refuses `spoilt` by naming `field` with `message`; else what it said.
async fn is_refused(
    api: &Api<DynamicObject>,
    spoilt: Value,
    field: &str,
    message: &str,
) -> Result<(), String> {
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let spoilt: DynamicObject = serde_json::from_value(spoilt).unwrap();
    let status = match api.create(&dry_run, &spoilt).await {
        Ok(_) => return Err("accepted".to_owned()),
        Err(kube::Error::Api(status)) => status,
        Err(error) => return Err(error.to_string()),
    };
    let causes = status
        .details
        .map(|details| details.causes)
        .unwrap_or_default();
    let is_named = causes
        .iter()
        .any(|cause| cause.field == field && cause.message.contains(message));
    is_named.then_some(()).ok_or(status.message)
}

/// Puts `value` where `place` says in the first entries that lead there, and gives the field's
/// name as the API server writes it. None where the object has no such field.
fn replace(object: &mut Value, place: &[String], value: &Value) -> Option<String> {
    let Some((step, rest)) = place.split_first() else {
        *object = value.clone();
        return Some(String::new());
    };
    if step == "[]" {
        let entries = object.as_array_mut()?.iter_mut().enumerate();
        let mut spoilt = entries.filter_map(|(index, entry)| {
            let inner = replace(entry, rest, value)?;
            Some(format!("[{index}]{}", joined(&inner)))
        });
        return spoilt.next();
    }
    let inner = replace(object.get_mut(step)?, rest, value)?;
    Some(format!("{step}{}", joined(&inner)))
}

/// A field's name as it follows another.
fn joined(inner: &str) -> String {
    match inner.is_empty() || inner.starts_with('[') {
        true => inner.to_owned(),
        false => format!(".{inner}"),
    }
}

/// The rules whose message stands at more than one field.
fn shared_rules(crd: &Value) -> Vec<Rule> {
    let mut rules = Vec::new();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    collect(schema, &mut Vec::new(), &mut rules);
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for (message, _) in &rules {
        *count.entry(message.clone()).or_default() += 1;
    }
    rules.retain(|(message, _)| count[message] > 1);
    rules
}

fn collect(schema: &Value, place: &mut Vec<String>, rules: &mut Vec<Rule>) {
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let message = rule["message"].as_str().unwrap().to_owned();
        rules.push((message, place.clone()));
    }
    let fields = schema["properties"].as_object().into_iter().flatten();
    let entries = schema.get("items").map(|items| ("[]", items));
    for (name, inner) in fields
        .map(|(name, inner)| (name.as_str(), inner))
        .chain(entries)
    {
        place.push(name.to_owned());
        collect(inner, place, rules);
        place.pop();
    }
}

fn examples(kind: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/examples");
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .map(|text| serde_saphyr::from_str::<Value>(&text).unwrap())
        .filter(|example| example["kind"] == kind)
        .collect()
}
