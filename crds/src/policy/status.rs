//! What is known about a policy; written by the operator only.
//!
//! Money and fractions are decimal text. Texts for the printer columns are made here, because
//! columns cannot compute.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{reference::Urls, schema};

/// What is known about a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RoutePolicyStatus {
    /// The generation that all of this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Certified, WithinBudget, CredentialsReady; Reconciling and Stalled only while they are
    /// true.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Where clients inside the cluster reach the models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urls: Option<Urls>,
    /// The tiers, in the order of the spec.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<TierStatus>,
    /// What has been learnt about the threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationStatus>,
    /// What was spent this month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend: Option<SpendStatus>,
}

/// What is known about one tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TierStatus {
    /// Its name in the spec.
    pub name: String,
    /// Whether it answers.
    pub ready: bool,
    /// Share of the asks that it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
    /// The same for the column: `83%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_text: Option<String>,
    /// Attempts on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u64>,
    /// Median time of an attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<String>,
    /// 95th percentile of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<String>,
    /// US dollars for a thousand attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_per_thousand: Option<String>,
    /// How well its score tells asks that need a bigger model from the others; 0.5 is a coin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auroc: Option<String>,
}

/// What has been learnt about the threshold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CalibrationStatus {
    /// Counts the spans of time that a certificate can hold for.
    pub epoch: u32,
    /// The threshold that is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<String>,
    /// Highest regret that the evidence allows at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regret_bound: Option<String>,
    /// Weights of the score.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<String>,
    /// Labelled shadows in this epoch.
    pub samples: u64,
    /// Collecting, Certified, Drifted, Useless or Unreachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<CalibrationState>,
    /// Samples at which the next step is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<u64>,
}

/// Where a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CalibrationState {
    Collecting,
    Certified,
    Drifted,
    Useless,
    Unreachable,
}

/// What was spent in a month, in US dollars.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SpendStatus {
    /// The month: `2026-11`.
    pub month: String,
    /// For endpoints.
    pub frontier: String,
    /// For our own replicas, where they have a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<String>,
    /// What the last tier would have cost for everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_weir: Option<String>,
    /// The share saved, for the column: `83%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_text: Option<String>,
}
