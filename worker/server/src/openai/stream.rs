//! An answer as server-sent events: every piece an object, an error as the last one, then `[DONE]`.
//!
//! A stream that breaks off without `[DONE]` looks like a normal end to the SDK, so a failure after
//! the headers is an event of its own.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use futures::{
    Stream, StreamExt,
    stream::{iter, unfold},
};
use serde_json::{Map, Value, json};
use weir_worker_api::{self as api, generate_event::Event};

use super::{
    error::WireError,
    logprobs::Logprobs,
    response::{Envelope, Usage, finish_reason},
};
use crate::serving::{Generation, Serving};

/// What the client wants to see beside the text.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub include_usage: bool,
    pub logprobs: bool,
    pub choices: u32,
}

/// A response whose body follows `generation`. Dropping it cancels the work.
pub fn answer(
    serving: Arc<Serving>,
    envelope: Envelope,
    generation: Generation,
    asked: Asked,
) -> Response {
    let writing = Writing {
        serving,
        envelope,
        asked,
        usage: Usage::default(),
    };
    let state = Some((writing, generation));
    let pieces = unfold(state, |state| async move {
        let (mut writing, mut generation) = state?;
        match generation.next().await {
            Some(Ok(event)) => Some((writing.pieces(event), Some((writing, generation)))),
            Some(Err(refusal)) => Some((vec![WireError::from(refusal).body()], None)),
            None => Some((writing.end(), None)),
        }
    });
    events(pieces)
}

/// A response of pieces as they come. Where the last is an error, nothing came after it.
pub fn events(pieces: impl Stream<Item = Vec<Value>> + Send + 'static) -> Response {
    let frames = pieces
        .flat_map(|pieces| iter(pieces.into_iter().map(frame)))
        .chain(iter(["data: [DONE]\n\n".to_owned()]))
        .map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn frame(piece: Value) -> String {
    format!("data: {piece}\n\n")
}

struct Writing {
    serving: Arc<Serving>,
    envelope: Envelope,
    asked: Asked,
    usage: Usage,
}

impl Writing {
    fn pieces(&mut self, event: Event) -> Vec<Value> {
        match event {
            Event::Started(started) => {
                self.usage.cached_tokens = started.cached_tokens;
                (0..self.asked.choices)
                    .map(|choice| self.piece(choice, json!({ "role": "assistant", "content": "" })))
                    .collect()
            }
            // Nobody asks for it here.
            Event::Prompt(_) => Vec::new(),
            Event::Tokens(tokens) => {
                self.usage.see(&tokens.tokens);
                let mut delta = delta(&tokens);
                let logprobs = self
                    .asked
                    .logprobs
                    .then(|| Logprobs::of(&self.serving, tokens.tokens))
                    .filter(|shown| !shown.is_empty());
                if delta.is_empty() {
                    if logprobs.is_none() {
                        return Vec::new();
                    }
                    delta.insert("content".into(), "".into());
                }
                let mut piece = self.piece(tokens.choice, delta.into());
                if let Some(shown) = logprobs {
                    piece["choices"][0]["logprobs"] = json!(shown);
                }
                vec![piece]
            }
            Event::Finished(finished) => {
                self.usage.add(&finished);
                let mut piece = self.piece(finished.choice, json!({}));
                piece["choices"][0]["finish_reason"] = finish_reason(finished.reason()).into();
                vec![piece]
            }
        }
    }

    /// What comes after the last choice has finished.
    fn end(&self) -> Vec<Value> {
        if !self.asked.include_usage {
            return Vec::new();
        }
        let mut last = self.envelope.object("chat.completion.chunk", Vec::new());
        last.insert("usage".into(), self.usage.object());
        vec![last.into()]
    }

    fn piece(&self, choice: u32, delta: Value) -> Value {
        let choice = json!({
            "index": choice,
            "delta": delta,
            "logprobs": null,
            "finish_reason": null,
        });
        let mut piece = self.envelope.object("chat.completion.chunk", vec![choice]);
        if self.asked.include_usage {
            piece.insert("usage".into(), Value::Null);
        }
        piece.into()
    }
}

/// What is new of a choice.
fn delta(tokens: &api::Tokens) -> Map<String, Value> {
    let mut delta = Map::new();
    if !tokens.text.is_empty() {
        let name = match tokens.channel() {
            api::Channel::Answer => "content",
            api::Channel::Reasoning => "reasoning_content",
        };
        delta.insert(name.into(), tokens.text.clone().into());
    }
    if !tokens.tool_calls.is_empty() {
        let calls = tokens.tool_calls.iter().map(|piece| {
            if piece.name.is_empty() {
                return json!({
                    "index": piece.index,
                    "function": { "arguments": piece.arguments },
                });
            }
            json!({
                "index": piece.index,
                "id": piece.id,
                "type": "function",
                "function": { "name": piece.name, "arguments": piece.arguments },
            })
        });
        delta.insert("tool_calls".into(), calls.collect());
    }
    delta
}
