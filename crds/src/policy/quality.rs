//! A declared quality, certified on the policy's own traffic.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{self, rules};

/// How good the first tier's answers must be: at most `maxRegret`, with `confidence`. Certifies one
/// pair, the first tier and the reference right behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "self.judge != 'Model' || has(self.judgeTier)",
        "judge: Model needs a judge: set quality.judgeTier to the name of a tier",
    ),
    (
        "self.until != 'Trust' || has(self.trustThreshold)",
        "until: Trust needs a threshold to begin with: set quality.trustThreshold",
    ),
    (
        "self.until == 'Trust' || !has(self.trustThreshold)",
        "trustThreshold counts only with until: Trust: set that, or take trustThreshold out",
    ),
])))]
pub struct Quality {
    /// Highest share of asks where the small answer is served, is wrong and the reference would have
    /// been right. Above 0 and below 1.
    #[schemars(schema_with = "schema::open_fraction")]
    pub max_regret: String,
    /// How sure the statement must be, from 0.5 to below 1. Default 0.95.
    #[serde(default = "confidence")]
    #[schemars(schema_with = "schema::confidence")]
    pub confidence: String,
    /// The tier that the small answer is compared with.
    #[schemars(length(min = 1, max = 63))]
    pub reference: String,
    /// How answers are compared: Auto, Exact, Json, Choice or Model. Default Auto.
    #[serde(default)]
    pub judge: Judge,
    /// The tier that compares, for `judge: Model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub judge_tier: Option<String>,
    /// How many asks are also sent to the reference, only to learn.
    #[serde(default)]
    pub shadow: Shadow,
    /// What holds while nothing is certified: Escalate accepts nothing unproven, Trust accepts from
    /// `trustThreshold` on, flagged. Default Escalate.
    #[serde(default)]
    pub until: Until,
    /// The threshold to begin with, for `until: Trust`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::fraction")]
    pub trust_threshold: Option<String>,
}

fn confidence() -> String {
    "0.95".into()
}

/// How two answers are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Judge {
    #[default]
    Auto,
    Exact,
    Json,
    Choice,
    Model,
}

/// What holds while nothing is certified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Until {
    #[default]
    Escalate,
    Trust,
}

/// How many asks are also sent to the reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Shadow {
    /// Share of the asks, above 0 and up to 1. Default 0.02.
    #[schemars(schema_with = "schema::positive_fraction")]
    pub rate: String,
    /// Most US dollars for it in a day, judging included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::money")]
    pub max_per_day: Option<String>,
}

impl Default for Shadow {
    fn default() -> Self {
        Self {
            rate: "0.02".into(),
            max_per_day: None,
        }
    }
}
