//! Phase 2: the body of a request becomes an [`Ask`], or names the field at fault. One file for
//! each wire.

mod body;
mod chat;
mod completions;
mod embeddings;
mod fields;
mod form;
mod memory;
mod messages;
mod responses;
mod settings;

use serde_json::{Map, Value};

use crate::ask::Ask;
use crate::refusal::Refusal;
use crate::wire::Wire;
pub(crate) use body::{Bounds, Held, Incoming};

/// Reads a request that came on `wire`.
pub(crate) fn decode(wire: Wire, bytes: &[u8]) -> Result<Ask, Refusal> {
    of_object(wire, object(bytes)?)
}

/// Reads a request whose body has been parsed.
pub(crate) fn of_object(wire: Wire, body: Map<String, Value>) -> Result<Ask, Refusal> {
    match wire {
        Wire::Chat => chat::chat(body),
        Wire::Completions => completions::completions(body),
        Wire::Responses => responses::responses(body),
        Wire::Messages => messages::messages(body),
        Wire::Embeddings => embeddings::embeddings(body),
    }
}

/// The JSON object that every request is.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let body = serde_json::from_slice::<Value>(bytes)
        .map_err(|error| Refusal::NotJson(error.to_string()))?;
    match body {
        Value::Object(body) => Ok(body),
        _ => Err(Refusal::NotJson("it must be an object".into())),
    }
}

/// A chat that says hi, with `extra` members.
#[cfg(test)]
pub(crate) fn chat_with(extra: &Value) -> Ask {
    let mut body =
        serde_json::json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    for (field, value) in extra.as_object().unwrap() {
        body[field] = value.clone();
    }
    decode(Wire::Chat, body.to_string().as_bytes()).unwrap()
}

#[cfg(test)]
mod tests;
