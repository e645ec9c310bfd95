//! How answers are streamed, tried again, kept and recorded.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    reference::SecretRef,
    schema::{self, rules},
};

/// How streams begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Streaming {
    /// How much of a tier's answer waits for the decision: Auto (by checkpoints), None (nothing: the
    /// first token commits), or a number of tokens. Default Auto.
    pub hold_back: HoldBack,
    /// When the headers of a stream go out even though nothing is committed, so that no load balancer
    /// cuts it. Default 10s.
    #[schemars(schema_with = "schema::duration")]
    pub headers_after: String,
}

impl Default for Streaming {
    fn default() -> Self {
        Self {
            hold_back: HoldBack::default(),
            headers_after: "10s".into(),
        }
    }
}

/// How much of a tier's answer waits for the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HoldBack {
    /// This many tokens; 0 is [`HoldBackMode::None`].
    Tokens(u32),
    /// Auto or None.
    Mode(HoldBackMode),
}

/// How much of a tier's answer waits, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldBackMode {
    #[default]
    Auto,
    /// Not `Off`: kubectl reads that, without quotes, as false.
    None,
}

impl Default for HoldBack {
    fn default() -> Self {
        HoldBack::Mode(HoldBackMode::Auto)
    }
}

impl JsonSchema for HoldBack {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HoldBack".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 8,
            "x-kubernetes-validations": rules(&[(
                "type(self) == string ? self in ['Auto', 'None'] : self >= 0 && self <= 100000",
                "must be Auto, None, or a number of tokens up to 100000",
            )]),
        })
    }
}

/// What is tried again on the same tier before anything was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Retries {
    /// Most tries beyond the first. 0 to 10. Default 2.
    #[schemars(range(min = 0, max = 10))]
    pub max: u32,
    /// What is tried again: Connect, Overloaded, WorkerLost. Default all.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub causes: Vec<RetryCause>,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            max: 2,
            causes: vec![
                RetryCause::Connect,
                RetryCause::Overloaded,
                RetryCause::WorkerLost,
            ],
        }
    }
}

/// A failure that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetryCause {
    Connect,
    Overloaded,
    WorkerLost,
}

/// What is given when every tier above the dropped answers failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnAllUnsure {
    #[default]
    Best,
    Error,
}

/// Whether a conversation stays where it was raised to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Sticky {
    #[default]
    None,
    Conversation,
}

/// Answers to give again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerCache {
    /// How long the answer to the very same ask of the same tenant is given again.
    #[schemars(schema_with = "schema::duration")]
    pub exact: String,
}

/// Where decision records go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Records {
    /// OTel (spans and log lines), or `s3://bucket/path` for JSON lines as well. Default OTel.
    #[schemars(length(min = 1, max = 1024), extend("x-kubernetes-validations" = rules(&[(
        "self == 'OTel' || self.matches('^s3://[^/ ]+(/[^ ]*)?$')",
        "must be OTel or an address that begins with s3://",
    )])))]
    pub to: String,
    /// Whether prompts and answers are kept, for replay and fine-tuning: Exclude or Include.
    /// Default Exclude.
    pub text: RecordText,
    /// Secret with the credentials for `to`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            to: "OTel".into(),
            text: RecordText::Exclude,
            credentials_secret_ref: None,
        }
    }
}

/// Whether prompts and answers are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecordText {
    #[default]
    Exclude,
    Include,
}
