//! Who may ask, how much, and who may choose the tier.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::SecretRef;

/// Who may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// The Secret with the keys: each entry is a tenant, its value `sha256:<hex>` or `plain:<key>`.
    pub keys_secret_ref: SecretRef,
}

/// How much may be asked; beyond it asks are refused with 429.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Asks in a minute, over all tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub asks_per_minute: Option<u32>,
    /// Tokens in a minute, prompts and answers, over all tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub tokens_per_minute: Option<u64>,
    /// The same for each tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_tenant: Option<TenantLimits>,
}

/// How much one tenant may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TenantLimits {
    /// Asks in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub asks_per_minute: Option<u32>,
    /// Tokens in a minute, prompts and answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub tokens_per_minute: Option<u64>,
}

/// Who may choose a tier by the header `x-weir-tier`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pin {
    /// Names of tenants. At most 64; empty: nobody.
    #[serde(default)]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub tenants: Vec<String>,
}
