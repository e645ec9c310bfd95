//! Phase 7: an answer in our words becomes what an OpenAI SDK expects, whole or as a stream.

mod message;

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::answer::{Begin, End, Event, Usage};
use crate::refusal::Refusal;
use message::Message;

/// Balancers cut a connection that is silent for a minute.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(10);
/// The longest answer that is gathered for a client that wants it whole.
const MOST_GATHERED_BYTES: usize = 16 << 20;

/// What every part of one answer carries.
#[derive(Clone)]
pub(crate) struct Encoder {
    /// Of the decision.
    pub id: String,
    /// The model as the client called it.
    pub model: String,
    /// Seconds since the epoch.
    pub created: i64,
    pub include_usage: bool,
    /// How much silence a stream may have.
    pub ping_every: Duration,
}

/// An answer that was gathered, and what is known about it.
pub(crate) struct Whole {
    pub body: Value,
    pub begin: Begin,
    pub end: End,
}

/// A refusal, and whether money was spent before it.
pub(crate) type Refused = (Refusal, bool);

impl Encoder {
    /// Gathers an answer to its end.
    pub async fn whole(&self, mut events: mpsc::Receiver<Event>) -> Result<Whole, Refused> {
        let mut begin = Begin::default();
        let mut message = Message::default();
        while let Some(event) = events.recv().await {
            match event {
                Event::Begin(begun) => begin = begun,
                Event::Restart => message = Message::default(),
                Event::Piece(piece) => {
                    message.add(piece);
                    if message.bytes > MOST_GATHERED_BYTES {
                        return Err((Refusal::Defect, true));
                    }
                }
                Event::Fail {
                    refusal,
                    money_was_spent,
                } => return Err((refusal, money_was_spent)),
                Event::End(end) => {
                    let body = self.completion(message, &end);
                    return Ok(Whole { body, begin, end });
                }
            }
        }
        // Whoever had the ask in hand is gone without a word.
        Err((Refusal::Defect, false))
    }

    fn completion(&self, message: Message, end: &End) -> Value {
        let logprobs = message
            .logprobs
            .map_or(Value::Null, |content| json!({ "content": content }));
        let mut said = Map::new();
        said.insert("role".into(), "assistant".into());
        let calls_tools =
            !message.tool_calls.is_empty() || message.rest.contains_key("function_call");
        said.insert(
            "content".into(),
            match message.text.is_empty() && calls_tools {
                true => Value::Null,
                false => message.text.into(),
            },
        );
        said.insert("refusal".into(), Value::Null);
        said.extend(message.rest);
        if !message.tool_calls.is_empty() {
            said.insert("tool_calls".into(), message.tool_calls.into());
        }
        json!({
            "id": self.id(),
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": said,
                "logprobs": logprobs,
                "finish_reason": end.finish_reason,
            }],
            "usage": usage(end.usage),
        })
    }

    /// The body of a stream. `first` is what came while the headers waited.
    pub fn stream(self, first: Option<Event>, events: mpsc::Receiver<Event>) -> Body {
        let streaming = Streaming {
            encoder: self,
            first,
            events,
            is_over: false,
        };
        Body::from_stream(stream::unfold(streaming, |mut streaming| async move {
            let text = streaming.next().await?;
            Some((Ok::<_, Infallible>(text), streaming))
        }))
    }

    /// What one event is on the wire. `None`: whoever had the ask in hand is gone.
    fn encode(&self, event: Option<Event>) -> String {
        match event {
            Some(Event::Begin(_)) => {
                let delta = json!({ "role": "assistant", "content": "" });
                self.chunk(delta, None, Value::Null)
            }
            // Nothing was shown when this is sent, so nothing has to be taken back.
            Some(Event::Restart) => String::new(),
            Some(Event::Piece(piece)) => {
                let mut delta = piece.rest;
                if !piece.text.is_empty() {
                    delta.insert("content".into(), piece.text.into());
                }
                self.chunk(Value::Object(delta), piece.logprobs, Value::Null)
            }
            Some(Event::End(end)) => {
                let mut text = self.chunk(json!({}), None, end.finish_reason.into());
                if self.include_usage {
                    let mut chunk = self.envelope(json!([]));
                    chunk["usage"] = usage(end.usage);
                    text.push_str(&data(&chunk));
                }
                text.push_str("data: [DONE]\n\n");
                text
            }
            Some(Event::Fail { refusal, .. }) => data(&refusal.body()),
            None => data(&Refusal::Defect.body()),
        }
    }

    fn chunk(&self, delta: Value, logprobs: Option<Value>, finish_reason: Value) -> String {
        let choice = json!({
            "index": 0,
            "delta": delta,
            "logprobs": logprobs.unwrap_or(Value::Null),
            "finish_reason": finish_reason,
        });
        let mut chunk = self.envelope(json!([choice]));
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        data(&chunk)
    }

    fn envelope(&self, choices: Value) -> Value {
        json!({
            "id": self.id(),
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }

    fn id(&self) -> String {
        format!("chatcmpl-{}", self.id)
    }
}

/// A stream on its way to the client.
struct Streaming {
    encoder: Encoder,
    first: Option<Event>,
    events: mpsc::Receiver<Event>,
    is_over: bool,
}

impl Streaming {
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        let event = match self.first.take() {
            Some(first) => Some(first),
            None => match timeout(self.encoder.ping_every, self.events.recv()).await {
                Ok(event) => event,
                Err(_) => return Some(Bytes::from_static(b": ping\n\n")),
            },
        };
        self.is_over = matches!(event, None | Some(Event::End(_) | Event::Fail { .. }));
        Some(self.encoder.encode(event).into())
    }
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": { "cached_tokens": usage.cached },
    })
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

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
    if !begin.dropped.is_empty() {
        set("x-weir-dropped", begin.dropped.join(", "));
    }
}

/// A whole answer as a response.
pub(crate) fn respond(whole: &Whole) -> Response<Body> {
    let mut response = json_response(StatusCode::OK, &whole.body);
    let begin = Begin {
        score: whole.end.score.or(whole.begin.score),
        is_unsure: whole.end.is_unsure || whole.begin.is_unsure,
        ..whole.begin.clone()
    };
    begin_headers(&begin, response.headers_mut());
    if let Ok(cost) = HeaderValue::from_str(&whole.end.cost.to_string()) {
        response.headers_mut().insert("x-weir-cost", cost);
    }
    response
}

/// A refusal as a response.
pub(crate) fn refuse(refusal: &Refusal, money_was_spent: bool) -> Response<Body> {
    let mut response = json_response(refusal.status(), &refusal.body());
    let headers = response.headers_mut();
    let should_retry = match refusal.should_retry(money_was_spent) {
        true => "true",
        false => "false",
    };
    headers.insert("x-should-retry", HeaderValue::from_static(should_retry));
    if let Some(seconds) = refusal.retry_after_seconds() {
        headers.insert(header::RETRY_AFTER, seconds.into());
        headers.insert("retry-after-ms", (seconds * 1000).into());
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
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder() -> Encoder {
        Encoder {
            id: "1".into(),
            model: "assistant".into(),
            created: 0,
            include_usage: false,
            ping_every: Duration::from_millis(5),
        }
    }

    async fn body(body: Body) -> String {
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_stream_that_is_silent_is_kept_alive_and_says_its_error_inside() {
        let (events, received) = mpsc::channel(1);
        let stream = body(encoder().stream(None, received));
        let silence = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let refusal = Refusal::Defect;
            let money_was_spent = false;
            events
                .send(Event::Fail {
                    refusal,
                    money_was_spent,
                })
                .await
                .unwrap();
        };
        let (text, ()) = tokio::join!(stream, silence);
        assert!(text.starts_with(": ping\n\n"), "{text}");
        assert!(text.contains("data: {\"error\":"), "{text}");
        assert!(!text.contains("[DONE]"), "{text}");
    }

    #[tokio::test]
    async fn an_ask_that_nobody_has_in_hand_any_more_ends_in_an_error() {
        let (_, received) = mpsc::channel(1);
        let text = body(encoder().stream(None, received)).await;
        assert!(text.contains("data: {\"error\":"), "{text}");
        let (_, received) = mpsc::channel(1);
        assert!(matches!(
            encoder().whole(received).await,
            Err((Refusal::Defect, _))
        ));
    }
}
