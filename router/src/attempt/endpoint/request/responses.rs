//! A request for a response, which only clients of the same wire make of an endpoint.

use serde_json::{Map, Value, json};
use weir_policy::tier::Endpoint;

use super::own;
use crate::ask::Ask;
use crate::attempt::endpoint::proof;

pub(super) fn body(endpoint: &Endpoint, ask: &Ask) -> Map<String, Value> {
    let mut body = own(ask, endpoint);
    body.insert("model".into(), endpoint.model.clone().into());
    body.insert("stream".into(), true.into());
    // Nothing is kept there either: what was said can be found nowhere but at the client.
    body.insert("store".into(), false.into());
    if let Some(Value::Array(items)) = body.get_mut("input") {
        proof::unmark(&proof::mark(endpoint), items);
    }
    // Thoughts come back with the next request, since nobody stores them.
    let include = body.entry("include").or_insert_with(|| json!([]));
    if let Value::Array(include) = include
        && body_thinks(&ask.body)
        && !include.contains(&ENCRYPTED.into())
    {
        include.push(ENCRYPTED.into());
    }
    body
}

const ENCRYPTED: &str = "reasoning.encrypted_content";

fn body_thinks(body: &Map<String, Value>) -> bool {
    body.get("reasoning").is_some_and(Value::is_object)
}
