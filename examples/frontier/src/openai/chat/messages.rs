//! A chat's messages, held to the order that the provider holds them to.

use serde_json::{Map, Value};

use crate::ask::{Ask, Document};
use crate::fields;
use crate::openai::tools;
use crate::prompt::TOKENS_PER_IMAGE;
use crate::refusal::Refusal;

pub(super) fn read(body: &Map<String, Value>) -> Result<Ask, Refusal> {
    let messages = fields::list(body, "messages")?;
    if messages.is_empty() {
        return Err(Refusal::of(
            "messages",
            "must be a list of at least one message",
        ));
    }
    let mut ask = Ask::default();
    if let Some(tools) = tools::text(body) {
        ask.prompt.push(&tools, 0, "tools");
    }
    let mut reader = Reader {
        ask,
        calls: Vec::new(),
    };
    for (index, message) in messages.iter().enumerate() {
        reader.message(message, &format!("messages[{index}]"))?;
    }
    reader.unanswered("messages")?;
    Ok(reader.ask)
}

struct Reader {
    ask: Ask,
    /// Calls that no tool has answered yet.
    calls: Vec<String>,
}

impl Reader {
    fn message(&mut self, message: &Value, at: &str) -> Result<(), Refusal> {
        let role = message["role"].as_str().unwrap_or_default();
        let mut text = self.content(message, at)?;
        match role {
            "tool" => self.result(message, &text, at)?,
            "system" | "developer" | "user" | "assistant" => {
                self.unanswered(at)?;
                self.ask.result = None;
            }
            _ => {
                let wrong = format!("`{role}` is not a role");
                return Err(Refusal::of(format!("{at}.role"), &wrong));
            }
        }
        match role {
            "user" => self.ask.question.clone_from(&text),
            "assistant" => text.push_str(&self.calls_of(message, at)?),
            _ => {}
        }
        self.ask.prompt.push_message(role, &text);
        Ok(())
    }

    /// Takes a tool's result, which must be one that was called for.
    fn result(&mut self, message: &Value, text: &str, at: &str) -> Result<(), Refusal> {
        let id = message["tool_call_id"].as_str().unwrap_or_default();
        let Some(place) = self.calls.iter().position(|call| call == id) else {
            let wrong = "messages with role `tool` must answer a call of the assistant's before it";
            return Err(Refusal::of(format!("{at}.tool_call_id"), wrong));
        };
        self.calls.remove(place);
        let result = self.ask.result.get_or_insert_default();
        if !result.is_empty() {
            result.push_str(", ");
        }
        result.push_str(text);
        Ok(())
    }

    fn unanswered(&self, at: &str) -> Result<(), Refusal> {
        match self.calls.first() {
            None => Ok(()),
            Some(id) => Err(Refusal::of(
                at,
                &format!("the call `{id}` has no message of a tool"),
            )),
        }
    }

    /// Notes an assistant's calls, and gives what they are counted by.
    fn calls_of(&mut self, message: &Value, at: &str) -> Result<String, Refusal> {
        let mut text = String::new();
        let calls = message["tool_calls"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        for (index, call) in calls.iter().enumerate() {
            let at = format!("{at}.tool_calls[{index}]");
            let kind = call["type"].as_str().unwrap_or("function");
            let input = match kind {
                "function" => &call["function"]["arguments"],
                _ => &call["custom"]["input"],
            };
            match (
                call["id"].as_str(),
                call[kind]["name"].as_str(),
                input.as_str(),
            ) {
                (Some(id), Some(name), Some(input)) => {
                    self.calls.push(id.to_owned());
                    text.push_str(name);
                    text.push_str(input);
                }
                (None, ..) => return Err(Refusal::of(format!("{at}.id"), "field required")),
                _ => return Err(Refusal::of(at, "needs a name and what it is called with")),
            }
        }
        Ok(text)
    }

    /// A message's text; what else it holds is noted. Null is empty, as an assistant's may be.
    fn content(&mut self, message: &Value, at: &str) -> Result<String, Refusal> {
        let parts = match &message["content"] {
            Value::Null => return Ok(String::new()),
            Value::String(text) => return Ok(text.clone()),
            Value::Array(parts) => parts,
            _ => {
                let wrong = "must be text or a list of parts";
                return Err(Refusal::of(format!("{at}.content"), wrong));
            }
        };
        let mut text = String::new();
        for (index, part) in parts.iter().enumerate() {
            let at = format!("{at}.content[{index}]");
            match part["type"].as_str().unwrap_or_default() {
                "text" => text.push_str(needed(&part["text"], &format!("{at}.text"))?),
                "refusal" => text.push_str(needed(&part["refusal"], &format!("{at}.refusal"))?),
                "image_url" => {
                    let url = needed(&part["image_url"]["url"], &format!("{at}.image_url.url"))?;
                    self.ask.images += 1;
                    self.ask.prompt.push("", TOKENS_PER_IMAGE, url);
                }
                "file" => {
                    let file = &part["file"];
                    self.ask.documents.push(Document {
                        title: file["filename"].as_str().map(str::to_owned),
                        ..Document::default()
                    });
                    self.ask
                        .prompt
                        .push("", TOKENS_PER_IMAGE, &file.to_string());
                }
                other => {
                    let wrong = format!("`{other}` is not a part that the stand-in takes");
                    return Err(Refusal::of(format!("{at}.type"), &wrong));
                }
            }
        }
        Ok(text)
    }
}

fn needed<'a>(value: &'a Value, field: &str) -> Result<&'a str, Refusal> {
    value
        .as_str()
        .ok_or_else(|| Refusal::of(field, "must be text"))
}
