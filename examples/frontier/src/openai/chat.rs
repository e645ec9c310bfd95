//! `/v1/chat/completions`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use self::spell::Envelope;
use super::logprobs::Logprobs;
use super::tools::{self, Nesting};
use super::{check_length, said, server_error};
use crate::StandIn;
use crate::answer::Answer;
use crate::ask::{Ask, thoughts_of};
use crate::fields;
use crate::intake::{self, Received};
use crate::refusal::Refusal;
use crate::spoil::Whole;

mod messages;
mod spell;

/// Most answers to one request.
pub(super) const MOST_CHOICES: u64 = 8;

/// Most texts that may end an answer.
pub(super) const MOST_STOPS: usize = 4;

pub(crate) async fn chat(State(stand_in): State<Arc<StandIn>>, request: Request) -> Response {
    let received = intake::receive(&stand_in, request).await;
    said(received.and_then(|received| complete(&stand_in, &received)))
}

fn complete(stand_in: &StandIn, received: &Received) -> Result<Response, Refusal> {
    let body = &received.body;
    let model = fields::required_text(body, "model")?;
    let ask = read(body)?;
    let count = fields::number(body, "n", 1..=MOST_CHOICES)?.unwrap_or(1);
    let options = fields::field(body, "stream_options")
        .cloned()
        .unwrap_or_default();
    let envelope = Envelope {
        id: format!("chatcmpl-stand-in-{}", received.number),
        created: stand_in.now(),
        model: model.to_owned(),
        tier: tier(body)?,
        logprobs: Logprobs::of(top_logprobs(body)?, &received.headers)?,
        has_usage: options["include_usage"] == true,
        is_obfuscated: options["include_obfuscation"] == true,
        input: stand_in.prompts.unmarked(&ask.prompt),
    };
    let answer = Answer::to(&ask, &stand_in.desk);
    let answers: Vec<Answer> = (0..count).map(|index| answer.choice(index, &ask)).collect();
    let error = server_error(received.trouble());
    let response = if fields::flag(body, "stream")? == Some(true) {
        let events = envelope.events(&answers, error);
        received.stream(events, stand_in.pace)
    } else {
        received.whole(Whole {
            body: envelope.whole(&answers),
            error,
        })?
    };
    let written = answers.iter().map(Answer::tokens).sum();
    stand_in.bill.charge(ask.prompt.tokens(), written);
    Ok(response)
}

fn read(body: &Map<String, Value>) -> Result<Ask, Refusal> {
    let legacy = "not supported by the stand-in: use tools";
    fields::refuse(body, &["functions", "function_call"], legacy)?;
    let unsupported = "not supported by the stand-in";
    fields::refuse(body, &["audio", "web_search_options"], unsupported)?;
    let mut ask = messages::read(body)?;
    ask.tools = tools::callable(body, Nesting::ByType)?;
    ask.parallel = fields::flag(body, "parallel_tool_calls")?.unwrap_or(true);
    ask.form = form(body)?;
    ask.stops = fields::texts(body, "stop", MOST_STOPS)?;
    ask.max_tokens = max_tokens(body)?;
    if let Some(effort) = fields::text(body, "reasoning_effort")? {
        let wrong = || Refusal::of("reasoning_effort", "is not an effort");
        ask.thoughts = thoughts_of(effort).ok_or_else(wrong)?;
    }
    check_length(&ask, "messages")?;
    Ok(ask)
}

/// The schema of an answer that must be JSON.
fn form(body: &Map<String, Value>) -> Result<Option<Value>, Refusal> {
    let Some(format) = fields::field(body, "response_format") else {
        return Ok(None);
    };
    match format["type"].as_str().unwrap_or_default() {
        "text" => Ok(None),
        "json_object" => Ok(Some(any_object())),
        "json_schema" => match &format["json_schema"] {
            spec if !spec["name"].is_string() => Err(Refusal::of(
                "response_format.json_schema.name",
                "field required",
            )),
            spec if spec["schema"].is_object() => Ok(Some(spec["schema"].clone())),
            _ => Ok(Some(any_object())),
        },
        other => Err(Refusal::of(
            "response_format.type",
            &format!("`{other}` is not a format"),
        )),
    }
}

/// What is made where any object will do.
pub(super) fn any_object() -> Value {
    json!({
        "type": "object",
        "properties": {"answer": {"type": "string"}},
        "required": ["answer"],
    })
}

fn max_tokens(body: &Map<String, Value>) -> Result<Option<u64>, Refusal> {
    for field in ["max_completion_tokens", "max_tokens"] {
        if let Some(tokens) = fields::number(body, field, 1..=u64::MAX)? {
            return Ok(Some(tokens));
        }
    }
    Ok(None)
}

fn top_logprobs(body: &Map<String, Value>) -> Result<Option<usize>, Refusal> {
    let top = fields::number(body, "top_logprobs", 0..=20)?;
    match fields::flag(body, "logprobs")? {
        Some(true) => Ok(Some(top.map_or(0, |top| top as usize))),
        _ if top.is_some() => Err(Refusal::of("top_logprobs", "needs logprobs to be true")),
        _ => Ok(None),
    }
}

/// The tier that an answer claims: what was asked for, where that is one.
pub(super) fn tier(body: &Map<String, Value>) -> Result<&'static str, Refusal> {
    match fields::text(body, "service_tier")? {
        None | Some("auto" | "default") => Ok("default"),
        Some("flex") => Ok("flex"),
        Some("priority") => Ok("priority"),
        Some("fast") => Ok("fast"),
        Some("scale") => Ok("scale"),
        Some(_) => Err(Refusal::of("service_tier", "is not a tier")),
    }
}
