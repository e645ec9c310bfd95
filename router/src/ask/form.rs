//! What form an answer must have.

use serde_json::Value;

/// The form of an answer's text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Form {
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    JsonSchema {
        name: String,
        schema: Value,
        strict: Option<bool>,
    },
    /// One of these.
    Choice(Vec<String>),
    Regex(String),
    /// In llguidance's dialect of Lark.
    Grammar(String),
}

impl Form {
    pub fn is_json(&self) -> bool {
        matches!(self, Form::JsonObject | Form::JsonSchema { .. })
    }
}
