//! A finished request body of any wire, walked before it is sent.
//!
//! Every text in it is looked through, whatever its field is called, so that no field can be
//! forgotten; only `model`, which is the policy's own word, and the words that are held against
//! the lists below stay as they are. What cannot be looked through is refused: a part, an item or a
//! tool of a type that is not listed, a field for files and the like, token ids.

use std::fmt;

use serde_json::{Map, Value};

use super::redacted::Values;
use super::redacting::Redacting;
use super::{CannotRedact, Why};

/// Types of parts, items, tools and formats that are text through and through.
const TYPES: &[&str] = &[
    // Parts.
    "text",
    "input_text",
    "output_text",
    "refusal",
    "summary_text",
    "reasoning_text",
    "thinking",
    "tool_use",
    "tool_result",
    "content",
    // Items.
    "message",
    "reasoning",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    // Tools and how they are chosen.
    "function",
    "custom",
    "grammar",
    "auto",
    "any",
    "none",
    "tool",
    "allowed_tools",
    // Formats and settings.
    "json_object",
    "json_schema",
    "enabled",
    "disabled",
    "adaptive",
    "ephemeral",
];

const ROLES: &[&str] = &[
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
];

/// Fields that hold or name what is no text: files, sounds, what only a provider can read, and
/// tools that act on the provider's side.
const OPAQUE: &[&str] = &[
    "audio",
    "connector_id",
    "container",
    "data",
    "encrypted_content",
    "file",
    "file_data",
    "file_id",
    "file_ids",
    "file_url",
    "image",
    "image_url",
    "input_audio",
    "mcp_servers",
    "server_url",
    "signature",
    "source",
    "thought_signature",
    "vector_store_ids",
    "video_url",
    "web_search_options",
];

/// Fields below which everything is the client's own: names as well as numbers.
const OWN: &[&str] = &[
    "chat_template_kwargs",
    "guided_json",
    "input_examples",
    "input_schema",
    "logit_bias",
    "metadata",
    "output_schema",
    "parameters",
    "schema",
];

/// Fields with names and references, which may have no brackets.
const NAMES: &[&str] = &[
    "call_id",
    "id",
    "item_id",
    "name",
    "tool_call_id",
    "tool_use_id",
];

/// Settings of the whole request with a number.
const SETTINGS: &[&str] = &[
    "dimensions",
    "frequency_penalty",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens",
    "max_tool_calls",
    "min_p",
    "n",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "temperature",
    "top_k",
    "top_logprobs",
    "top_p",
];

/// The longest name of a field that is shown.
const LONGEST_FIELD: usize = 40;

/// What the value of a field is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Of the wire: its own words, and text.
    Wire,
    Own,
    /// A text that is read as JSON.
    Arguments,
    Name,
    Opaque,
    /// Held against a list, or nobody's but ours.
    Word,
}

fn place(field: &str, value: &Value, at: &At<'_>, is_call: bool) -> Place {
    let is_top = matches!(at, At::Body);
    match field {
        "type" | "role" => Place::Word,
        "model" if is_top => Place::Word,
        "input" if is_call => Place::Own,
        "arguments" if value.is_string() => Place::Arguments,
        "arguments" => Place::Own,
        _ if OPAQUE.contains(&field) => Place::Opaque,
        _ if OWN.contains(&field) => Place::Own,
        _ if NAMES.contains(&field) && value.is_string() => Place::Name,
        "budget_tokens" if value.is_number() => Place::Word,
        _ if is_top && SETTINGS.contains(&field) && value.is_number() => Place::Word,
        _ => Place::Wire,
    }
}

fn is_call(fields: &Map<String, Value>) -> bool {
    fields.get("type").is_some_and(|kind| kind == "tool_use")
}

/// Whether all of `body` can be looked through.
pub(super) fn check(body: &Value) -> Result<(), CannotRedact> {
    check_at(body, &At::Body)
}

fn check_at(value: &Value, at: &At<'_>) -> Result<(), CannotRedact> {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let at = At::Item(at, index);
                if item.is_number() {
                    return Err(at.cannot(Why::Tokens));
                }
                check_at(item, &at)?;
            }
        }
        Value::Object(fields) => {
            check_word(fields, "type", TYPES, at)?;
            check_word(fields, "role", ROLES, at)?;
            for (field, value) in fields {
                let place = place(field, value, at, is_call(fields));
                let at = At::Field(at, field);
                match place {
                    Place::Opaque if !is_nothing(value) => return Err(at.cannot(Why::Opaque)),
                    Place::Wire => check_at(value, &at)?,
                    _ => {}
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn check_word(
    fields: &Map<String, Value>,
    field: &str,
    words: &[&str],
    at: &At<'_>,
) -> Result<(), CannotRedact> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(word)) if words.contains(&word.as_str()) => Ok(()),
        Some(_) if field == "type" => Err(at.cannot(Why::Type)),
        Some(_) => Err(At::Field(at, field).cannot(Why::Role)),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Sees to it that no value gets a placeholder that `body` has literally.
pub(super) fn avoid(body: &Value, values: &mut Values) {
    match body {
        Value::String(text) => values.avoid(text),
        Value::Array(items) => items.iter().for_each(|item| avoid(item, values)),
        Value::Object(fields) => {
            for (field, value) in fields {
                values.avoid(field);
                avoid(value, values);
            }
        }
        _ => {}
    }
}

/// Takes every value out of a body that was checked.
pub(super) fn redact(body: &mut Value, ask: &mut Redacting<'_>) -> Result<(), CannotRedact> {
    redact_at(body, &At::Body, ask)
}

fn redact_at(value: &mut Value, at: &At<'_>, ask: &mut Redacting<'_>) -> Result<(), CannotRedact> {
    match value {
        Value::Array(items) => {
            let is_done = redact_texts(items, at, ask)?;
            for (index, (item, is_done)) in items.iter_mut().zip(is_done).enumerate() {
                let at = At::Item(at, index);
                match item {
                    Value::Object(fields) => redact_fields(fields, &at, is_done, ask)?,
                    item => redact_at(item, &at, ask)?,
                }
            }
            Ok(())
        }
        Value::Object(fields) => redact_fields(fields, at, false, ask),
        value => ask.json(value, at.field()).map_err(|why| at.cannot(why)),
    }
}

/// `is_text_done` says that its `text` has been redacted.
fn redact_fields(
    fields: &mut Map<String, Value>,
    at: &At<'_>,
    is_text_done: bool,
    ask: &mut Redacting<'_>,
) -> Result<(), CannotRedact> {
    let is_call = is_call(fields);
    for (field, value) in fields.iter_mut() {
        if ask.finds(field) {
            return Err(at.cannot(Why::Field));
        }
        let place = place(field, value, at, is_call);
        let at = At::Field(at, field);
        let redacted = match (place, value) {
            (Place::Word | Place::Opaque, _) => Ok(()),
            (Place::Wire, _) if is_text_done && field == "text" => Ok(()),
            (Place::Wire, value) => {
                redact_at(value, &at, ask)?;
                Ok(())
            }
            (Place::Arguments, Value::String(text)) => ask.arguments(text),
            (Place::Name, Value::String(name)) => ask.name(name),
            (Place::Own | Place::Arguments | Place::Name, value) => ask.json(value, Some(field)),
        };
        redacted.map_err(|why| at.cannot(why))?;
    }
    Ok(())
}

/// Redacts parts of text that follow each other as one text. Gives which of `items` they are.
fn redact_texts(
    items: &mut [Value],
    at: &At<'_>,
    ask: &mut Redacting<'_>,
) -> Result<Vec<bool>, CannotRedact> {
    let is_text = |item: &Value| {
        let kind = item.get("type").and_then(Value::as_str);
        matches!(kind, Some("text" | "input_text" | "output_text")) && item["text"].is_string()
    };
    let are_texts: Vec<bool> = items.iter().map(is_text).collect();
    let mut index = 0;
    for row in items.chunk_by_mut(|one, next| is_text(one) && is_text(next)) {
        let first = At::Item(at, index);
        let is_text = are_texts[index];
        index += row.len();
        let texts = row
            .iter_mut()
            .filter_map(|item| match item.get_mut("text") {
                Some(Value::String(text)) if is_text => Some(text),
                _ => None,
            });
        let redacted = ask.texts(texts.collect());
        redacted.map_err(|why| first.cannot(why))?;
    }
    Ok(are_texts)
}

/// Where in a body something is; shown without names that the client may have made up.
enum At<'a> {
    Body,
    Field(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
}

impl At<'_> {
    /// The nearest field, where it is one of some.
    fn field(&self) -> Option<&str> {
        match self {
            At::Body => None,
            At::Field(_, field) => Some(field),
            At::Item(at, _) => at.field(),
        }
    }

    fn cannot(&self, why: Why) -> CannotRedact {
        CannotRedact {
            field: self.to_string(),
            why,
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Body => Ok(()),
            At::Item(at, index) => write!(f, "{at}[{index}]"),
            At::Field(at, field) => {
                let is_shown = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
                let field = match field.len() <= LONGEST_FIELD && field.bytes().all(is_shown) {
                    true => field,
                    false => "*",
                };
                match at {
                    At::Body => f.write_str(field),
                    at => write!(f, "{at}.{field}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
