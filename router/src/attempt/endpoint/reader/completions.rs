//! Chunks of a completion of a text.

use serde_json::Value;

use super::Unreadable;
use super::chat::Calls;
use crate::answer::Piece;

/// One choice of a chunk.
pub(super) fn read(
    index: u32,
    choice: &mut Value,
    _: &mut Calls,
) -> Result<(Piece, bool), Unreadable> {
    // llama-server tells them as chats do, which clients of this wire do not know.
    let logprobs = choice["logprobs"]["content"].as_array();
    let piece = Piece {
        choice: index,
        logprobs: logprobs.cloned().unwrap_or_default(),
        text: choice["text"].as_str().unwrap_or_default().to_owned(),
        ..Piece::default()
    };
    let is_shown = !piece.says_nothing() || choice["logprobs"].is_object();
    Ok((piece, is_shown))
}
