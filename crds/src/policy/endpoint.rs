//! An API outside our workers, as a tier.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    reference::{CaBundle, SecretKeyRef},
    schema::{self, rules},
};

/// An OpenAI- or Anthropic-compatible API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "self.provider != 'OpenAICompatible' || has(self.baseUrl)",
        "provider: OpenAICompatible does not say where: set endpoint.baseUrl",
    ),
    (
        "!has(self.apiKeySecretRef) || !has(self.baseUrl) || !self.baseUrl.startsWith('http://') || self.location == 'Inside'",
        "plain http would show the API key on the way: use https in endpoint.baseUrl, or take apiKeySecretRef out",
    ),
    (
        "self.location != 'Inside' || (has(self.baseUrl) && self.baseUrl.matches('^https?://[a-z0-9]([-a-z0-9.]*[a-z0-9])?[.]svc([.][-a-z0-9.]+)?(:[0-9]{1,5})?(/.*)?$'))",
        "location: Inside needs the address of a Service: set endpoint.baseUrl to a host that ends in .svc or .svc.<cluster domain>, or take location out",
    ),
])))]
pub struct Endpoint {
    /// What it speaks: OpenAI, Anthropic, or OpenAICompatible with a `baseUrl`.
    pub provider: Provider,
    /// The model to ask it for.
    #[schemars(length(min = 1, max = 256))]
    pub model: String,
    /// Where it is. Required for OpenAICompatible; absent: the provider's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), extend("x-kubernetes-validations" = rules(&[
        (
            "self.matches('^https?://[^/ ][^ ]*$')",
            "endpoint.baseUrl must begin with https:// or http:// and have no blanks",
        ),
        // `ip(...)` is far over the cost budget. Other spellings of such an address pass here; the
        // router checks the address that it connects to, every time.
        (
            "!self.lowerAscii().matches('^https?://([^/@]*@)?(169[.]254[.]|[[]fe[89ab])')",
            "endpoint.baseUrl names a link-local address, where clouds keep credentials: use another host",
        ),
    ])))]
    pub base_url: Option<String>,
    /// Version of the API to ask for, such as `2026-10-21`. Absent: the newest that we know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub api_version: Option<String>,
    /// Request fields that it refuses, to leave out. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 64)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub unsupported: Vec<String>,
    /// Inside counts as in the cluster for privacy and needs a `.svc` host. Default Outside.
    #[serde(default)]
    pub location: Location,
    /// The Secret entry with its API key. A missing one disables only this tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// Headers to add to every request. At most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::text_map")]
    pub headers: BTreeMap<String, String>,
    /// Certificate authorities to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
    /// Longest answer in tokens where the client named none and the provider wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub default_output_tokens: Option<u32>,
    /// Longest answer in tokens that may be asked of it; more is lowered to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_output_tokens: Option<u32>,
    /// What it costs; without it its answers count as free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<EndpointPrice>,
    /// How long to wait for it.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// What an endpoint speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Provider {
    #[default]
    OpenAI,
    Anthropic,
    OpenAICompatible,
}

/// Whether an endpoint counts as in the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Location {
    #[default]
    Outside,
    Inside,
}

/// What an endpoint costs, in US dollars per million tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointPrice {
    /// Of the prompt.
    #[schemars(schema_with = "schema::money")]
    pub input_per_million: String,
    /// Of the answer.
    #[schemars(schema_with = "schema::money")]
    pub output_per_million: String,
    /// Of the prompt read from the provider's cache. Absent: as `inputPerMillion`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::money")]
    pub cache_read_per_million: Option<String>,
    /// Of the prompt written to the provider's cache. Absent: twice `inputPerMillion`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::money")]
    pub cache_write_per_million: Option<String>,
}

/// How long to wait for an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeouts {
    /// For a connection. Default 2s.
    #[schemars(schema_with = "schema::duration")]
    pub connect: String,
    /// For the first byte of an answer. Default 30s.
    #[schemars(schema_with = "schema::duration")]
    pub first_byte: String,
    /// For the next byte of an answer. Default 60s.
    #[schemars(schema_with = "schema::duration")]
    pub idle: String,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: "2s".into(),
            first_byte: "30s".into(),
            idle: "60s".into(),
        }
    }
}
