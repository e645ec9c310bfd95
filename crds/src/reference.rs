//! References from both kinds to objects beside them in the namespace.
//!
//! A Secret is always under a field that ends in `SecretRef`, as `{ name, key }` where one entry
//! counts and as `{ name }` where all do. Weir never reads it through the API: it is mounted, and
//! so name and key become components of a path. [`is_object_name`] and [`is_entry_name`] are the
//! rules of the schema for whoever has no API server to keep them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Whether an object can have this name: a DNS subdomain.
pub fn is_object_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let is_plain = |byte: &u8| *byte == b'-' || is_inner(*byte);
        bytes.iter().all(is_plain)
            && bytes.first().is_some_and(|byte| is_inner(*byte))
            && bytes.last().is_some_and(|byte| is_inner(*byte))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Whether a Secret or a ConfigMap can have an entry of this name.
pub fn is_entry_name(key: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=253).contains(&key.len())
        && key.bytes().all(is_plain)
        && key != "."
        && !key.starts_with("..")
}

/// A Secret of which every entry counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// Name of a Secret in the same namespace.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// One entry of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyRef {
    /// Name of a Secret in the same namespace.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The entry of the Secret.
    #[schemars(schema_with = "schema::entry_name")]
    pub key: String,
}

/// One entry of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigMapKeyRef {
    /// Name of a ConfigMap in the same namespace.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The entry of the ConfigMap.
    #[schemars(schema_with = "schema::entry_name")]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_leave_its_folder_is_no_name() {
        for name in ["keys", "provider.keys", "a-1.b-2"] {
            assert!(is_object_name(name), "{name}");
        }
        let long = "a".repeat(254);
        for name in [
            "", ".", "..", "../keys", "a/b", "/etc", "a..b", "-a", "a-", "A", &long,
        ] {
            assert!(!is_object_name(name), "{name}");
        }
        for key in ["api-key", "API_KEY", ".dockerconfigjson", "tls.crt", "-"] {
            assert!(is_entry_name(key), "{key}");
        }
        for key in [
            "",
            ".",
            "..",
            "..data",
            "../token",
            "a/b",
            "/etc/passwd",
            "a b",
            &long,
        ] {
            assert!(!is_entry_name(key), "{key}");
        }
    }
}
