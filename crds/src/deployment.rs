//! `SLMDeployment`: one small model, served by replicas.

mod engine;
mod model;
mod placement;
mod resources;
mod rollout;
mod scaling;
mod status;

pub use engine::{Engine, KeyValueType, PrefixCache, Protocol};
pub use model::{Adapter, ChatTemplate, Model, Quantization};
pub use placement::{ClaimRef, HostPath, ModelCache, Placement, ReplicaPrice, TopologySpread};
pub use resources::{Accelerator, Resources};
pub use rollout::{Guard, OnFailure, OnNoTraffic, Rollout, RolloutStep, Strategy};
pub use scaling::{Hold, Scaling};
pub use status::{
    AdapterStatus, CapacityStatus, ColdStartStatus, ModelStatus, RolloutStatus,
    SLMDeploymentStatus, ScalingDecision, ScalingStatus,
};

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{self, rules};

/// One small model and how to serve it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "weir.dev",
    version = "v1alpha1",
    kind = "SLMDeployment",
    plural = "slmdeployments",
    singular = "slmdeployment",
    shortname = "slm",
    category = "weir",
    namespaced,
    status = "SLMDeploymentStatus",
    derive = "PartialEq",
    doc = "One small language model, served by replicas. Reachable alone under its own name, or as a tier of a RoutePolicy.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name": "Replicas", "type": "string", "jsonPath": ".status.replicasText", "description": "Ready and wanted."}"#,
    printcolumn = r#"{"name": "Model", "type": "string", "jsonPath": ".spec.model.source"}"#,
    printcolumn = r#"{"name": "URL", "type": "string", "jsonPath": ".status.urls.openai"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Stable", "type": "string", "jsonPath": ".status.rollout.stable", "description": "The revision that serves.", "priority": 1}"#,
    printcolumn = r#"{"name": "Canary", "type": "string", "jsonPath": ".status.rollout.canary", "description": "The revision on trial.", "priority": 1}"#,
    printcolumn = r#"{"name": "Weight", "type": "integer", "jsonPath": ".status.rollout.weight", "description": "Per cent of the asks that the canary gets.", "priority": 1}"#,
    printcolumn = r#"{"name": "Tokens/s", "type": "integer", "jsonPath": ".status.capacity.tokensPerSecond", "description": "Measured per replica.", "priority": 1}"#,
    printcolumn = r#"{"name": "Cold start", "type": "string", "jsonPath": ".status.coldStart.totalText", "description": "From no pod to ready.", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "!has(self.resources.count) || self.resources.count <= 1 || has(self.engine.image)",
        "our worker runs on one accelerator: set resources.count to 1, or set engine.image",
    ),
    (
        "!self.model.source.startsWith('oci://') || !has(self.cache)",
        "an oci source is mounted as an image and downloads nothing: take spec.cache out",
    ),
])))]
pub struct SLMDeploymentSpec {
    /// The model to serve.
    pub model: Model,
    /// LoRA adapters on top of the model, each reachable as `<deployment>:<adapter>`. Hot: changing
    /// this list restarts no replica. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "atomic"),
        extend("x-kubernetes-validations" = rules(&[(
            "self.all(a, self.exists_one(b, a.name == b.name))",
            "adapter names must be unique: rename one of the two",
        )]))
    )]
    pub adapters: Vec<Adapter>,
    /// How replicas compute.
    #[serde(default)]
    pub engine: Engine,
    /// What one replica gets.
    #[serde(default)]
    pub resources: Resources,
    /// How many replicas there are, by demand.
    #[serde(default)]
    pub scaling: Scaling,
    /// A fixed number of replicas. Present, autoscaling is suspended and somebody else owns the
    /// count through the scale subresource (`kubectl scale` and HorizontalPodAutoscalers need it to
    /// be there first). 0 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<u32>,
    /// How a new revision takes over.
    #[serde(default)]
    pub rollout: Rollout,
    /// Where downloaded files are kept. Absent: an emptyDir, so that every new replica downloads
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<ModelCache>,
    /// Where replicas run and what their pods carry.
    #[serde(default)]
    pub placement: Placement,
    /// Longest that a leaving replica may go on with what it has begun. Part of the pod, so changing
    /// it makes a new revision. Default 2m.
    #[serde(default = "drain")]
    #[schemars(schema_with = "schema::duration")]
    pub drain: String,
    /// What a replica costs; without it a replica counts as free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<ReplicaPrice>,
}

fn drain() -> String {
    "2m".into()
}
