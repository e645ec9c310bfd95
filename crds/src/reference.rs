//! References from both kinds to objects beside them in the namespace.
//!
//! A Secret is always under a field that ends in `SecretRef`, as `{ name, key }` where one entry
//! counts and as `{ name }` where all do. Weir never reads it through the API: it is mounted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Secret of which every entry counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// Name of a Secret in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One entry of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyRef {
    /// Name of a Secret in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The entry of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// One entry of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigMapKeyRef {
    /// Name of a ConfigMap in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The entry of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Certificate authorities to trust besides the usual ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// The ConfigMap entry that holds the certificates, in PEM.
    pub config_map_ref: ConfigMapKeyRef,
}

/// The base URLs of a model, as the SDKs of both wires want them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Urls {
    /// Base URL for the OpenAI SDK; ends in `/v1`.
    pub openai: String,
    /// Base URL for the Anthropic SDK, which appends `/v1` itself.
    pub anthropic: String,
}
