//! Where some asks go by what is known before anything is generated: rules and the classifier.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::privacy::HeaderValues;
use crate::schema::{self, rules};

/// Where some asks go; the first rule that matches wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Its name in decisions and metrics: lower-case letters, digits and dashes, at most 63.
    #[schemars(schema_with = "schema::name")]
    pub name: String,
    /// What an ask must have, all of it; empty matches every ask.
    #[serde(default)]
    pub when: When,
    /// Where it goes.
    pub then: Then,
}

/// What an ask must have for a rule to match: everything that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct When {
    /// Length of its prompt, in tokens of the first tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<TokenRange>,
    /// A header of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderValues>,
    /// An entry of the request's `metadata`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataValues>,
    /// Whether it brings tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// The form of answer that it asks for: Text, JsonObject or JsonSchema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat>,
    /// The language of its last message, as an ISO 639-1 code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 8))]
    pub language: Option<String>,
    /// The tenant whose key it carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tenant: Option<String>,
    /// The adapter that its model name asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub adapter: Option<String>,
}

/// A range of token counts, both ends excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRange {
    /// More than this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000_000))]
    pub over: Option<u32>,
    /// Fewer than this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub under: Option<u32>,
}

/// One entry of a request's `metadata`, with any of some values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetadataValues {
    /// Its key.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// The values that match. 1 to 16.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 512)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub values: Vec<String>,
}

/// The form of answer that an ask wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema,
}

/// Where an ask goes: exactly one of the four.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "[has(self.start), has(self.only), has(self.reject), has(self.split)].filter(set, set).size() == 1",
    "a rule does one thing: set exactly one of then.start, then.only, then.reject and then.split",
)])))]
pub struct Then {
    /// The tier to begin with; it may escalate from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub start: Option<String>,
    /// The one tier to use; its answer counts whatever its score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub only: Option<String>,
    /// Refuse the ask with 403.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject: Option<Reject>,
    /// Tiers to begin with by weight. 1 to 8, weights sum to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 8),
        extend("x-kubernetes-list-type" = "atomic"),
        extend("x-kubernetes-validations" = rules(&[(
            "self.map(part, part.weight).sum() == 100",
            "the weights of a split must sum to 100: change one of them",
        )]))
    )]
    pub split: Option<Vec<Split>>,
}

/// How an ask is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reject {
    /// What the client is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub message: Option<String>,
}

/// One share of a split.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Split {
    /// The tier to begin with.
    #[schemars(length(min = 1, max = 63))]
    pub tier: String,
    /// Per cent of the asks, 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub weight: u32,
}

/// Chooses the first tier of an ask: exactly one of learned and deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "has(self.learned) != has(self.deployment)",
        "a classifier is one thing: set exactly one of classifier.learned and classifier.deployment",
    ),
    (
        "has(self.deployment) == has(self.labels)",
        "classifier.deployment and classifier.labels belong together: set both or neither",
    ),
])))]
pub struct Classifier {
    /// Learn from the policy's own decisions when the small tier will not do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Learned>,
    /// A deployment that answers each prompt with one of `labels`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<LabelDeployment>,
    /// What each label of the deployment means. 1 to 32, only with `deployment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub labels: Option<Vec<Label>>,
}

/// A classifier that learns; it has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Learned {}

/// A deployment that classifies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LabelDeployment {
    /// Name of an SLMDeployment of the same namespace.
    #[schemars(length(min = 1, max = 50))]
    pub name: String,
}

/// What a label means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Label {
    /// The classifier's answer.
    #[schemars(length(min = 1, max = 128))]
    pub label: String,
    /// The tier to begin with.
    #[schemars(length(min = 1, max = 63))]
    pub start: String,
}
