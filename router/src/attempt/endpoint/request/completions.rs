//! A request for a completion of a text.

use serde_json::{Map, Value, json};
use weir_policy::tier::Endpoint;

use super::own;
use crate::ask::Ask;

pub(super) fn body(endpoint: &Endpoint, ask: &Ask) -> Map<String, Value> {
    let mut body = own(ask, endpoint);
    body.insert("model".into(), endpoint.model.clone().into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({ "include_usage": true }));
    body
}
