//! Chunks of a chat completion.

use serde_json::Value;

use super::Unreadable;
use crate::answer::{CallPiece, Piece};

/// A call that names a higher place than this has lost its way.
const MOST_CALLS: u64 = 128;

/// Whether a chunk says more than that an answer begins or ends, which is said for every answer.
fn is_worth_showing(choice: &Value, piece: &Piece) -> bool {
    let delta = choice["delta"].as_object();
    let mut others = delta.into_iter().flatten().filter(|(field, value)| {
        !matches!(field.as_str(), "role" | "content" | "refusal") && !value.is_null()
    });
    !piece.says_nothing() || others.next().is_some()
}

/// One choice of a chunk.
pub(super) fn read(index: u32, choice: &Value) -> Result<(Piece, bool), Unreadable> {
    let delta = &choice["delta"];
    let text = |member: &str| delta[member].as_str().unwrap_or_default().to_owned();
    let logprobs = choice["logprobs"]["content"].as_array();
    let reasoning = match delta["reasoning_content"].is_string() {
        true => text("reasoning_content"),
        // Some open servers say it so.
        false => text("reasoning"),
    };
    let piece = Piece {
        choice: index,
        text: text("content"),
        reasoning,
        refusal: text("refusal"),
        calls: calls(delta)?,
        logprobs: logprobs.cloned().unwrap_or_default(),
        ..Piece::default()
    };
    let is_shown = is_worth_showing(choice, &piece);
    Ok((piece, is_shown))
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
