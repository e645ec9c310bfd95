//! The headers of a request to an endpoint: the policy's, and those of the provider's wire.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Call;
use crate::ask::Ask;
use crate::wire::Wire;

const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

pub(super) fn of(call: &Call<'_>, wire: Wire, ask: &Ask) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &call.endpoint.headers {
        // Both were checked with the policy.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let wanted = match wire {
        Wire::Embeddings => "application/json",
        _ => "text/event-stream",
    };
    headers.insert(header::ACCEPT, HeaderValue::from_static(wanted));
    // What is compressed would be gathered on the way.
    let plain = HeaderValue::from_static("identity");
    headers.insert(header::ACCEPT_ENCODING, plain);
    match wire {
        Wire::Messages => {
            if let Ok(version) = HeaderValue::from_str(call.endpoint.anthropic_version()) {
                headers.insert(ANTHROPIC_VERSION, version);
            }
            if let Ok(betas) = HeaderValue::from_str(&ask.betas.join(","))
                && !ask.betas.is_empty()
            {
                headers.insert(ANTHROPIC_BETA, betas);
            }
            if let Some(key) = &call.key {
                headers.insert(X_API_KEY, key.clone());
            }
        }
        Wire::Chat | Wire::Completions | Wire::Responses | Wire::Embeddings => {
            if let Some(bearer) = call.key.as_ref().and_then(bearer) {
                headers.insert(header::AUTHORIZATION, bearer);
            }
        }
    }
    headers
}

fn bearer(key: &HeaderValue) -> Option<HeaderValue> {
    let value = [b"Bearer ", key.as_bytes()].concat();
    let mut value = HeaderValue::from_bytes(&value).ok()?;
    value.set_sensitive(true);
    Some(value)
}
