//! Anthropic's wire: `/v1/messages` and `/v1/messages/count_tokens`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use self::input::Read;
use self::spell::Envelope;
use crate::answer::Answer;
use crate::ask::thoughts_of;
use crate::intake::{self, Received};
use crate::refusal::Refusal;
use crate::said::{CONTEXT_TOKENS, MOST_WRITTEN_TOKENS};
use crate::spoil::Whole;
use crate::{MODEL, StandIn, fields};

mod blocks;
mod input;
mod sources;
mod spell;
mod threads;
mod tools;

/// The header that names the version of the wire.
pub(crate) const VERSION: &str = "anthropic-version";

const FIRST: &str = "2023-06-01";
/// From here on sampling fields and a prefilled answer are refused, and a system message may
/// stand among the others.
const STRICT: &str = "2026-10-21";

/// The least that may be spent on thinking, in tokens.
const LEAST_BUDGET_TOKENS: u64 = 1024;

/// How many sentences are thought where no effort says it.
const THOUGHTS: usize = 2;

/// Most texts that may end an answer.
const MOST_STOPS: usize = 16;

pub(crate) async fn messages(State(stand_in): State<Arc<StandIn>>, request: Request) -> Response {
    let received = intake::receive(&stand_in, request).await;
    said(received.and_then(|received| complete(&stand_in, &received)))
}

pub(crate) async fn count_tokens(
    State(stand_in): State<Arc<StandIn>>,
    request: Request,
) -> Response {
    let received = intake::receive(&stand_in, request).await;
    said(received.and_then(|received| {
        let is_strict = is_strict(&received.headers)?;
        let read = input::read(&received.body, is_strict)?;
        received.whole(Whole {
            body: json!({"input_tokens": read.ask.prompt.tokens()}),
            error: server_error(received.trouble()),
        })
    }))
}

pub(crate) fn models() -> Value {
    json!({"data": [model(MODEL)], "has_more": false, "first_id": MODEL, "last_id": MODEL})
}

pub(crate) fn model(id: &str) -> Value {
    json!({
        "type": "model",
        "id": id,
        "display_name": "Stand-in for a frontier model",
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": CONTEXT_TOKENS,
        "max_tokens": MOST_WRITTEN_TOKENS,
    })
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

fn complete(stand_in: &StandIn, received: &Received) -> Result<Response, Refusal> {
    let is_strict = is_strict(&received.headers)?;
    let body = threads::whole(&received.body, &received.headers, &stand_in.conversations)?;
    let body = body.as_ref();
    let model = fields::required_text(body, "model")?;
    let Read { ask, paused } = read(body, is_strict)?;
    let answer = Answer::to(&ask, &stand_in.desk);
    let envelope = Envelope {
        number: received.number,
        model: model.to_owned(),
        input: stand_in.prompts.marked(&ask.prompt),
        is_thought_shown: body
            .get("thinking")
            .is_none_or(|config| config["display"] != "omitted"),
        paused,
    };
    let error = server_error(received.trouble());
    let whole = envelope.whole(&answer);
    let id = whole["id"].as_str().unwrap_or_default();
    threads::keep(body, id, whole["content"].clone(), &stand_in.conversations);
    let response = if fields::flag(body, "stream")? == Some(true) {
        let events = envelope.events(&answer, error);
        received.stream(events, stand_in.pace)
    } else {
        received.whole(Whole { body: whole, error })?
    };
    let prompt = ask.prompt.tokens();
    stand_in.bill.charge(prompt, answer.tokens());
    Ok(response)
}

fn read(body: &Map<String, Value>, is_strict: bool) -> Result<Read, Refusal> {
    if is_strict {
        let wrong = format!("not accepted by version {STRICT}");
        fields::refuse(body, &["temperature", "top_p", "top_k"], &wrong)?;
    }
    let max_tokens = fields::number(body, "max_tokens", 0..=u64::MAX)?
        .ok_or_else(|| Refusal::of("max_tokens", "field required"))?;
    let mut read = input::read(body, is_strict)?;
    let ask = &mut read.ask;
    (ask.tools, ask.parallel) = tools::callable(body)?;
    ask.max_tokens = Some(max_tokens);
    ask.stops = fields::texts(body, "stop_sequences", MOST_STOPS)?;
    let effort = config(body, "output_config", "effort");
    let effort = effort.map(|effort| {
        let thoughts = effort.as_str().and_then(thoughts_of);
        thoughts.ok_or_else(|| Refusal::of("output_config.effort", "is not an effort"))
    });
    let effort = effort.transpose()?;
    ask.thoughts = thoughts(body, effort, max_tokens)?;
    if let Some(format) = config(body, "output_config", "format") {
        if format["type"] != "json_schema" || !format["schema"].is_object() {
            let wrong = "must be of type json_schema and have a schema";
            return Err(Refusal::of("output_config.format", wrong));
        }
        ask.form = Some(format["schema"].clone());
    }
    Ok(read)
}

fn config<'a>(body: &'a Map<String, Value>, name: &str, entry: &str) -> Option<&'a Value> {
    let config = fields::field(body, name)?;
    config.get(entry).filter(|value| !value.is_null())
}

/// How many sentences are thought.
fn thoughts(
    body: &Map<String, Value>,
    effort: Option<usize>,
    max_tokens: u64,
) -> Result<usize, Refusal> {
    let Some(thinking) = fields::field(body, "thinking") else {
        return Ok(0);
    };
    match thinking["type"].as_str().unwrap_or_default() {
        "disabled" | "between_tools" => return Ok(0),
        "adaptive" => {}
        "enabled" => {
            let budget = thinking["budget_tokens"].as_u64().unwrap_or(0);
            if !(LEAST_BUDGET_TOKENS..max_tokens).contains(&budget) {
                let wrong =
                    format!("must be {LEAST_BUDGET_TOKENS} or more and less than max_tokens");
                return Err(Refusal::of("thinking.budget_tokens", &wrong));
            }
        }
        other => {
            let wrong = format!("`{other}` is not a kind of thinking");
            return Err(Refusal::of("thinking.type", &wrong));
        }
    }
    if matches!(
        config(body, "tool_choice", "type").and_then(Value::as_str),
        Some("any" | "tool")
    ) {
        let wrong = "may not be enabled where tool_choice forces a call";
        return Err(Refusal::of("thinking", wrong));
    }
    Ok(effort.unwrap_or(THOUGHTS))
}

fn is_strict(headers: &HeaderMap) -> Result<bool, Refusal> {
    match headers.get(VERSION).and_then(|value| value.to_str().ok()) {
        Some(FIRST) => Ok(false),
        Some(STRICT) => Ok(true),
        Some(other) => {
            let wrong = format!("`{other}` is not a version, {FIRST} and {STRICT} are");
            Err(Refusal::of(VERSION, &wrong))
        }
        None => Err(Refusal::of(VERSION, "header is required")),
    }
}

pub(crate) fn server_error(message: String) -> Value {
    error_body(&Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message))
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
    let mut error = json!({"type": kind, "message": refusal.message});
    if let Some(details) = &refusal.details {
        error["details"] = Value::clone(details);
    }
    json!({"type": "error", "error": error})
}
