//! `/v1/responses` and `/v1/responses/input_tokens`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::HeaderMap;
use serde_json::{Map, Value, json};

use self::spell::Envelope;
use super::chat::{any_object, tier};
use super::logprobs::Logprobs;
use super::tools::{self, Nesting};
use super::{check_length, said, server_error};
use crate::answer::Answer;
use crate::ask::{Ask, thoughts_of};
use crate::intake::{self, Received};
use crate::refusal::Refusal;
use crate::spoil::Whole;
use crate::{StandIn, fields};

mod input;
mod items;
mod spell;

pub(crate) async fn responses(State(stand_in): State<Arc<StandIn>>, request: Request) -> Response {
    let received = intake::receive(&stand_in, request).await;
    said(received.and_then(|received| complete(&stand_in, &received)))
}

pub(crate) async fn input_tokens(
    State(stand_in): State<Arc<StandIn>>,
    request: Request,
) -> Response {
    let received = intake::receive(&stand_in, request).await;
    said(received.and_then(|received| {
        let (ask, _) = read(&stand_in, &received.body)?;
        let tokens = ask.prompt.tokens();
        received.whole(Whole {
            body: json!({"object": "response.input_tokens", "input_tokens": tokens}),
            error: server_error(received.trouble()),
        })
    }))
}

fn complete(stand_in: &StandIn, received: &Received) -> Result<Response, Refusal> {
    let body = &received.body;
    let model = fields::required_text(body, "model")?;
    let (ask, mut said) = read(stand_in, body)?;
    let answer = Answer::to(&ask, &stand_in.desk);
    let envelope = Envelope {
        number: received.number,
        created: stand_in.now(),
        model,
        tier: tier(body)?,
        request: body,
        shown: shown(body, &received.headers)?,
        input: stand_in.prompts.unmarked(&ask.prompt),
    };
    let whole = envelope.whole(&answer);
    if fields::flag(body, "store")? != Some(false) {
        said.extend(whole["output"].as_array().into_iter().flatten().cloned());
        let id = whole["id"].as_str().unwrap_or_default();
        let kept = Map::from_iter([("input".to_owned(), said.into())]);
        stand_in.conversations.keep(id, kept);
    }
    if fields::flag(body, "stream")? == Some(true) {
        let events = envelope.events(&answer, &received.trouble());
        return Ok(received.stream(events, stand_in.pace));
    }
    received.whole(Whole {
        body: whole,
        error: envelope.failed(&received.trouble()),
    })
}

/// What is asked, and all items that were said before the answer.
fn read(stand_in: &StandIn, body: &Map<String, Value>) -> Result<(Ask, Vec<Value>), Refusal> {
    let unsupported = "not supported by the stand-in";
    fields::refuse(body, &["background", "conversation", "prompt"], unsupported)?;
    let mut said = before(stand_in, body)?;
    let old = said.len();
    match fields::field(body, "input") {
        Some(Value::String(text)) => said.push(json!({"role": "user", "content": text})),
        Some(Value::Array(items)) => said.extend(items.iter().cloned()),
        _ => return Err(Refusal::of("input", "must be text or a list of items")),
    }
    let mut ask = input::read(body, &said, old)?;
    ask.tools = tools::callable(body, Nesting::Flat)?;
    ask.parallel = fields::flag(body, "parallel_tool_calls")?.unwrap_or(true);
    ask.form = form(body)?;
    ask.max_tokens = fields::number(body, "max_output_tokens", 1..=u64::MAX)?;
    let reasoning =
        fields::field(body, "reasoning").and_then(|reasoning| reasoning["effort"].as_str());
    if let Some(effort) = reasoning {
        let wrong = || Refusal::of("reasoning.effort", "is not an effort");
        ask.thoughts = thoughts_of(effort).ok_or_else(wrong)?;
    }
    check_length(&ask, "input")?;
    Ok((ask, said))
}

/// What was said in the response that this one goes on from.
fn before(stand_in: &StandIn, body: &Map<String, Value>) -> Result<Vec<Value>, Refusal> {
    let Some(id) = fields::text(body, "previous_response_id")? else {
        return Ok(Vec::new());
    };
    let Some(kept) = stand_in.conversations.find(id) else {
        let message = format!("Previous response with id '{id}' not found.");
        let refusal = Refusal::field("previous_response_id", message);
        return Err(refusal.with_code("previous_response_not_found"));
    };
    Ok(fields::list(&kept, "input")?.to_vec())
}

/// The schema of an answer that must be JSON.
fn form(body: &Map<String, Value>) -> Result<Option<Value>, Refusal> {
    let Some(format) = fields::field(body, "text").and_then(|text| text.get("format")) else {
        return Ok(None);
    };
    match format["type"].as_str().unwrap_or_default() {
        "text" => Ok(None),
        "json_object" => Ok(Some(any_object())),
        "json_schema" if !format["name"].is_string() => {
            Err(Refusal::of("text.format.name", "field required"))
        }
        "json_schema" if format["schema"].is_object() => Ok(Some(format["schema"].clone())),
        "json_schema" => Err(Refusal::of("text.format.schema", "field required")),
        other => {
            let wrong = format!("`{other}` is not a format");
            Err(Refusal::of("text.format.type", &wrong))
        }
    }
}

/// What of an answer is shown where it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    /// Reasoning, so that it can be sent back.
    pub(super) is_reasoning_sealed: bool,
    pub(super) has_summary: bool,
    pub(super) logprobs: Option<Logprobs>,
}

fn shown(body: &Map<String, Value>, headers: &HeaderMap) -> Result<Shown, Refusal> {
    let include = fields::list(body, "include")?;
    let has = |name: &str| include.iter().any(|item| item == name);
    let top = fields::number(body, "top_logprobs", 0..=20)?.unwrap_or(0);
    let top = has("message.output_text.logprobs").then_some(top as usize);
    let summary = fields::field(body, "reasoning").map(|reasoning| &reasoning["summary"]);
    Ok(Shown {
        is_reasoning_sealed: has("reasoning.encrypted_content"),
        has_summary: summary.is_some_and(Value::is_string),
        logprobs: Logprobs::of(top, headers)?,
    })
}
