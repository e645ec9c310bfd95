//! Chunks of a chat completion.

use serde_json::Value;

use super::{Taken, Unreadable, tokens};
use crate::answer::{CallPiece, Piece, Stop, Usage};
use crate::attempt::Finish;

/// A call that names a higher place than this has lost its way.
const MOST_CALLS: u64 = 128;

pub(super) struct Reader {
    pub stops: Stops,
    usage: Usage,
}

/// Why each choice ended, as far as that is known.
pub(super) struct Stops(Vec<Option<Stop>>);

impl Stops {
    pub fn new(choices: usize) -> Self {
        Self(vec![None; choices])
    }

    pub fn set(&mut self, choice: u32, stop: Stop) {
        if let Some(known) = self.0.get_mut(choice as usize) {
            *known = Some(stop);
        }
    }

    pub fn has(&self, choice: u32) -> bool {
        (choice as usize) < self.0.len()
    }

    pub fn has_all(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    pub fn all(&self) -> Option<Vec<Stop>> {
        self.0.iter().cloned().collect()
    }
}

/// OpenAI's word for why a choice ended.
pub(super) fn stop(word: &str) -> Stop {
    match word {
        "length" => Stop::Length,
        "tool_calls" | "function_call" => Stop::Calls,
        "content_filter" => Stop::Refusal,
        _ => Stop::Turn,
    }
}

/// What OpenAI says of the tokens of a chat or a completion; nothing where it cannot be true.
pub(super) fn usage(event: &Value) -> Option<Usage> {
    let usage = event.get("usage").filter(|usage| usage.is_object())?;
    let details = |of: &str, member: &str| tokens(&usage[of], member).unwrap_or(0);
    Some(Usage {
        prompt: tokens(usage, "prompt_tokens")?,
        cached: details("prompt_tokens_details", "cached_tokens"),
        cache_written: details("prompt_tokens_details", "cache_write_tokens"),
        // A prompt alone may be counted where nothing was written.
        completion: tokens(usage, "completion_tokens").unwrap_or(0),
        reasoning: details("completion_tokens_details", "reasoning_tokens"),
    })
}

impl Reader {
    pub fn new(choices: usize) -> Self {
        Self {
            stops: Stops::new(choices),
            usage: Usage::default(),
        }
    }

    pub fn take(&mut self, mut event: Value, is_native: bool) -> Result<Taken, Unreadable> {
        if let Some(usage) = usage(&event) {
            self.usage = usage;
        }
        let Some(Value::Array(choices)) = event.get_mut("choices").map(Value::take) else {
            return Ok(Taken::Pieces(Vec::new()));
        };
        let mut pieces = Vec::new();
        for choice in choices {
            let index = choice["index"].as_u64().unwrap_or(0);
            let index = u32::try_from(index).map_err(|_| Unreadable::Garbage)?;
            if !self.stops.has(index) {
                return Err(Unreadable::Garbage);
            }
            if let Some(word) = choice["finish_reason"].as_str() {
                self.stops.set(index, stop(word));
            }
            let mut piece = piece(index, &choice)?;
            if is_native && is_worth_showing(&choice, &piece) {
                let mut native = event.clone();
                native["choices"] = Value::Array(vec![choice]);
                piece.native = Some(native);
            }
            pieces.push(piece);
        }
        Ok(Taken::Pieces(pieces))
    }

    pub fn finish(&mut self) -> Option<Finish> {
        Some(Finish {
            stops: self.stops.all()?,
            usage: self.usage,
            native: None,
        })
    }
}

/// Whether a chunk says more than that an answer begins or ends, which is said for every answer.
fn is_worth_showing(choice: &Value, piece: &Piece) -> bool {
    let delta = choice["delta"].as_object();
    let mut others = delta.into_iter().flatten().filter(|(field, value)| {
        !matches!(field.as_str(), "role" | "content" | "refusal") && !value.is_null()
    });
    !piece.says_nothing() || others.next().is_some()
}

fn piece(index: u32, choice: &Value) -> Result<Piece, Unreadable> {
    let delta = &choice["delta"];
    let text = |member: &str| delta[member].as_str().unwrap_or_default().to_owned();
    let logprobs = choice["logprobs"]["content"].as_array();
    let reasoning = match delta["reasoning_content"].is_string() {
        true => text("reasoning_content"),
        // Some open servers say it so.
        false => text("reasoning"),
    };
    Ok(Piece {
        choice: index,
        text: text("content"),
        reasoning,
        refusal: text("refusal"),
        calls: calls(delta)?,
        logprobs: logprobs.cloned().unwrap_or_default(),
        ..Piece::default()
    })
}

fn calls(delta: &Value) -> Result<Vec<CallPiece>, Unreadable> {
    let calls = delta["tool_calls"].as_array();
    let calls = calls.into_iter().flatten().map(|call| {
        let index = call["index"].as_u64().unwrap_or(0);
        let index = u32::try_from(index.min(MOST_CALLS)).map_err(|_| Unreadable::Garbage)?;
        let function = match call.get("custom") {
            Some(custom) if custom.is_object() => custom,
            _ => &call["function"],
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let arguments = match function.get("arguments") {
            Some(arguments) => text(arguments),
            None => text(&function["input"]),
        };
        Ok(CallPiece {
            index,
            id: text(&call["id"]),
            name: text(&function["name"]),
            arguments,
        })
    });
    calls.collect()
}
