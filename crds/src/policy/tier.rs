//! One step of a policy, and when its answer is good enough.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;
use crate::schema::{self, rules};

/// One step: exactly one of a deployment of the namespace and an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "has(self.deployment) != has(self.endpoint)",
    "a tier is one thing: set exactly one of deployment and endpoint",
)])))]
pub struct Tier {
    /// Its name within the policy: lower-case letters, digits and dashes, at most 63.
    #[schemars(schema_with = "schema::name")]
    pub name: String,
    /// A deployment of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<TierDeployment>,
    /// An OpenAI- or Anthropic-compatible API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// When an answer of this tier is good enough. Absent on a tier that is not the last: the
    /// built-in threshold of its task. The last tier's answer always is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<Accept>,
}

/// A deployment of the same namespace, as a tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TierDeployment {
    /// Name of the SLMDeployment.
    #[schemars(length(min = 1, max = 50))]
    pub name: String,
    /// One of its adapters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub adapter: Option<String>,
}

/// When an answer is good enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Accept {
    /// What kind of answer is asked for: Auto (from schema, tools and the length asked for), Choice,
    /// Json, Short, Text or Reasoning. Default Auto.
    pub task: Task,
    /// Lowest score that is accepted, from 0 to 1. Absent: the built-in one of the task, or what
    /// `quality` certifies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::fraction")]
    pub threshold: Option<String>,
    /// What escalates whatever the score is.
    pub escalate_on: EscalateOn,
}

/// The kind of answer asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Task {
    #[default]
    Auto,
    Choice,
    Json,
    Short,
    Text,
    Reasoning,
}

/// What escalates whatever the score is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EscalateOn {
    /// Regular expressions (RE2 syntax) that an answer must not match. At most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::patterns")]
    pub patterns: Vec<String>,
    /// Fewest tokens of an answer. Default 1. 0 to 100000.
    #[schemars(range(min = 0, max = 100_000))]
    pub min_tokens: u32,
    /// An answer that is not of the schema asked for. Default true.
    pub schema_failure: bool,
    /// A refusal to answer. Default true.
    pub refusal: bool,
}

impl Default for EscalateOn {
    fn default() -> Self {
        Self {
            patterns: Vec::new(),
            min_tokens: 1,
            schema_failure: true,
            refusal: true,
        }
    }
}
