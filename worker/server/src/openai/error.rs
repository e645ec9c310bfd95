//! Refusals as the OpenAI wire has them: a status, and a body that names the field.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use weir_worker_api::ErrorCode;

use crate::refusal::{Refusal, in_short};

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// An error in OpenAI's shape.
#[derive(Debug)]
pub struct WireError {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
    retry_after_seconds: Option<u32>,
    /// The same request may succeed later.
    again: bool,
}

impl WireError {
    pub fn no_such_route(method: &Method, uri: &Uri) -> Self {
        let message = format!("{method} {} is not served here", uri.path());
        Self::bare(StatusCode::NOT_FOUND, in_short(message))
    }

    pub fn no_such_method(method: &Method, uri: &Uri) -> Self {
        let message = format!("{} does not take {method}", uri.path());
        Self::bare(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    fn bare(status: StatusCode, message: String) -> Self {
        Self {
            status,
            kind: "invalid_request_error",
            code: None,
            param: None,
            message,
            retry_after_seconds: None,
            again: false,
        }
    }

    /// The body, which is also what a stream that has begun ends with.
    pub fn body(&self) -> Value {
        json!({
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        })
    }
}

impl WireError {
    /// Of a request that calls the contract's fields by names of its own.
    pub fn named(refusal: Refusal, name: fn(&str) -> String) -> Self {
        let refusal = refusal.with_field_named(name);
        let (status, kind, code) = match (&refusal, refusal.code()) {
            (Refusal::BodyTooLarge { .. }, _) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", None)
            }
            (Refusal::BodyTooSlow, _) => {
                (StatusCode::REQUEST_TIMEOUT, "invalid_request_error", None)
            }
            (_, ErrorCode::UnknownModel) => (
                StatusCode::NOT_FOUND,
                "invalid_request_error",
                Some("model_not_found"),
            ),
            (_, ErrorCode::TooLong) => (
                StatusCode::BAD_REQUEST,
                "invalid_request_error",
                Some("context_length_exceeded"),
            ),
            (_, ErrorCode::Unsupported) => (
                StatusCode::BAD_REQUEST,
                "invalid_request_error",
                Some("unsupported_parameter"),
            ),
            (_, ErrorCode::Invalid) => (StatusCode::BAD_REQUEST, "invalid_request_error", None),
            (_, ErrorCode::Overloaded) => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                Some("overloaded"),
            ),
            (_, ErrorCode::Draining) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "server_error",
                Some("draining"),
            ),
            (_, ErrorCode::Starting) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "server_error",
                Some("starting"),
            ),
            (_, ErrorCode::Mismatch | ErrorCode::Internal | ErrorCode::Unspecified) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "server_error", None)
            }
        };
        Self {
            status,
            kind,
            code,
            param: refusal.field().map(name).map(in_short),
            message: refusal.message(),
            retry_after_seconds: refusal.retry_after_seconds(),
            // A client asks the same address again, where what is not there now is not there then.
            again: refusal.retry_elsewhere() && refusal.code() != ErrorCode::UnknownModel,
        }
    }
}

impl From<Refusal> for WireError {
    fn from(refusal: Refusal) -> Self {
        Self::named(refusal, on_this_wire)
    }
}

impl IntoResponse for WireError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT].contains(&self.status) {
            // The rest of the body is not read: nothing more can come on this connection.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        // What SDKs go by when they decide to try again by themselves.
        let again = HeaderValue::from_static(if self.again { "true" } else { "false" });
        response.headers_mut().insert(SHOULD_RETRY, again);
        if let Some(seconds) = self.retry_after_seconds {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What a field of the contract is called in a chat.
fn on_this_wire(field: &str) -> String {
    match field {
        "prompt" | "prompt.chat" => "messages",
        "choices" => "n",
        "prompt.chat.tool_use" => "tool_choice",
        other => other
            .strip_prefix("sampling.")
            .or_else(|| other.strip_prefix("limits."))
            .or_else(|| other.strip_prefix("prompt.chat."))
            .unwrap_or(other),
    }
    .to_owned()
}
