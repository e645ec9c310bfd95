//! OpenAI's wire: what its paths have in common.

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::ask::Ask;
use crate::refusal::Refusal;
use crate::said::CONTEXT_TOKENS;

pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod embeddings;
mod logprobs;
pub(crate) mod responses;
mod tools;
mod usage;

pub(crate) async fn not_found(request: Request) -> Response {
    let message = format!("there is no {} {}", request.method(), request.uri().path());
    refuse(Refusal::new(StatusCode::NOT_FOUND, message))
}

/// An outcome as this wire says it.
pub(crate) fn said(outcome: Result<Response, Refusal>) -> Response {
    outcome.unwrap_or_else(refuse)
}

pub(crate) fn refuse(refusal: Refusal) -> Response {
    let mut response = (refusal.status, Json(error_body(&refusal))).into_response();
    refusal.say_when(&mut response);
    response
}

fn error_body(refusal: &Refusal) -> Value {
    let (kind, code) = match refusal.status.as_u16() {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        429 => ("requests", Some("rate_limit_exceeded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    let code = refusal.code.or(code);
    json!({"error": {"message": refusal.message, "type": kind, "param": refusal.field, "code": code}})
}

/// What a request is told that fails with status 200, or after its first event.
pub(crate) fn server_error(message: String) -> Value {
    error_body(&Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message))
}

/// Refuses a prompt that the model cannot read.
fn check_length(ask: &Ask, field: &str) -> Result<(), Refusal> {
    let tokens = ask.prompt.tokens();
    if tokens <= CONTEXT_TOKENS {
        return Ok(());
    }
    let message = format!(
        "This model's maximum context length is {CONTEXT_TOKENS} tokens. However, your input \
         resulted in {tokens} tokens."
    );
    Err(Refusal::field(field, message).with_code("context_length_exceeded"))
}
