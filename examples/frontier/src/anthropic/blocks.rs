//! Messages and their blocks, held to what the provider holds them to: calls are answered in the
//! next message, and what the provider signed comes back as it was.

use serde_json::Value;

use super::input::{mark, unmarked};
use super::sources;
use crate::ask::Ask;
use crate::prompt::{TOKENS_PER_IMAGE, TOKENS_PER_MESSAGE};
use crate::refusal::Refusal;
use crate::signature::{is_sealed, is_signed};

/// Reads messages in their order.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) ask: Ask,
    /// The hosted call that the last message ends in.
    pub(super) paused: Option<String>,
    /// Calls of the message before, which this one must answer.
    calls: Vec<String>,
}

/// What one message holds.
#[derive(Default)]
struct Message {
    text: String,
    results: Vec<String>,
    calls: Vec<String>,
    paused: Option<String>,
}

impl Reader {
    pub(super) fn message(
        &mut self,
        message: &Value,
        index: usize,
        is_strict: bool,
    ) -> Result<(), Refusal> {
        let at = format!("messages.{index}");
        let role = message["role"].as_str().unwrap_or_default();
        let is_known = matches!(role, "user" | "assistant") || (is_strict && role == "system");
        if !is_known {
            let wrong = format!("unexpected role `{role}`");
            return Err(Refusal::of(format!("{at}.role"), &wrong));
        }
        let read = self.content(&message["content"], role, &at)?;
        self.unanswered(index)?;
        self.calls = read.calls;
        self.paused = read.paused;
        if role == "user" {
            self.ask.result = (!read.results.is_empty()).then(|| read.results.join(", "));
            // Results belong to a question that was asked before.
            if !read.text.is_empty() || self.ask.result.is_none() {
                self.ask.question = read.text;
            }
        }
        Ok(())
    }

    /// Refuses calls that message `index` should have answered.
    pub(super) fn unanswered(&self, index: usize) -> Result<(), Refusal> {
        match self.calls.first() {
            None => Ok(()),
            Some(id) => {
                let wrong =
                    format!("the `tool_use` `{id}` has no `tool_result` in the next message");
                let at = index.saturating_sub(1);
                Err(Refusal::of(format!("messages.{at}"), &wrong))
            }
        }
    }

    fn content(&mut self, content: &Value, role: &str, at: &str) -> Result<Message, Refusal> {
        let at = format!("{at}.content");
        let mut message = Message::default();
        match content {
            Value::String(text) => {
                self.ask.prompt.push_message(role, text);
                message.text.clone_from(text);
            }
            Value::Array(blocks) => {
                self.ask.prompt.push("", TOKENS_PER_MESSAGE, role);
                for (index, block) in blocks.iter().enumerate() {
                    self.block(block, role, &format!("{at}.{index}"), &mut message)?;
                    mark(&mut self.ask, block);
                }
            }
            _ => return Err(Refusal::of(at, "must be text or a list of blocks")),
        }
        Ok(message)
    }

    fn block(
        &mut self,
        block: &Value,
        role: &str,
        at: &str,
        message: &mut Message,
    ) -> Result<(), Refusal> {
        let kind = block["type"].as_str().unwrap_or_default();
        message.paused = None;
        match (role, kind) {
            (_, "text") => {
                let text = needed(block, "text", at)?;
                message.text.push_str(text);
                self.ask.prompt.push(text, 0, role);
            }
            ("user", "image") => {
                sources::image(&block["source"], at)?;
                self.ask.images += 1;
                self.ask.prompt.push("", TOKENS_PER_IMAGE, &unmarked(block));
            }
            ("user", "document") => {
                let document = sources::document(block, at)?;
                self.ask
                    .prompt
                    .push(&document.text, TOKENS_PER_IMAGE, &unmarked(block));
                self.ask.documents.push(document);
            }
            ("user", "tool_result") => self.result(block, at, message)?,
            ("user", "search_result") => self.ask.prompt.push(&unmarked(block), 0, kind),
            ("assistant", _) => {
                assistants(block, kind, at, message)?;
                self.ask.prompt.push(&unmarked(block), 0, kind);
            }
            _ => {
                let wrong =
                    format!("`{kind}` is not a block of role `{role}` that the stand-in takes");
                return Err(Refusal::of(format!("{at}.type"), &wrong));
            }
        }
        Ok(())
    }

    fn result(&mut self, block: &Value, at: &str, message: &mut Message) -> Result<(), Refusal> {
        let id = needed(block, "tool_use_id", at)?;
        let Some(place) = self.calls.iter().position(|call| call == id) else {
            let wrong = format!("`{id}` is no `tool_use` of the message before");
            return Err(Refusal::of(format!("{at}.tool_use_id"), &wrong));
        };
        self.calls.remove(place);
        let text = match &block["content"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Array(blocks) => {
                let texts = blocks.iter().filter_map(|block| block["text"].as_str());
                texts.collect()
            }
            _ => {
                let wrong = "must be text or a list of blocks";
                return Err(Refusal::of(format!("{at}.content"), wrong));
            }
        };
        self.ask.prompt.push(&unmarked(block), 0, "tool_result");
        message.results.push(text);
        Ok(())
    }
}

/// Reads a block that only an assistant's message has.
fn assistants(block: &Value, kind: &str, at: &str, message: &mut Message) -> Result<(), Refusal> {
    match kind {
        "thinking" => {
            let thinking = needed(block, "thinking", at)?;
            if !is_signed(thinking, needed(block, "signature", at)?) {
                let wrong = "invalid `signature` in `thinking` block";
                return Err(Refusal::of(format!("{at}.signature"), wrong));
            }
        }
        "redacted_thinking" => {
            if !is_sealed(needed(block, "data", at)?) {
                let wrong = "invalid `data` in `redacted_thinking` block";
                return Err(Refusal::of(format!("{at}.data"), wrong));
            }
        }
        "tool_use" => {
            needed(block, "name", at)?;
            if !block["input"].is_object() {
                return Err(Refusal::of(format!("{at}.input"), "must be an object"));
            }
            message.calls.push(needed(block, "id", at)?.to_owned());
        }
        "server_tool_use" => message.paused = Some(needed(block, "id", at)?.to_owned()),
        "web_search_tool_result" => sources::results(block, at)?,
        _ => {
            let wrong = format!("`{kind}` is not a block that the stand-in takes");
            return Err(Refusal::of(format!("{at}.type"), &wrong));
        }
    }
    Ok(())
}

pub(super) fn needed<'a>(block: &'a Value, name: &str, at: &str) -> Result<&'a str, Refusal> {
    let text = block[name].as_str();
    text.ok_or_else(|| Refusal::of(format!("{at}.{name}"), "must be text"))
}
