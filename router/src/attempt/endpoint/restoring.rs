//! Private values that were taken out of an ask are put back into its answer, however that is cut
//! into pieces.
//!
//! What may be the beginning of a placeholder is held until the next piece, a few bytes at most. The
//! pieces say the same as without it, in our words only: a provider's own event would still show
//! the placeholders.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_policy::redact::{Form, Redacted, Restorer};

use crate::answer::{CallPiece, Piece};

pub(super) struct Restoring {
    redacted: Arc<Redacted>,
    /// Of the answer's text.
    form: Form,
    /// What each choice is saying.
    open: BTreeMap<u32, (Part, Restorer)>,
}

/// One text of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Reasoning,
    Text,
    Refusal,
    /// The arguments of this call.
    Call(u32),
}

impl Restoring {
    pub fn new(redacted: Arc<Redacted>, is_json: bool) -> Self {
        Self {
            redacted,
            form: if is_json { Form::Json } else { Form::Text },
            open: BTreeMap::new(),
        }
    }

    /// The pieces that may be shown now that `piece` has come.
    pub fn take(&mut self, piece: Piece) -> Vec<Piece> {
        let choice = piece.choice;
        let mut pieces = Vec::new();
        for (part, text) in [
            (Part::Reasoning, piece.reasoning),
            (Part::Text, piece.text),
            (Part::Refusal, piece.refusal),
        ] {
            if !text.is_empty() {
                self.more(choice, part, &text, &mut pieces);
            }
        }
        for call in piece.calls {
            let part = Part::Call(call.index);
            if !call.name.is_empty() {
                self.close(choice, &mut pieces);
                let mut name = call.name.clone();
                self.redacted.restore_name(&mut name);
                pieces.push(Piece {
                    choice,
                    calls: vec![CallPiece {
                        name,
                        arguments: String::new(),
                        ..call.clone()
                    }],
                    ..Piece::default()
                });
            }
            if !call.arguments.is_empty() {
                self.more(choice, part, &call.arguments, &mut pieces);
            }
        }
        if !piece.logprobs.is_empty() {
            pieces.push(Piece {
                choice,
                logprobs: piece.logprobs,
                ..Piece::default()
            });
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    /// What was still held when the answer ended.
    pub fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let choices: Vec<u32> = self.open.keys().copied().collect();
        for choice in choices {
            self.close(choice, &mut pieces);
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    fn more(&mut self, choice: u32, part: Part, text: &str, pieces: &mut Vec<Piece>) {
        let open = self.open.get(&choice).map(|(open, _)| *open);
        if open != Some(part) {
            self.close(choice, pieces);
        }
        let form = match part {
            Part::Call(_) => Form::Json,
            Part::Text => self.form,
            Part::Reasoning | Part::Refusal => Form::Text,
        };
        let redacted = &self.redacted;
        let (_, restorer) = self
            .open
            .entry(choice)
            .or_insert_with(|| (part, Restorer::new(redacted.clone(), form)));
        pieces.push(said(choice, part, restorer.push(text)));
    }

    fn close(&mut self, choice: u32, pieces: &mut Vec<Piece>) {
        if let Some((part, mut restorer)) = self.open.remove(&choice) {
            pieces.push(said(choice, part, restorer.finish()));
        }
    }
}

fn said(choice: u32, part: Part, text: String) -> Piece {
    let mut piece = Piece {
        choice,
        ..Piece::default()
    };
    match part {
        _ if text.is_empty() => {}
        Part::Reasoning => piece.reasoning = text,
        Part::Text => piece.text = text,
        Part::Refusal => piece.refusal = text,
        Part::Call(index) => piece.calls.push(CallPiece {
            index,
            arguments: text,
            ..CallPiece::default()
        }),
    }
    piece
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use weir_policy::redact::Redaction;

    fn redacted() -> (Arc<Redacted>, String) {
        let redact = serde_json::from_value(json!({ "kinds": ["Email"] })).unwrap();
        let mut text = "write to ann@example.com".to_owned();
        let redacted = Redaction::compile(&redact).unwrap();
        let redacted = redacted.apply_to_text(&mut text).unwrap();
        (Arc::new(redacted), text.replace("write to ", ""))
    }

    #[test]
    fn a_value_comes_back_wherever_its_placeholder_was_cut() {
        let (redacted, placeholder) = redacted();
        for at in 0..placeholder.len() {
            let (one, two) = placeholder.split_at(at);
            let mut restoring = Restoring::new(redacted.clone(), false);
            let mut pieces = Vec::new();
            for text in ["to ", one, two, "!"] {
                pieces.extend(restoring.take(Piece {
                    text: text.into(),
                    ..Piece::default()
                }));
            }
            pieces.extend(restoring.finish());
            let text: String = pieces.into_iter().map(|piece| piece.text).collect();
            assert_eq!(text, "to ann@example.com!");
        }
    }

    #[test]
    fn what_is_held_of_a_text_comes_before_the_call_that_follows_it() {
        let (redacted, placeholder) = redacted();
        let mut restoring = Restoring::new(redacted, false);
        let held = placeholder[..3].to_owned();
        let text = Piece {
            text: held.clone(),
            ..Piece::default()
        };
        let call = |name: &str, arguments: String| Piece {
            calls: vec![CallPiece {
                name: name.into(),
                arguments,
                ..CallPiece::default()
            }],
            ..Piece::default()
        };
        let mut pieces = restoring.take(text);
        pieces.extend(restoring.take(call("f", format!("{{\"to\":\"{placeholder}"))));
        pieces.extend(restoring.take(call("", "\"}".into())));
        pieces.extend(restoring.finish());
        assert_eq!(pieces[0].text, held);
        let calls = pieces.iter().flat_map(|piece| &piece.calls);
        let arguments: String = calls.map(|call| call.arguments.as_str()).collect();
        assert_eq!(arguments, "{\"to\":\"ann@example.com\"}");
    }
}
