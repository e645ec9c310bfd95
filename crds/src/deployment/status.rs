//! What is known about a deployment; written by the operator only.
//!
//! Nothing lives here alone: what must survive a restore is in labels and ConfigMaps as well. Texts
//! for the printer columns are made here, because columns cannot compute.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{reference::Urls, schema};

/// What is known about a deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SLMDeploymentStatus {
    /// The generation that all of this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Available, ModelReady, CanaryHealthy, AutoscalingSuspended; Reconciling and Stalled
    /// only while they are true.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Replicas that exist.
    pub replicas: u32,
    /// Replicas that serve.
    pub ready_replicas: u32,
    /// Replicas that are wanted.
    pub desired_replicas: u32,
    /// Ready and wanted replicas, for the column: `2/2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas_text: Option<String>,
    /// Label selector of the replicas, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Where clients inside the cluster reach the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urls: Option<Urls>,
    /// The model as it was found in its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelStatus>,
    /// Which revisions serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// What a replica can do, measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<CapacityStatus>,
    /// What the last start of a replica took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cold_start: Option<ColdStartStatus>,
    /// The adapters and on how many replicas each is ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<AdapterStatus>,
    /// Why the replica count is what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingStatus>,
}

/// The model as it was found in its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelStatus {
    /// What `spec.model.revision` resolved to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// `sha256:<hex>` over all files that were read.
    pub digest: String,
    /// The model's family.
    pub architecture: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Bytes of the weights in memory.
    pub bytes: u64,
    /// Precision of the weights in memory.
    pub quantization: String,
    /// Longest prompt and answer together, in tokens.
    pub context_tokens: u32,
}

/// Which revisions serve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// The revision that serves.
    pub stable: String,
    /// The revision on trial; empty without one.
    pub canary: String,
    /// Per cent of the asks that the canary gets.
    pub weight: u32,
    /// The canary's step, from 0.
    pub step: u32,
    /// Since when this has been so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub since: Option<Time>,
}

/// What a replica can do, measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CapacityStatus {
    /// Asks at once.
    pub concurrency: u32,
    /// Tokens per second over all of them.
    pub tokens_per_second: u64,
    /// When it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub measured_at: Option<Time>,
}

/// What the last start of a replica took, as durations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ColdStartStatus {
    /// Pulling the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Downloading the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download: Option<String>,
    /// Reading it into memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<String>,
    /// The first computation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<String>,
    /// Waiting for the adapters, ten seconds at most; those that take longer come later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapters: Option<String>,
    /// From no pod to ready, for the column: `17.5s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_text: Option<String>,
}

/// One adapter on the replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AdapterStatus {
    /// Its name in the spec.
    pub name: String,
    /// `sha256:<hex>` over its files. Absent where none serves it, or not all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Replicas that serve it.
    pub ready: u32,
    /// Replicas that still serve what was listed under its name before.
    pub outdated: u32,
}

/// Why the replica count is what it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalingStatus {
    /// The last decisions, newest first; at most 5.
    pub decisions: Vec<ScalingDecision>,
}

/// One change of the replica count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalingDecision {
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub at: Option<Time>,
    /// Replicas before.
    pub from: u32,
    /// Replicas after.
    pub to: u32,
    /// The cause, in one word.
    pub reason: String,
    /// The cause, with its numbers.
    pub message: String,
}
