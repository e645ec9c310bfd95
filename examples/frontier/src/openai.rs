//! OpenAI's wire: `/v1/chat/completions` and `/v1/models`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Conversation};
use crate::delivery::{self, Events};
use crate::intake::{self, Received};
use crate::refusal::Refusal;
use crate::{MODEL, StandIn, anthropic};

pub(crate) async fn chat(State(stand_in): State<Arc<StandIn>>, request: Request) -> Response {
    let outcome = match intake::receive(&stand_in, request).await {
        Ok(received) => complete(&stand_in, &received),
        Err(refusal) => Err(refusal),
    };
    outcome.unwrap_or_else(refuse)
}

/// The one model, in the shape of whichever wire asks.
pub(crate) async fn models(State(stand_in): State<Arc<StandIn>>, request: Request) -> Response {
    let is_anthropic = request.headers().contains_key(anthropic::VERSION);
    match intake::receive(&stand_in, request).await {
        Ok(_) if is_anthropic => Json(anthropic::models()).into_response(),
        Ok(_) => {
            let model = json!({"id": MODEL, "object": "model", "created": 0, "owned_by": "weir"});
            Json(json!({"object": "list", "data": [model]})).into_response()
        }
        Err(refusal) if is_anthropic => anthropic::refuse(refusal),
        Err(refusal) => refuse(refusal),
    }
}

pub(crate) async fn not_found(request: Request) -> Response {
    let message = format!("there is no {} {}", request.method(), request.uri().path());
    refuse(Refusal::new(StatusCode::NOT_FOUND, message))
}

fn complete(stand_in: &StandIn, received: &Received) -> Result<Response, Refusal> {
    let body = &received.body;
    refuse_unsupported(body)?;
    let model = body
        .get("model")
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::field("model", "model is required"))?;
    let answer = Answer::to(&conversation(body)?, &stand_in.desk);
    let envelope = Envelope {
        id: format!("chatcmpl-stand-in-{}", received.number),
        created: stand_in.now(),
        model: model.to_owned(),
    };
    if body.get("stream").and_then(Value::as_bool) != Some(true) {
        return delivery::whole(&envelope.whole(&answer), received.broken);
    }
    let include_usage = body
        .get("stream_options")
        .and_then(|options| options["include_usage"].as_bool())
        .unwrap_or(false);
    let events = envelope.events(&answer, include_usage);
    Ok(delivery::streamed(events, stand_in.pace, received.broken))
}

/// Fields whose absence from the answer a client would notice.
fn refuse_unsupported(body: &Map<String, Value>) -> Result<(), Refusal> {
    let is_set = |field: &str| match body.get(field) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(entries)) => !entries.is_empty(),
        Some(_) => true,
    };
    let unsupported = [
        "tools",
        "functions",
        "logprobs",
        "top_logprobs",
        "logit_bias",
    ]
    .into_iter()
    .find(|field| is_set(field))
    .or_else(|| (body.get("n").is_some_and(|n| !n.is_null() && n != 1)).then_some("n"))
    .or_else(|| {
        let format = body
            .get("response_format")
            .filter(|format| !format.is_null())?;
        (format["type"] != "text").then_some("response_format")
    });
    match unsupported {
        None => Ok(()),
        Some(field) => Err(Refusal::field(
            field,
            format!("{field} is not supported by the stand-in"),
        )),
    }
}

fn conversation(body: &Map<String, Value>) -> Result<Conversation, Refusal> {
    let messages = body
        .get("messages")
        .and_then(Value::as_array)
        .filter(|messages| !messages.is_empty())
        .ok_or_else(|| {
            Refusal::field(
                "messages",
                "messages must be a list of at least one message",
            )
        })?;
    let mut conversation = Conversation {
        max_tokens: max_tokens(body)?,
        ..Conversation::default()
    };
    for (index, message) in messages.iter().enumerate() {
        let field = |name: &str| format!("messages[{index}].{name}");
        let role = message["role"].as_str().unwrap_or_default();
        if !["system", "developer", "user", "assistant", "tool"].contains(&role) {
            return Err(Refusal::field(
                field("role"),
                format!("`{role}` is not a role"),
            ));
        }
        let text = text(&message["content"]).ok_or_else(|| {
            Refusal::field(
                field("content"),
                "content must be text or a list of text parts",
            )
        })?;
        if role == "user" {
            conversation.question.clone_from(&text);
        }
        conversation.texts.push(text);
    }
    Ok(conversation)
}

fn max_tokens(body: &Map<String, Value>) -> Result<Option<u64>, Refusal> {
    for field in ["max_completion_tokens", "max_tokens"] {
        match body.get(field) {
            None | Some(Value::Null) => {}
            Some(value) => {
                return value
                    .as_u64()
                    .filter(|&tokens| tokens > 0)
                    .map(Some)
                    .ok_or_else(|| {
                        Refusal::field(field, format!("{field} must be a positive number"))
                    });
            }
        }
    }
    Ok(None)
}

/// A content's text: a string, or a list of text parts. Null is empty, as an assistant's may be.
pub(crate) fn text(content: &Value) -> Option<String> {
    match content {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts
            .iter()
            .map(|part| part["text"].as_str().filter(|_| part["type"] == "text"))
            .collect(),
        _ => None,
    }
}

/// What every chunk of an answer repeats.
struct Envelope {
    id: String,
    created: u64,
    model: String,
}

impl Envelope {
    fn whole(&self, answer: &Answer) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": answer.text(), "refusal": null},
                "logprobs": null,
                "finish_reason": finish_reason(answer),
            }],
            "usage": usage(answer),
        })
    }

    fn events(&self, answer: &Answer, include_usage: bool) -> Events {
        let chunk = |choices: Value, usage: Option<Value>| {
            let mut chunk = json!({
                "id": self.id,
                "object": "chat.completion.chunk",
                "created": self.created,
                "model": self.model,
                "choices": choices,
            });
            if include_usage {
                chunk["usage"] = usage.unwrap_or(Value::Null);
            }
            event(&chunk)
        };
        let choice = |delta: Value, finish: Option<&str>| {
            let choice =
                json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
            chunk(json!([choice]), None)
        };
        let mut tail = vec![choice(json!({}), Some(finish_reason(answer)))];
        if include_usage {
            tail.push(chunk(json!([]), Some(usage(answer))));
        }
        tail.push("data: [DONE]\n\n".to_owned());
        let error = Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a fault that was asked for",
        );
        Events {
            head: vec![choice(
                json!({"role": "assistant", "content": "", "refusal": null}),
                None,
            )],
            pieces: answer
                .pieces
                .iter()
                .map(|piece| choice(json!({"content": piece}), None))
                .collect(),
            tail,
            error: event(&error_body(&error)),
        }
    }
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn finish_reason(answer: &Answer) -> &'static str {
    if answer.truncated { "length" } else { "stop" }
}

fn usage(answer: &Answer) -> Value {
    json!({
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.tokens(),
        "total_tokens": answer.prompt_tokens + answer.tokens(),
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    })
}

fn refuse(refusal: Refusal) -> Response {
    let mut response = (refusal.status, Json(error_body(&refusal))).into_response();
    say_when(&mut response, &refusal);
    response
}

/// When to come again, in both spellings that SDKs read.
pub(crate) fn say_when(response: &mut Response, refusal: &Refusal) {
    if let Some(after) = refusal.retry_after {
        let headers = response.headers_mut();
        let seconds = after.as_millis().div_ceil(1000);
        let millis = HeaderName::from_static("retry-after-ms");
        for (name, number) in [(header::RETRY_AFTER, seconds), (millis, after.as_millis())] {
            let value =
                HeaderValue::from_str(&number.to_string()).expect("digits are a header value");
            headers.insert(name, value);
        }
    }
}

fn error_body(refusal: &Refusal) -> Value {
    let (kind, code) = match refusal.status.as_u16() {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        429 => ("requests", Some("rate_limit_exceeded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    json!({"error": {"message": refusal.message, "type": kind, "param": refusal.field, "code": code}})
}
