//! What a request says: its tools, its system prompt and its messages, in the order in which a
//! cache keeps them.

use serde_json::{Map, Value};

use super::blocks::Reader;
use crate::ask::Ask;
use crate::fields;
use crate::prompt::{Lifetime, TOKENS_PER_MESSAGE};
use crate::refusal::Refusal;

/// A request's input.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) ask: Ask,
    /// The call of a hosted tool at which the turn was paused that comes back.
    pub(super) paused: Option<String>,
}

pub(super) fn read(body: &Map<String, Value>, is_strict: bool) -> Result<Read, Refusal> {
    let messages = fields::list(body, "messages")?;
    let Some(last) = messages.last() else {
        return Err(Refusal::of("messages", "at least one message is required"));
    };
    let mut reader = Reader::default();
    for tool in fields::list(body, "tools")? {
        reader.ask.prompt.push(&unmarked(tool), 0, "tool");
        mark(&mut reader.ask, tool);
    }
    if let Some(system) = fields::field(body, "system") {
        system_prompt(&mut reader.ask, system)?;
    }
    for (index, message) in messages.iter().enumerate() {
        reader.message(message, index, is_strict)?;
    }
    reader.unanswered(messages.len())?;
    if let Some(marker) = fields::field(body, "cache_control") {
        reader.ask.prompt.mark(lifetime(marker));
    }
    let is_prefilled = last["role"] == "assistant" && reader.paused.is_none();
    if is_strict && is_prefilled {
        let wrong = "the last message must be the user's, an answer cannot be prefilled";
        return Err(Refusal::of("messages", wrong));
    }
    reader.ask.goes_on = reader.paused.is_some();
    Ok(Read {
        ask: reader.ask,
        paused: reader.paused,
    })
}

fn system_prompt(ask: &mut Ask, system: &Value) -> Result<(), Refusal> {
    let wrong = || Refusal::of("system", "must be text or a list of text blocks");
    if let Some(text) = system.as_str() {
        ask.prompt.push_message("system", text);
        return Ok(());
    }
    for (index, block) in system.as_array().ok_or_else(wrong)?.iter().enumerate() {
        let text = block["text"].as_str().filter(|_| block["type"] == "text");
        let markup = if index == 0 { TOKENS_PER_MESSAGE } else { 0 };
        ask.prompt.push(text.ok_or_else(wrong)?, markup, "system");
        mark(ask, block);
    }
    Ok(())
}

/// Keeps all up to a block in a cache, where the block asks for it.
pub(super) fn mark(ask: &mut Ask, block: &Value) {
    if let Some(marker) = block
        .get("cache_control")
        .filter(|marker| !marker.is_null())
    {
        ask.prompt.mark(lifetime(marker));
    }
}

/// A value without its own mark, by which a cache tells it.
pub(super) fn unmarked(value: &Value) -> String {
    let mut value = value.clone();
    if let Some(entries) = value.as_object_mut() {
        entries.shift_remove("cache_control");
    }
    value.to_string()
}

fn lifetime(marker: &Value) -> Lifetime {
    if marker["ttl"] == "1h" {
        Lifetime::Hour
    } else {
        Lifetime::Minutes
    }
}
