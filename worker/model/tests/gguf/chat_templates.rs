//! Templates of models that people serve, which come with llama.cpp's sources, write what
//! transformers makes them write.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use weir_model::{ChatTemplate, Conversation, Message, TemplateError};

use crate::vocabularies;

/// It calls `safe`, after which Python's engine escapes all else for HTML, quotes in JSON too. Nobody
/// can have wanted that.
const ESCAPED: &str = "meetkai-functionary-medium-v3.1";

/// Python itself fails over every one of the conversations: they want other variables.
const UNJUDGED: [&str; 2] = [
    "CohereForAI-c4ai-command-r-plus-tool_use",
    "fireworks-ai-llama-3-firefunction-v2",
];

#[derive(Deserialize)]
struct Golden {
    now: u64,
    names: Map<String, Value>,
    cases: Vec<Case>,
    rendered: BTreeMap<String, Vec<Rendered>>,
}

#[derive(Deserialize)]
struct Case {
    messages: Vec<Map<String, Value>>,
    #[serde(default)]
    tools: Vec<Value>,
    #[serde(default)]
    variables: Map<String, Value>,
    prompted: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rendered {
    Text(String),
    /// The first half of SHA-256 of the text.
    Digest(String),
    /// The template refuses the conversation, or fails over it: the kind of Python's exception.
    Error(String),
}

impl Rendered {
    fn is(&self, found: &Result<String, TemplateError>) -> bool {
        match (self, found) {
            (Self::Text(expected), Ok(found)) => found == expected,
            (Self::Digest(expected), Ok(found)) => digest(found) == *expected,
            (Self::Error(kind), found) if kind == "TemplateError" => {
                matches!(found, Err(TemplateError::Refused { .. }))
            }
            // What fails in Python for its types may work here.
            (Self::Error(_), _) => true,
            (_, Err(_)) => false,
        }
    }
}

fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Case {
    fn messages(&self) -> Vec<Message> {
        let text = |message: &Map<String, Value>, key: &str| {
            message.get(key).and_then(Value::as_str).map(str::to_owned)
        };
        let messages = self.messages.iter();
        messages
            .map(|message| Message {
                role: text(message, "role").unwrap(),
                content: text(message, "content").unwrap(),
                tool_call_id: text(message, "tool_call_id"),
                tool_calls: message
                    .get("tool_calls")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default(),
                reasoning: text(message, "reasoning_content"),
            })
            .collect()
    }
}

/// Writes a configuration that has nothing but the names that templates may use.
fn name_tokens(folder: &Path, names: &Map<String, Value>) {
    std::fs::write(folder.join("config.json"), "{}").unwrap();
    let config = Value::Object(names.clone()).to_string();
    std::fs::write(folder.join("tokenizer_config.json"), config).unwrap();
}

#[test]
fn templates_write_what_transformers_makes_them_write() {
    let Some(models) = vocabularies::folder() else {
        return;
    };
    let golden: Golden =
        serde_json::from_str(include_str!("../fixtures/chat-templates.json")).unwrap();
    let mut wrong = Vec::new();
    for (name, rendered) in golden.rendered.iter().filter(|(name, _)| *name != ESCAPED) {
        let written = rendered
            .iter()
            .filter(|row| !matches!(row, Rendered::Error(_)));
        assert_eq!(written.count() == 0, UNJUDGED.contains(&&**name), "{name}");
        let folder = tempfile::tempdir().unwrap();
        name_tokens(folder.path(), &golden.names);
        let source = models.join(format!("templates/{name}.jinja"));
        std::fs::copy(source, folder.path().join("chat_template.jinja")).unwrap();
        let template = match ChatTemplate::load(folder.path()) {
            Ok(template) => template.unwrap(),
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        for (number, (case, expected)) in golden.cases.iter().zip(rendered).enumerate() {
            let found = template.render(&Conversation {
                messages: case.messages(),
                tools: case.tools.clone(),
                variables: case.variables.clone(),
                add_generation_prompt: case.prompted.unwrap_or(true),
                now: UNIX_EPOCH + Duration::from_secs(golden.now),
            });
            if !expected.is(&found) {
                let message = match found {
                    Ok(text) => text.chars().take(2000).collect(),
                    Err(error) => error.to_string(),
                };
                wrong.push(format!(
                    "{name}, case {number}:\n  {message:?}\n  {expected:?}"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
