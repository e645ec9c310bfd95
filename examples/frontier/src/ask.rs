//! What is asked, whichever wire it came on.

use serde_json::Value;

use crate::prompt::Prompt;

/// One request for an answer.
#[derive(Debug, Default)]
pub(crate) struct Ask {
    /// All that counts as input.
    pub(crate) prompt: Prompt,
    /// The last thing the user said.
    pub(crate) question: String,
    pub(crate) images: usize,
    pub(crate) documents: Vec<Document>,
    /// What tools gave, where that is the last thing said.
    pub(crate) result: Option<String>,
    /// Whether an answer that was paused comes back to be gone on with.
    pub(crate) goes_on: bool,
    pub(crate) tools: Vec<Tool>,
    pub(crate) parallel: bool,
    /// The schema of an answer that must be JSON.
    pub(crate) form: Option<Value>,
    pub(crate) stops: Vec<String>,
    /// Most tokens to answer with.
    pub(crate) max_tokens: Option<u64>,
    /// How many sentences are thought before the answer.
    pub(crate) thoughts: usize,
}

/// A document that the user sent; its text is empty where it cannot be read here.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) title: Option<String>,
    pub(crate) text: String,
    /// Whether an answer is to say where in it something stands.
    pub(crate) is_cited: bool,
}

/// A tool that may be called; those that the client excluded are not among an ask's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) kind: ToolKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ToolKind {
    /// Called with JSON that fits this schema.
    Function(Value),
    /// Called with text.
    Custom,
    /// Run by the provider itself.
    WebSearch,
}

/// Which tools the client wants called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Choice {
    Auto,
    None,
    /// One of these, by name.
    Among(Vec<String>),
}

impl Choice {
    /// The tools that are left to call. Errs with a name that is no tool's.
    pub(crate) fn among(&self, tools: Vec<Tool>) -> Result<Vec<Tool>, String> {
        match self {
            Self::Auto => Ok(tools),
            Self::None => Ok(Vec::new()),
            Self::Among(names) => names
                .iter()
                .map(|name| {
                    let named = tools.iter().find(|tool| tool.name == *name);
                    named.cloned().ok_or_else(|| name.clone())
                })
                .collect(),
        }
    }
}

/// How many sentences an effort is worth; none where the word is not one.
pub(crate) fn thoughts_of(effort: &str) -> Option<usize> {
    match effort {
        "none" | "minimal" => Some(0),
        "low" => Some(1),
        "medium" => Some(2),
        "high" => Some(4),
        "xhigh" | "max" => Some(8),
        _ => None,
    }
}
