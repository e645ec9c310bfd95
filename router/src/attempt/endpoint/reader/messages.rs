//! Events of an Anthropic message.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Taken, Unreadable, tokens};
use crate::answer::{CallPiece, Piece, Stop, Usage};
use crate::attempt::Finish;

/// An answer with more blocks has lost its way.
const MOST_BLOCKS: usize = 4096;

#[derive(Default)]
pub(super) struct Reader {
    /// The calls among the blocks, by their place among these.
    calls: BTreeMap<u64, u32>,
    blocks: usize,
    /// The block that is being written.
    open: Option<Block>,
    stop: Option<Stop>,
    usage: Usage,
    /// What the provider said beside the stop reason.
    last: Option<Value>,
}

/// What tells a block from another one at the same place.
#[derive(PartialEq, Eq)]
struct Block {
    index: u64,
    kind: String,
    id: String,
}

impl Reader {
    pub fn take(&mut self, event: Value, is_native: bool) -> Result<Taken, Unreadable> {
        let index = event["index"].as_u64().unwrap_or(0);
        let mut piece = match event["type"].as_str() {
            Some("message_start") => {
                self.count(&event["message"]["usage"]);
                return Ok(Taken::Pieces(Vec::new()));
            }
            Some("content_block_start") => match self.begun(index, &event["content_block"])? {
                Some(piece) => piece,
                None => return Ok(Taken::Pieces(Vec::new())),
            },
            Some("content_block_delta") if !self.is_open(index) => {
                // llama-server says of blocks that have ended that nobody signed them.
                return match says_nothing(&event["delta"]) {
                    true => Ok(Taken::Pieces(Vec::new())),
                    false => Err(Unreadable::Garbage),
                };
            }
            Some("content_block_delta") => self.more(index, &event["delta"]),
            // It ended when the next one began, and nothing more is told by that.
            Some("content_block_stop") if !self.is_open(index) => {
                return Ok(Taken::Pieces(Vec::new()));
            }
            Some("content_block_stop") => {
                self.open = None;
                Piece::default()
            }
            Some("message_delta") => {
                self.count(&event["usage"]);
                self.ended(event);
                return Ok(Taken::Pieces(Vec::new()));
            }
            Some("message_stop") => return Ok(Taken::End),
            // `ping`, and what the wire gets later: clients are told to pass over these.
            Some(_) => return Ok(Taken::Pieces(Vec::new())),
            None => return Err(Unreadable::Garbage),
        };
        piece.native = is_native.then_some(event);
        Ok(Taken::Pieces(vec![piece]))
    }

    pub fn has_finish(&self) -> bool {
        self.stop.is_some()
    }

    pub fn usage(&self) -> Usage {
        self.usage
    }

    pub fn finish(&mut self) -> Option<Finish> {
        Some(Finish {
            stops: vec![self.stop.clone()?],
            usage: self.usage,
            native: self.last.take(),
        })
    }

    fn is_open(&self, index: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.index == index)
    }

    /// A block that is open ends with this: llama-server tells the end of each at the end of all, and
    /// it and Ollama may begin another one at the same place. One that begins again goes on.
    fn begun(&mut self, index: u64, block: &Value) -> Result<Option<Piece>, Unreadable> {
        let text = |member: &str| block[member].as_str().unwrap_or_default().to_owned();
        let begun = Block {
            index,
            kind: text("type"),
            id: text("id"),
        };
        if self.open.as_ref() == Some(&begun) {
            return Ok(None);
        }
        self.open = Some(begun);
        self.blocks += 1;
        if self.blocks > MOST_BLOCKS {
            return Err(Unreadable::Garbage);
        }
        let mut piece = Piece::default();
        match block["type"].as_str() {
            Some("text") => piece.text = text("text"),
            Some("thinking") => piece.reasoning = text("thinking"),
            Some("tool_use") => {
                let place = self.calls.len() as u32;
                self.calls.insert(index, place);
                let input = &block["input"];
                let is_whole = input.as_object().is_some_and(|input| !input.is_empty());
                piece.calls.push(CallPiece {
                    index: place,
                    id: text("id"),
                    name: text("name"),
                    arguments: if is_whole {
                        input.to_string()
                    } else {
                        String::new()
                    },
                });
            }
            _ => {}
        }
        Ok(Some(piece))
    }

    fn more(&mut self, index: u64, delta: &Value) -> Piece {
        let text = |member: &str| delta[member].as_str().unwrap_or_default().to_owned();
        let mut piece = Piece::default();
        match delta["type"].as_str() {
            Some("text_delta") => piece.text = text("text"),
            Some("thinking_delta") => piece.reasoning = text("thinking"),
            Some("signature_delta") => piece.proof = Some(text("signature")),
            Some("input_json_delta") => {
                if let Some(place) = self.calls.get(&index) {
                    piece.calls.push(CallPiece {
                        index: *place,
                        arguments: text("partial_json"),
                        ..CallPiece::default()
                    });
                }
            }
            _ => {}
        }
        piece
    }

    fn ended(&mut self, event: Value) {
        let delta = &event["delta"];
        let sequence = delta["stop_sequence"].as_str().map(str::to_owned);
        let stop = match delta["stop_reason"].as_str() {
            None => return,
            Some("max_tokens") => Stop::Length,
            Some("stop_sequence") => Stop::Sequence(sequence),
            Some("tool_use") => Stop::Calls,
            Some("refusal") => Stop::Refusal,
            Some("pause_turn") => Stop::Pause,
            Some("model_context_window_exceeded") => Stop::Context,
            Some(_) => Stop::Turn,
        };
        self.stop = Some(stop);
        // What the beginning counted was the beginning.
        if tokens(&event["usage"], "output_tokens").is_none() {
            self.usage.completion = 0;
        }
        self.last = Some(json!({ "delta": delta, "usage": event["usage"] }));
    }

    /// Counts are of all so far, and come more than once. Here what was read leaves out what came
    /// from the cache and what went there; in our words it is all of the prompt.
    fn count(&mut self, usage: &Value) {
        let read = tokens(usage, "cache_read_input_tokens");
        let written = tokens(usage, "cache_creation_input_tokens");
        if let Some(fresh) = tokens(usage, "input_tokens") {
            self.usage.cached = read.unwrap_or(self.usage.cached);
            self.usage.cache_written = written.unwrap_or(self.usage.cache_written);
            self.usage.prompt = fresh + self.usage.cached + self.usage.cache_written;
        }
        if let Some(completion) = tokens(usage, "output_tokens") {
            self.usage.completion = completion;
        }
        if let Some(thought) = tokens(&usage["output_tokens_details"], "thinking_tokens") {
            self.usage.reasoning = thought;
        }
    }
}

/// Whether all that it brings is empty.
fn says_nothing(delta: &Value) -> bool {
    let brings = ["text", "thinking", "partial_json", "signature"];
    let mut brought = brings.iter().filter_map(|member| delta[member].as_str());
    let first = brought.next();
    first.is_some_and(str::is_empty) && brought.all(str::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(index: u64, kind: &str) -> Value {
        json!({ "type": "content_block_start", "index": index, "content_block": { "type": kind } })
    }

    fn text(index: u64) -> Value {
        let delta = json!({ "type": "text_delta", "text": "a" });
        json!({ "type": "content_block_delta", "index": index, "delta": delta })
    }

    fn stop(index: u64) -> Value {
        json!({ "type": "content_block_stop", "index": index })
    }

    /// The kinds of the events that are passed on.
    fn read(events: &[Value]) -> Result<Vec<String>, Unreadable> {
        let mut reader = Reader::default();
        let mut kinds = Vec::new();
        for event in events {
            if let Taken::Pieces(pieces) = reader.take(event.clone(), true)? {
                let natives = pieces.into_iter().filter_map(|piece| piece.native);
                kinds.extend(
                    natives.map(|native| native["type"].as_str().unwrap()[14..].to_owned()),
                );
            }
        }
        Ok(kinds)
    }

    #[test]
    fn what_belongs_to_no_open_block_is_no_answer() {
        let (first, second) = (start(0, "text"), start(1, "text"));
        for wrong in [
            &[text(0)][..],
            &[first.clone(), text(1)],
            &[first.clone(), stop(0), text(0)],
            &[first.clone(), second.clone(), text(0)],
        ] {
            assert_eq!(read(wrong), Err(Unreadable::Garbage), "{wrong:?}");
        }
    }

    #[test]
    fn a_block_at_the_place_of_one_that_is_open_is_the_next_one_or_the_same() {
        // llama-server where text follows a call.
        let tool = start(0, "tool_use");
        let events = [tool, start(0, "text"), text(0), stop(0), stop(1)];
        assert_eq!(read(&events).unwrap(), ["start", "start", "delta", "stop"]);
        // Ollama where thoughts follow text.
        let events = [start(0, "text"), text(0), start(0, "thinking"), stop(0)];
        assert_eq!(read(&events).unwrap(), ["start", "delta", "start", "stop"]);
        let again = [
            start(0, "text"),
            text(0),
            start(0, "text"),
            text(0),
            stop(0),
        ];
        assert_eq!(read(&again).unwrap(), ["start", "delta", "delta", "stop"]);
    }

    #[test]
    fn blocks_whose_ends_come_at_the_end_of_all_end_where_the_next_begins() {
        let unsigned = json!({ "type": "content_block_delta", "index": 0,
            "delta": { "type": "signature_delta", "signature": "" } });
        let events = [
            start(0, "thinking"),
            start(1, "text"),
            text(1),
            unsigned,
            stop(0),
            stop(1),
        ];
        assert_eq!(read(&events).unwrap(), ["start", "start", "delta", "stop"]);
    }
}
