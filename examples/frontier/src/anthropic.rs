//! Anthropic's wire: `/v1/messages` and `/v1/messages/count_tokens`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Conversation, prompt_tokens};
use crate::delivery::{self, Events};
use crate::intake::{self, Received};
use crate::openai::{say_when, text};
use crate::refusal::Refusal;
use crate::{MODEL, StandIn};

/// The header that names the version of the wire.
pub(crate) const VERSION: &str = "anthropic-version";

const FIRST: &str = "2023-06-01";
/// From here on sampling fields and a prefilled answer are refused, and a system message may
/// stand among the others.
const STRICT: &str = "2026-10-21";

pub(crate) async fn messages(State(stand_in): State<Arc<StandIn>>, request: Request) -> Response {
    let outcome = match intake::receive(&stand_in, request).await {
        Ok(received) => complete(&stand_in, &received),
        Err(refusal) => Err(refusal),
    };
    outcome.unwrap_or_else(refuse)
}

pub(crate) async fn count_tokens(
    State(stand_in): State<Arc<StandIn>>,
    request: Request,
) -> Response {
    let outcome = match intake::receive(&stand_in, request).await {
        Ok(received) => {
            is_strict(&received).and_then(|strict| conversation(&received.body, strict))
        }
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(asked) => Json(json!({"input_tokens": prompt_tokens(&asked)})).into_response(),
        Err(refusal) => refuse(refusal),
    }
}

pub(crate) fn models() -> Value {
    let model = json!({
        "type": "model",
        "id": MODEL,
        "display_name": "Stand-in for a frontier model",
        "created_at": "1970-01-01T00:00:00Z",
    });
    json!({"data": [model], "has_more": false, "first_id": MODEL, "last_id": MODEL})
}

pub(crate) fn refuse(refusal: Refusal) -> Response {
    let mut response = (refusal.status, Json(error_body(&refusal))).into_response();
    say_when(&mut response, &refusal);
    response
}

fn complete(stand_in: &StandIn, received: &Received) -> Result<Response, Refusal> {
    let strict = is_strict(received)?;
    let body = &received.body;
    refuse_unsupported(body, strict)?;
    let model = body
        .get("model")
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::field("model", "model: field required"))?;
    let max_tokens = body
        .get("max_tokens")
        .and_then(Value::as_u64)
        .filter(|&tokens| tokens > 0)
        .ok_or_else(|| Refusal::field("max_tokens", "max_tokens: a positive number is required"))?;
    let conversation = Conversation {
        max_tokens: Some(max_tokens),
        ..conversation(body, strict)?
    };
    let answer = Answer::to(&conversation, &stand_in.desk);
    let id = format!("msg_stand_in_{}", received.number);
    if body.get("stream").and_then(Value::as_bool) == Some(true) {
        let events = events(&id, model, &answer);
        return Ok(delivery::streamed(events, stand_in.pace, received.broken));
    }
    let mut message = message(&id, model, &answer);
    message["content"] = json!([{"type": "text", "text": answer.text()}]);
    message["stop_reason"] = stop_reason(&answer).into();
    message["usage"]["output_tokens"] = answer.tokens().into();
    delivery::whole(&message, received.broken)
}

fn is_strict(received: &Received) -> Result<bool, Refusal> {
    match received
        .headers
        .get(VERSION)
        .and_then(|value| value.to_str().ok())
    {
        Some(FIRST) => Ok(false),
        Some(STRICT) => Ok(true),
        Some(other) => {
            let message =
                format!("{VERSION}: `{other}` is not a version, {FIRST} and {STRICT} are");
            Err(Refusal::field(VERSION, message))
        }
        None => Err(Refusal::field(
            VERSION,
            format!("{VERSION}: header is required"),
        )),
    }
}

/// Fields whose absence from the answer a client would notice, and those the version refuses.
fn refuse_unsupported(body: &Map<String, Value>, strict: bool) -> Result<(), Refusal> {
    let is_set = |field: &&str| body.get(*field).is_some_and(|value| !value.is_null());
    let has_tools = body
        .get("tools")
        .and_then(Value::as_array)
        .is_some_and(|tools| !tools.is_empty());
    let unsupported = has_tools
        .then_some("tools")
        .or_else(|| ["thinking", "output_config"].into_iter().find(is_set));
    if let Some(field) = unsupported {
        return Err(Refusal::field(
            field,
            format!("{field}: not supported by the stand-in"),
        ));
    }
    match ["temperature", "top_p", "top_k"].into_iter().find(is_set) {
        Some(field) if strict => Err(Refusal::field(
            field,
            format!("{field}: not accepted by version {STRICT}"),
        )),
        _ => Ok(()),
    }
}

fn conversation(body: &Map<String, Value>, strict: bool) -> Result<Conversation, Refusal> {
    let messages = body
        .get("messages")
        .and_then(Value::as_array)
        .filter(|messages| !messages.is_empty())
        .ok_or_else(|| Refusal::field("messages", "messages: at least one message is required"))?;
    let mut conversation = Conversation::default();
    if let Some(system) = body.get("system") {
        let system = text(system).ok_or_else(|| {
            Refusal::field("system", "system: must be text or a list of text blocks")
        })?;
        conversation.texts.push(system);
    }
    for (index, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        let is_known = matches!(role, "user" | "assistant") || (strict && role == "system");
        if !is_known {
            let field = format!("messages.{index}.role");
            return Err(Refusal::field(
                field.clone(),
                format!("{field}: unexpected role `{role}`"),
            ));
        }
        let text = text(&message["content"]).ok_or_else(|| {
            let field = format!("messages.{index}.content");
            Refusal::field(
                field.clone(),
                format!("{field}: must be text or a list of text blocks"),
            )
        })?;
        if role == "user" {
            conversation.question.clone_from(&text);
        }
        conversation.texts.push(text);
    }
    let is_prefilled = messages
        .last()
        .is_some_and(|last| last["role"] == "assistant");
    if strict && is_prefilled {
        let message =
            "messages: the last message must be the user's, an answer cannot be prefilled";
        return Err(Refusal::field("messages", message));
    }
    Ok(conversation)
}

/// The message as it is before its first piece of text.
fn message(id: &str, model: &str, answer: &Answer) -> Value {
    json!({
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": {
            "input_tokens": answer.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 1,
        },
    })
}

fn events(id: &str, model: &str, answer: &Answer) -> Events {
    let delta = |piece: &String| {
        let delta = json!({"type": "text_delta", "text": piece});
        event(json!({"type": "content_block_delta", "index": 0, "delta": delta}))
    };
    let block = json!({"type": "text", "text": ""});
    let error = Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "a fault that was asked for",
    );
    Events {
        head: vec![
            event(json!({"type": "message_start", "message": message(id, model, answer)})),
            event(json!({"type": "content_block_start", "index": 0, "content_block": block})),
            event(json!({"type": "ping"})),
        ],
        pieces: answer.pieces.iter().map(delta).collect(),
        tail: vec![
            event(json!({"type": "content_block_stop", "index": 0})),
            event(json!({
                "type": "message_delta",
                "delta": {"stop_reason": stop_reason(answer), "stop_sequence": null},
                "usage": {"output_tokens": answer.tokens()},
            })),
            event(json!({"type": "message_stop"})),
        ],
        error: event(error_body(&error)),
    }
}

/// An event's name is its data's type.
fn event(data: Value) -> String {
    let name = data["type"].as_str().unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}

fn stop_reason(answer: &Answer) -> &'static str {
    if answer.truncated {
        "max_tokens"
    } else {
        "end_turn"
    }
}

fn error_body(refusal: &Refusal) -> Value {
    let kind = match refusal.status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": refusal.message}})
}
