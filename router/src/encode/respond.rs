//! Answers and refusals as responses: status, headers, body.

use std::convert::Infallible;

use axum::body::Body;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use super::{Content, Parts, Whole, text};
use crate::answer::Begin;
use crate::refusal::{Family, Refusal};

/// The headers that say who answered and how sure it was.
pub(crate) fn begin_headers(begin: &Begin, headers: &mut HeaderMap) {
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-weir-tier", begin.tier.clone());
    set("x-weir-attempts", begin.attempts.clone());
    if let Some(score) = begin.score {
        set("x-weir-score", format!("{score:.4}"));
    }
    if begin.is_unsure {
        set("x-weir-unsure", "true".into());
    }
    if begin.is_local {
        set("x-weir-local", "true".into());
    }
    if !begin.dropped.is_empty() {
        set("x-weir-dropped", begin.dropped.join(", "));
    }
}

/// A whole answer as a response.
pub(crate) fn respond(whole: Whole) -> Response<Body> {
    let Whole {
        content,
        room,
        begin,
        end,
    } = whole;
    let (parts, length): (Parts, _) = match content {
        Content::Text(text) => {
            let length = text.len();
            (Box::new(std::iter::once(text)), Some(length))
        }
        Content::Parts(parts) => (parts, None),
    };
    // The room is given back with the last of them.
    let parts = parts.map(move |part| {
        let _room = &room;
        Ok::<_, Infallible>(part)
    });
    let mut response = Response::new(Body::from_stream(stream::iter(parts)));
    if let Some(length) = length {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    let begin = Begin {
        score: end.score.or(begin.score),
        is_unsure: end.is_unsure || begin.is_unsure,
        ..begin
    };
    begin_headers(&begin, response.headers_mut());
    if let Ok(cost) = HeaderValue::from_str(&end.cost.to_string()) {
        response.headers_mut().insert("x-weir-cost", cost);
    }
    response
}

/// A refusal as a response, in the words of the client's provider.
pub(crate) fn refuse(family: Family, refusal: &Refusal, money_was_spent: bool) -> Response<Body> {
    let mut response = json_response(refusal.status_on(family), &refusal.body_on(family));
    let headers = response.headers_mut();
    let should_retry = match refusal.should_retry(money_was_spent) {
        true => "true",
        false => "false",
    };
    headers.insert("x-should-retry", HeaderValue::from_static(should_retry));
    if let Some(seconds) = refusal.retry_after_seconds() {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if let Some(millis) = refusal.retry_after_millis() {
        headers.insert("retry-after-ms", millis.into());
    }
    response
}

/// The response that a stream's body goes into.
pub(crate) fn stream_response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let stream = HeaderValue::from_static("text/event-stream; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, stream);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies that would gather a stream are asked not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    json_text(status, text(body))
}

/// Of a body that is JSON already.
pub(crate) fn json_text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
