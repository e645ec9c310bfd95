//! How an answer opens on its client's own wire: events that say nothing yet. They wait for the
//! first that does, so that an endpoint that fails behind them can still be replaced.

use serde_json::Value;

use crate::answer::Piece;

/// An answer that opens with more than this is shown as it comes.
const MOST_WAITING: usize = 8;
const MOST_WAITING_BYTES: usize = 64 << 10;

/// What waits to be shown.
#[derive(Default)]
pub(super) struct Opening {
    waiting: Vec<Piece>,
    bytes: usize,
    is_over: bool,
}

impl Opening {
    /// Takes what has come, and gives what may be shown.
    pub fn take(&mut self, piece: Piece) -> Vec<Piece> {
        self.bytes += piece.bytes();
        let only_opens = piece.says_nothing() && piece.native.as_ref().is_some_and(only_opens);
        self.waiting.push(piece);
        let waits = only_opens
            && !self.is_over
            && self.waiting.len() <= MOST_WAITING
            && self.bytes <= MOST_WAITING_BYTES;
        match waits {
            true => Vec::new(),
            false => self.finish(),
        }
    }

    /// Nothing waits any longer.
    pub fn finish(&mut self) -> Vec<Piece> {
        self.is_over = true;
        std::mem::take(&mut self.waiting)
    }
}

/// Whether an event is only the frame of a text or a thought that is to come.
fn only_opens(event: &Value) -> bool {
    let kind = |of: &str| event[of]["type"].as_str().unwrap_or_default();
    match event["type"].as_str() {
        Some("content_block_start") => matches!(kind("content_block"), "text" | "thinking"),
        Some("response.output_item.added") => matches!(kind("item"), "message" | "reasoning"),
        Some("response.content_part.added" | "response.reasoning_summary_part.added") => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn native(event: Value) -> Piece {
        Piece {
            native: Some(event),
            ..Piece::default()
        }
    }

    fn frame() -> Piece {
        native(json!({ "type": "content_block_start", "content_block": { "type": "text" } }))
    }

    fn word() -> Piece {
        Piece {
            text: "hi".into(),
            ..native(json!({ "type": "content_block_delta" }))
        }
    }

    #[test]
    fn a_frame_waits_for_its_first_word_and_keeps_its_place() {
        let mut opening = Opening::default();
        assert_eq!(opening.take(frame()), []);
        assert_eq!(opening.take(word()), [frame(), word()]);
        assert_eq!(opening.take(frame()), [frame()], "only the first one waits");
    }

    #[test]
    fn what_a_hosted_tool_does_is_shown_while_it_does_it() {
        let mut opening = Opening::default();
        let searching = native(json!({ "type": "response.web_search_call.searching" }));
        assert_eq!(opening.take(searching.clone()), [searching]);
        let call = json!({ "type": "content_block_start", "content_block": { "type": "server_tool_use" } });
        assert_eq!(Opening::default().take(native(call)).len(), 1);
    }

    #[test]
    fn an_answer_of_frames_is_not_gathered_without_end() {
        let mut opening = Opening::default();
        let shown: Vec<usize> = (0..10).map(|_| opening.take(frame()).len()).collect();
        assert_eq!(shown, [0, 0, 0, 0, 0, 0, 0, 0, 9, 1]);
        let long =
            json!({ "type": "response.content_part.added", "x": "x".repeat(MOST_WAITING_BYTES) });
        assert_eq!(Opening::default().take(native(long)).len(), 1);
    }
}
