//! A request for vectors.

use serde_json::{Map, Value};
use weir_policy::tier::Endpoint;

use super::own;
use crate::ask::Ask;

pub(super) fn body(endpoint: &Endpoint, ask: &Ask) -> Map<String, Value> {
    let mut body = own(ask, endpoint);
    body.insert("model".into(), endpoint.model.clone().into());
    // A quarter of what numbers take on the way; whoever does not know it sends numbers.
    body.insert("encoding_format".into(), "base64".into());
    body
}
