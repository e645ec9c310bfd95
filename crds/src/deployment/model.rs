//! The model of a deployment and what is loaded on top of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    reference::{CaBundle, ConfigMapKeyRef, SecretRef},
    schema::{self, rules},
};

/// The model to serve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "!has(self.sha256) || self.source.matches('[.](gguf|safetensors|tar|tar[.]gz|tgz|zip)$')",
        "sha256 is for a source that is one file by its suffix (.gguf, .safetensors, .tar, .tar.gz, .tgz, .zip): take model.sha256 out, or name the file in model.source",
    ),
    (
        "!self.source.endsWith('.gguf') || self.quantization == 'Auto'",
        "a .gguf file keeps its own quantization: take model.quantization out, or name another file",
    ),
])))]
pub struct Model {
    /// Where the files are: `hf://owner/repo` or `hf://owner/repo/file.gguf`, `s3://bucket/path`,
    /// `gs://bucket/path`, `az://container/path`, `https://host/file`, `oci://registry/image:tag`,
    /// `pvc://claim/path`, or `file:///path` in the worker's image or on a laptop.
    #[schemars(schema_with = "schema::source")]
    pub source: String,
    /// Branch, tag or commit of a repository. What it resolved to first is pinned for the revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub revision: Option<String>,
    /// SHA-256 of the file, in hex, for a source that is a single file by its suffix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules(&[(
        "self.matches('^[0-9a-f]{64}$')",
        "must be a SHA-256 in 64 lower-case hex digits",
    )])))]
    pub sha256: Option<String>,
    /// Precision of the weights in memory: Auto keeps the file's own, or takes 8 bit where only that
    /// fits or makes room for the context; None, Q8, Q4. A GGUF file keeps its own. Default Auto.
    #[serde(default)]
    pub quantization: Quantization,
    /// Longest prompt and answer together, in tokens. Absent: what the model can, bounded by memory.
    /// 16 to 1048576.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 1_048_576))]
    pub context_tokens: Option<u32>,
    /// A chat template to use instead of the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<ChatTemplate>,
    /// Secret whose entries are mounted for the download of model and adapters: `token`,
    /// `aws_access_key_id`, `aws_secret_access_key`, `region`, `endpoint` and others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
    /// Certificate authorities to trust when downloading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
}

/// Precision of the weights in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Quantization {
    #[default]
    Auto,
    None,
    Q8,
    Q4,
}

/// A chat template from outside the model's files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatTemplate {
    /// The ConfigMap entry that holds the Jinja template. Its content is part of the revision.
    pub config_map_ref: ConfigMapKeyRef,
}

/// A LoRA on top of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Adapter {
    /// Its name among the deployment's adapters: lower-case letters, digits and dashes, at most 63.
    #[schemars(schema_with = "schema::name")]
    pub name: String,
    /// Where its files are, with the deployment's credentials.
    #[schemars(schema_with = "schema::source")]
    pub source: String,
}
