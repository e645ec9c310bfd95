//! An object of ours as the cache has it: as text, since most of its life nobody looks at it, and a tree
//! of its fields takes some ten times as much memory.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject};
use kube::core::DynamicResourceScope;
use kube::{Resource, ResourceExt};
use serde::Deserialize;
use weir_crds::labels;

use super::Key;
use super::store::Kept;

/// All of an object but its managed fields.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "DynamicObject")]
pub struct Packed {
    /// What finds it again, and nothing else.
    metadata: ObjectMeta,
    deployment: Option<Box<str>>,
    text: Box<str>,
}

impl From<DynamicObject> for Packed {
    // Out of a list each is packed before the next is read: never is there a tree of a whole page.
    fn from(mut object: DynamicObject) -> Self {
        object.metadata.managed_fields = None;
        let text = serde_json::to_string(&object).expect("what was read as JSON is JSON");
        Self {
            deployment: object
                .labels()
                .get(labels::DEPLOYMENT)
                .map(|name| name.as_str().into()),
            metadata: ObjectMeta {
                namespace: object.metadata.namespace,
                name: object.metadata.name,
                resource_version: object.metadata.resource_version,
                ..ObjectMeta::default()
            },
            text: text.into(),
        }
    }
}

impl Packed {
    /// Whether it belongs to this deployment, or to none where there is no name.
    pub fn is_of(&self, deployment: Option<&str>) -> bool {
        self.deployment.as_deref() == deployment
    }

    pub fn unpack(&self) -> DynamicObject {
        serde_json::from_str(&self.text).expect("what was written as JSON is JSON")
    }
}

impl Kept for Packed {
    fn slim(&mut self) {}

    fn wakes(&self) -> Vec<Key> {
        let namespace = self.namespace().unwrap_or_default();
        vec![Key::of(namespace, self.deployment.as_deref())]
    }
}

impl Resource for Packed {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn group(kind: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(kind)
    }

    fn version(kind: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(kind)
    }

    fn kind(kind: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(kind)
    }

    fn plural(kind: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(labels: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "namespace": "support", "name": "triage-1", "resourceVersion": "7", "uid": "u",
                "labels": labels, "annotations": { "weir.dev/applied-hash": "h" },
            },
            "data": { "source": "file:///models/triage", "a/b": "\"\n" },
        })
    }

    fn packed(object: &Value) -> Packed {
        serde_json::from_value(object.clone()).unwrap()
    }

    #[test]
    fn what_is_unpacked_is_what_came_but_for_managed_fields() {
        let plain = object(json!({ "weir.dev/deployment": "triage" }));
        let mut managed = plain.clone();
        managed["metadata"]["managedFields"] = json!([{ "manager": "weir-operator" }]);
        for came in [&plain, &managed] {
            let packed = packed(came);
            assert_eq!(serde_json::to_value(packed.unpack()).unwrap(), plain);
            assert_eq!(packed.resource_version().as_deref(), Some("7"));
        }
    }

    #[test]
    fn an_object_wakes_its_deployment_or_what_its_namespace_shares() {
        let of_deployment = packed(&object(json!({ "weir.dev/deployment": "triage" })));
        assert!(of_deployment.is_of(Some("triage")) && !of_deployment.is_of(None));
        let deployment = Key::Deployment {
            namespace: "support".into(),
            name: "triage".into(),
        };
        assert_eq!(of_deployment.wakes(), [deployment]);
        let shared = packed(&object(json!({})));
        assert!(shared.is_of(None) && !shared.is_of(Some("triage")));
        assert_eq!(shared.wakes(), [Key::Namespace("support".into())]);
    }
}
