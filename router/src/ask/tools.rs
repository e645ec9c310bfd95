//! The tools that a model may call.

use serde_json::{Value, json};

/// A function that the client runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// A JSON schema.
    pub parameters: Value,
    pub strict: Option<bool>,
}

/// What may be done with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    #[default]
    Auto,
    None,
    /// Some tool must be called.
    Required,
    /// This tool must be called.
    Named(String),
}

impl Tool {
    pub fn bytes(&self) -> usize {
        let description = self.description.as_ref().map_or(0, String::len);
        self.name.len() + description + self.parameters.to_string().len()
    }

    /// As OpenAI's chat wire and chat templates have it.
    pub fn as_chat(&self) -> Value {
        let mut function = json!({ "name": self.name, "parameters": self.parameters });
        if let Some(description) = &self.description {
            function["description"] = description.clone().into();
        }
        if let Some(strict) = self.strict {
            function["strict"] = strict.into();
        }
        json!({ "type": "function", "function": function })
    }
}
