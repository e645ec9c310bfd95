//! Chunks of a completion of a text.

use serde_json::Value;

use super::Unreadable;
use crate::answer::Piece;

/// One choice of a chunk.
pub(super) fn read(index: u32, choice: &Value) -> Result<(Piece, bool), Unreadable> {
    let piece = Piece {
        choice: index,
        text: choice["text"].as_str().unwrap_or_default().to_owned(),
        ..Piece::default()
    };
    let is_shown = !piece.says_nothing() || choice["logprobs"].is_object();
    Ok((piece, is_shown))
}
