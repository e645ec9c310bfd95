//! How the replicas of a deployment compute.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::rules;

/// How replicas compute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "self.protocol != 'OpenAI' || has(self.image)",
        "protocol: OpenAI is for a server of your own: set engine.image, or take engine.protocol out",
    ),
    (
        "!has(self.image) || self.protocol == 'OpenAI'",
        "engine.image is for a server that speaks OpenAI: set engine.protocol to OpenAI, or take engine.image out",
    ),
    (
        "!has(self.args) || has(self.image)",
        "engine.args are arguments of engine.image: set that too, or take engine.args out",
    ),
])))]
pub struct Engine {
    /// Upper bound on the sequences that a replica computes at once. Absent: measured. 1 to 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_sequences: Option<u32>,
    /// Whether prompts that begin alike share their computed beginning: Enabled or Disabled.
    /// Default Enabled.
    pub prefix_cache: PrefixCache,
    /// Type of the stored keys and values: Auto, F16, BF16, F32 or Fp8. Default Auto.
    pub key_value_type: KeyValueType,
    /// An image to run instead of our worker; needs `protocol: OpenAI`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// What replicas speak: Weir, or OpenAI with an image of your own. Default Weir.
    pub protocol: Protocol,
    /// Arguments of `image`, which may refer to `$(WEIR_MODEL)`, `$(WEIR_PORT)` and others:
    /// docs/engines.md. At most 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 1024)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub args: Vec<String>,
}

/// Whether prompts that begin alike share work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PrefixCache {
    #[default]
    Enabled,
    Disabled,
}

/// Type of the stored keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyValueType {
    #[default]
    Auto,
    F16,
    BF16,
    F32,
    Fp8,
}

/// What replicas speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    #[default]
    Weir,
    OpenAI,
}
