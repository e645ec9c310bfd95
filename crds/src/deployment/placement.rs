//! Where replicas run, what their pods carry, what they keep and what they cost.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvVar, LocalObjectReference, Toleration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{self, rules};

/// Where replicas run and what their pods carry. Part of the pod, so changing it makes a new
/// revision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Placement {
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::text_map")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that replicas tolerate. At most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Vec<Toleration>,
    /// What replicas are spread over, as evenly as can be: Zone, Node or None. Default Zone.
    pub topology_spread: TopologySpread,
    /// RuntimeClass of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,
    /// PriorityClass of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// ServiceAccount of the pods, for cloud identity. Absent: `weir-worker`, which has no rights.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Secrets with registry credentials. At most 8.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::image_pull_secrets")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Labels to add to the pods; our own win.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::text_map")]
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations to add to the pods; our own win.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::text_map")]
    pub pod_annotations: BTreeMap<String, String>,
    /// Environment variables to add to the worker's container; our own win. At most 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::env")]
    pub env: Vec<EnvVar>,
}

/// What replicas are spread over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TopologySpread {
    #[default]
    Zone,
    Node,
    None,
}

/// Where downloaded files are kept: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "has(self.persistentVolumeClaim) != has(self.hostPath)",
    "set exactly one of cache.persistentVolumeClaim and cache.hostPath",
)])))]
pub struct ModelCache {
    /// A claim of the namespace; ReadWriteMany where replicas share it across nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimRef>,
    /// A folder of each node, which group 65532 can write to. Needs a namespace whose Pod Security is
    /// privileged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPath>,
}

/// A PersistentVolumeClaim of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A folder of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostPath {
    /// Its absolute path.
    #[schemars(length(min = 2, max = 1024), extend("x-kubernetes-validations" = rules(&[(
        "self.startsWith('/') && !self.contains('..')",
        "must be an absolute path without dots, such as /var/cache/weir",
    )])))]
    pub path: String,
}

/// What a replica costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaPrice {
    /// US dollars for one replica for one hour.
    #[schemars(schema_with = "schema::money")]
    pub replica_hour: String,
}
