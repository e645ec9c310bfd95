//! The CustomResourceDefinitions as they are published.
//!
//! What schemars and kube derive from the types is changed where the API server wants it otherwise:
//!
//! - Nothing is nullable. An explicit null is then dropped, or refused by name.
//! - A description is one line.
//! - Status has no defaults: it says what was seen. An object that nobody has looked at yet says so, or Flux and
//!   others would take it for one that is done.
//! - Formats that Kubernetes does not know (`uint32`) are left out.
//! - The rules on `metadata.name` are added at the root, where alone it can be seen.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::rules;
use crate::{RoutePolicy, SLMDeployment};

/// Both CustomResourceDefinitions, as the API server is to have them.
pub fn crds() -> [CustomResourceDefinition; 2] {
    [SLMDeployment::crd(), RoutePolicy::crd()].map(published)
}

/// A definition as it is committed: the file's name and its YAML.
pub fn manifests() -> [(String, String); 2] {
    crds().map(|crd| {
        let plural = &crd.spec.names.plural;
        let name = format!("{}_{plural}.yaml", crd.spec.group);
        let crd = serde_json::to_value(&crd).expect("a definition is JSON");
        let yaml = serde_saphyr::to_string(&crd).expect("a definition is YAML");
        (
            name,
            format!(
                "# Generated from the types in crds/src by `make generate`; do not edit.\n{yaml}"
            ),
        )
    })
}

fn published(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut crd = serde_json::to_value(crd).expect("a definition is JSON");
    let root = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    tidy(root);
    without_defaults(&mut root["properties"]["status"]);
    // No object has this generation.
    root["properties"]["status"]["default"] = json!({ "observedGeneration": -1 });
    root["required"] = json!(["spec"]);
    root["x-kubernetes-validations"] = name_rules();
    serde_json::from_value(crd).expect("what was tidied is still a definition")
}

/// Names become names of Services and, with a revision behind them, of Deployments.
fn name_rules() -> Value {
    rules(&[
        (
            "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 50",
            "metadata.name becomes the name of a Service: use at most 50 lower-case letters, digits and dashes, beginning with a letter and not ending with a dash",
        ),
        (
            "self.metadata.name != 'weir-router'",
            "metadata.name weir-router is taken by the router's own Service: choose another name",
        ),
    ])
}

fn tidy(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    schema.remove("nullable");
    if schema
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| format.starts_with("uint") || format == "double")
    {
        schema.remove("format");
    }
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    subschemas(schema).for_each(tidy);
}

fn without_defaults(schema: &mut Value) {
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("default");
        subschemas(schema).for_each(without_defaults);
    }
}

/// The schemas of an object's properties and entries, and of an array's items.
fn subschemas(schema: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    schema
        .iter_mut()
        .flat_map(|(key, value)| match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => properties.values_mut().collect(),
            ("items" | "additionalProperties", schema) => vec![schema],
            _ => Vec::new(),
        })
}

/// The fields of `object` (a whole object of one of our kinds) that its kind does not have, as
/// paths; what the API server would refuse under strict validation. Empty for other kinds.
pub fn unknown_fields(object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for crd in crds() {
        let version = &crd.spec.versions[0];
        let ours = object["kind"] == crd.spec.names.kind.as_str()
            && object["apiVersion"] == format!("{}/{}", crd.spec.group, version.name);
        if ours && let Some(validation) = &version.schema {
            let schema =
                serde_json::to_value(&validation.open_api_v3_schema).expect("a schema is JSON");
            for (name, value) in object.as_object().into_iter().flatten() {
                // The root's metadata is Kubernetes' own and has no schema here.
                match &schema["properties"][name] {
                    _ if ["apiVersion", "kind", "metadata"].contains(&name.as_str()) => {}
                    Value::Object(field) => {
                        collect_unknown(&Value::Object(field.clone()), value, name, &mut found);
                    }
                    _ => found.push(name.clone()),
                }
            }
        }
    }
    found
}

fn collect_unknown(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                let known = [&schema["properties"][name], &schema["additionalProperties"]]
                    .into_iter()
                    .find(|schema| schema.is_object());
                match known {
                    Some(schema) => collect_unknown(schema, value, &path, found),
                    None => found.push(path),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_unknown(&schema["items"], item, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}
