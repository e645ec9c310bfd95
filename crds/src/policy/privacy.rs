//! What may leave the cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What may leave the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Privacy {
    /// Whether anything may: Allow or Deny. Default Allow.
    pub egress: Egress,
    /// Asks of which nothing may, whatever `egress` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny_when: Option<DenyWhen>,
    /// What is taken out of the text before it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redact: Option<Redact>,
}

/// Whether anything may leave the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Egress {
    #[default]
    Allow,
    Deny,
}

/// Asks of which nothing may leave the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DenyWhen {
    /// Those that carry a header, such as a data class.
    pub header: HeaderValues,
}

/// A header with any of some values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderValues {
    /// Its name; upper and lower case are the same.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// The values that match. 1 to 16.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 512)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub values: Vec<String>,
}

/// What is taken out of the text before it leaves the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Redact {
    /// Email, Phone, CreditCard, IpAddress.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub kinds: Vec<RedactKind>,
    /// Regular expressions (RE2 syntax) whose matches are taken out. At most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::patterns")]
    pub patterns: Vec<String>,
}

/// A kind of text that is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RedactKind {
    Email,
    Phone,
    CreditCard,
    IpAddress,
}
