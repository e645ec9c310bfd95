//! A table of refusals against a real API server: a valid object, a change that spoils it, and what
//! the API server says.

use kube::{
    api::{Api, DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;
use weir_e2e::ApiServer;

/// One way to spoil a valid object.
pub struct Refusal {
    pub name: &'static str,
    /// A JSON merge patch, in YAML.
    pub patch: &'static str,
    /// What the API server's message must hold.
    pub message: &'static str,
}

/// Spoils `valid` in every way of `table` and gathers what does not come out as the table says.
pub async fn surprises(valid: &str, table: &[Refusal]) -> Vec<String> {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("refusal").await;
    let valid = yaml(valid);
    let kind = valid["kind"].as_str().unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("weir.dev", "v1alpha1", kind));
    let api: Api<DynamicObject> =
        Api::namespaced_with(server.client().await, &namespace, &resource);
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let unspoilt: DynamicObject = serde_json::from_value(valid.clone()).unwrap();
    if let Err(error) = api.create(&dry_run, &unspoilt).await {
        return vec![format!("the valid object is refused: {error}")];
    }
    let mut surprises = Vec::new();
    for row in table {
        let mut spoilt = valid.clone();
        merge(&mut spoilt, &yaml(row.patch));
        let spoilt: DynamicObject = serde_json::from_value(spoilt).unwrap();
        match api.create(&dry_run, &spoilt).await {
            Ok(_) => surprises.push(format!("{} is accepted", row.name)),
            Err(kube::Error::Api(status)) if status.message.contains(row.message) => {}
            Err(error) => surprises.push(format!("{} is refused otherwise: {error}", row.name)),
        }
    }
    surprises
}

/// The messages of rules of `kind` that no row of `table` expects.
pub fn untried_messages(kind: &str, table: &[Refusal]) -> Vec<String> {
    let crd = weir_crds::crds()
        .into_iter()
        .find(|crd| crd.spec.names.kind == kind)
        .unwrap();
    let mut messages = Vec::new();
    collect_messages(&serde_json::to_value(&crd).unwrap(), &mut messages);
    messages.sort_unstable();
    messages.dedup();
    messages.retain(|message| !table.iter().any(|row| message.contains(row.message)));
    messages
}

fn collect_messages(schema: &Value, messages: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        messages.push(rule["message"].as_str().unwrap().to_owned());
    }
    match schema {
        Value::Object(fields) => fields
            .values()
            .for_each(|field| collect_messages(field, messages)),
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect_messages(item, messages)),
        _ => {}
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// RFC 7396: fields are set, and a null takes one out.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    for (name, change) in changes {
        match change {
            Value::Null => {
                target.as_object_mut().unwrap().remove(name);
            }
            change => merge(&mut target[name], change),
        }
    }
}
