//! The headers that every answer of a wire has.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use crate::StandIn;
use crate::anthropic::VERSION;
use crate::refusal::ORGANIZATION;

/// Gives every answer an id, under both wires' names for it, and what its wire tells of limits.
pub(crate) async fn add(
    State(stand_in): State<Arc<StandIn>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let path = request.uri().path();
    let is_wire = path.starts_with("/v1/");
    let is_anthropic = path.starts_with("/v1/messages") || request.headers().contains_key(VERSION);
    let mut response = next.run(request).await;
    let number = stand_in.answered.fetch_add(1, Ordering::Relaxed) + 1;
    let headers = response.headers_mut();
    for name in ["x-request-id", "request-id"] {
        insert(headers, name, &format!("req_stand_in_{number}"));
    }
    if is_wire && is_anthropic {
        insert(headers, "anthropic-organization-id", ORGANIZATION);
        stand_in.limits.get().anthropic(Timestamp::now(), headers);
    } else if is_wire {
        insert(headers, "openai-organization", ORGANIZATION);
        insert(headers, "openai-version", "2020-10-01");
        let taken = begun.elapsed().as_millis().to_string();
        insert(headers, "openai-processing-ms", &taken);
        stand_in.limits.get().openai(headers);
    }
    response
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("letters and digits are a header value");
    headers.insert(HeaderName::from_static(name), value);
}
