//! Chunks of a completion of a text.

use serde_json::Value;

use super::chat::{Stops, stop, usage};
use super::{Taken, Unreadable};
use crate::answer::{Piece, Usage};
use crate::attempt::Finish;

pub(super) struct Reader {
    pub stops: Stops,
    usage: Usage,
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
            let mut piece = Piece {
                choice: index,
                text: choice["text"].as_str().unwrap_or_default().to_owned(),
                ..Piece::default()
            };
            if is_native && (!piece.says_nothing() || choice["logprobs"].is_object()) {
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
