//! What is asked of an endpoint: the request as it came where the client speaks the same wire, and
//! what our words say of it otherwise. One file for each wire.

mod bound;
mod chat;
mod completions;
mod embeddings;
mod logprobs;
mod messages;
mod responses;

use serde_json::{Map, Value};
use weir_policy::tier::Endpoint;

use crate::ask::Ask;
use crate::wire::{self, Upstream, Wire};
pub(super) use logprobs::ALTERNATIVES;

/// The body that asks `endpoint` on the wire on which it is sent.
pub(super) fn body(sent: Wire, endpoint: &Endpoint, ask: &Ask) -> Value {
    let mut body = match sent {
        Wire::Chat => chat::body(endpoint, ask),
        Wire::Completions => completions::body(endpoint, ask),
        Wire::Responses => responses::body(endpoint, ask),
        Wire::Messages => messages::body(endpoint, ask),
        Wire::Embeddings => embeddings::body(endpoint, ask),
    };
    bound::put(&mut body, (sent, endpoint), ask);
    let upstream = Upstream::of_endpoint(endpoint);
    for entry in &endpoint.unsupported {
        let fields = wire::spelled(entry, (upstream, sent)).into_iter();
        for field in fields.filter(|field| !bound::must_stay(field, (sent, endpoint))) {
            leave_out(&mut body, field);
        }
    }
    Value::Object(body)
}

/// Asks for log-probabilities as well, for the cascade; gives whether the endpoint has any.
pub(super) fn add_logprobs(body: &mut Value, sent: Wire, of: (&Endpoint, &Ask)) -> bool {
    let body = body.as_object_mut();
    body.is_some_and(|body| logprobs::add(body, sent, of))
}

/// Takes out a field, or a member of one; an object of which nothing is left asks for nothing.
fn leave_out(body: &mut Map<String, Value>, field: &str) {
    let Some((of, member)) = field.split_once('.') else {
        body.shift_remove(field);
        return;
    };
    if let Some(Value::Object(members)) = body.get_mut(of) {
        members.shift_remove(member);
        if members.is_empty() {
            body.shift_remove(of);
        }
    }
}

/// The client's body without the fields that the endpoint's kind does not know and that may be left
/// out.
fn own(ask: &Ask, endpoint: &Endpoint) -> Map<String, Value> {
    let mut body = ask.body.clone();
    for field in ask.beyond(Upstream::of_endpoint(endpoint)).advisory {
        leave_out(&mut body, &field);
    }
    body
}

/// Takes out what was thought: its maker would not know it again once anything in it is redacted.
pub(super) fn forget_thoughts(body: &mut Value) {
    let is_thought = |item: &Value| {
        let kind = item["type"].as_str();
        matches!(kind, Some("thinking" | "redacted_thinking" | "reasoning"))
    };
    if let Some(Value::Array(items)) = body.get_mut("input") {
        items.retain(|item| !is_thought(item));
    }
    let messages = body.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten() {
        if let Some(Value::Array(blocks)) = message.get_mut("content") {
            blocks.retain(|block| !is_thought(block));
        }
    }
    if let Value::Object(body) = body
        && messages::is_midway(body)
    {
        body.shift_remove("thinking");
    }
}
