//! Threads: conversations that are held here between turns, so that a client sends only what is
//! new. The SDK's tool runner uses them unless it is told that they are not supported.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use crate::fields;
use crate::kept::Conversations;
use crate::refusal::Refusal;

/// The beta that has them.
const BETA: &str = "message-threads-";

/// What a thread keeps from its first turn.
const KEPT: [&str; 2] = ["system", "tools"];

/// What is not supported together with a thread.
const UNSUPPORTED: [&str; 2] = ["cache_control", "thinking"];

/// A request's body with all that was said before, where it goes on with a thread.
pub(super) fn whole<'a>(
    body: &'a Map<String, Value>,
    headers: &HeaderMap,
    conversations: &Conversations,
) -> Result<Cow<'a, Map<String, Value>>, Refusal> {
    let Some(thread) = fields::field(body, "thread") else {
        return Ok(Cow::Borrowed(body));
    };
    let betas = headers.get_all("anthropic-beta").iter();
    let mut betas = betas.filter_map(|value| value.to_str().ok());
    if !betas.any(|value| value.contains(BETA)) {
        return Err(Refusal::of("thread", "Extra inputs are not permitted"));
    }
    let unsupported = UNSUPPORTED
        .into_iter()
        .find(|name| fields::field(body, name).is_some());
    if let Some(name) = unsupported {
        let wrong = format!("cannot be used together with {name}");
        let details = json!({"error_code": "thread_unsupported_request", "unsupported": [name]});
        return Err(Refusal::of("thread", &wrong).with_details(details));
    }
    match thread["type"].as_str().unwrap_or_default() {
        "create" => Ok(Cow::Borrowed(body)),
        "continue" => {
            let id = thread["previous_message_id"].as_str().unwrap_or_default();
            let before = conversations.find(id).ok_or_else(|| not_found(id))?;
            Ok(Cow::Owned(joined(before, body)))
        }
        _ => Err(Refusal::of("thread.type", "must be create or continue")),
    }
}

fn not_found(id: &str) -> Refusal {
    let message = format!("thread.previous_message_id: there is no thread at `{id}`");
    let details = json!({"error_code": "thread_not_found"});
    Refusal::new(StatusCode::NOT_FOUND, message).with_details(details)
}

fn joined(mut before: Map<String, Value>, body: &Map<String, Value>) -> Map<String, Value> {
    let mut messages = messages(&before);
    messages.extend(messages_of(body));
    before.extend(body.clone());
    before.insert("messages".to_owned(), messages.into());
    before
}

fn messages(body: &Map<String, Value>) -> Vec<Value> {
    messages_of(body).collect()
}

fn messages_of(body: &Map<String, Value>) -> impl Iterator<Item = Value> {
    let messages = body.get("messages").and_then(Value::as_array);
    messages.into_iter().flatten().cloned()
}

/// Keeps a conversation with its newest answer, for a thread to go on from.
pub(super) fn keep(
    body: &Map<String, Value>,
    id: &str,
    content: Value,
    conversations: &Conversations,
) {
    if fields::field(body, "thread").is_none() {
        return;
    }
    let mut kept = Map::new();
    for name in KEPT {
        if let Some(value) = body.get(name) {
            kept.insert(name.to_owned(), value.clone());
        }
    }
    let mut messages = messages(body);
    messages.push(json!({"role": "assistant", "content": content}));
    kept.insert("messages".to_owned(), messages.into());
    conversations.keep(id, kept);
}
