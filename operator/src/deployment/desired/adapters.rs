//! The list of a deployment's adapters, as its workers read it.
//!
//! It is no part of a revision: pods have it mounted whatever it says, and see that it changed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use weir_crds::labels;

use super::super::validate::Valid;

/// The entry of the ConfigMap, and the name of the file.
pub const LIST: &str = "adapters.json";

/// The name of the ConfigMap. It is none of a revision's, whose hash has no such letters.
pub fn name(deployment: &str) -> String {
    format!("{deployment}-adapters")
}

pub fn adapters(valid: &Valid<'_>) -> ConfigMap {
    let listed = valid.spec.adapters.iter();
    let listed = listed.map(|adapter| json!({ "name": adapter.name, "source": adapter.source }));
    let list = Value::Array(listed.collect());
    let of_worker = [
        (labels::MANAGED_BY, labels::MANAGER),
        (labels::COMPONENT, labels::WORKER),
        (labels::DEPLOYMENT, &valid.name),
    ];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name(&valid.name)),
            namespace: Some(valid.namespace.clone()),
            labels: Some(
                of_worker
                    .map(|(key, value)| (key.into(), value.into()))
                    .into(),
            ),
            owner_references: valid.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(LIST.to_owned(), list.to_string())])),
        ..ConfigMap::default()
    }
}
