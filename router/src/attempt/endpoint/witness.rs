//! What an endpoint says of its tokens: evidence for the cascade, and as much for the client as it asked for.
//!
//! It is coarser than a worker's: there is no entropy, and nothing tells the values of a document from its
//! structure. What comes without a word about its tokens counts as unseen, about four bytes to a token.

mod entries;

use std::collections::BTreeMap;

use serde_json::Value;
use weir_cascade::Token;

use super::request::ALTERNATIVES;
use crate::answer::Piece;
use crate::ask::Ask;
use crate::wire::Wire;
use entries::Entry;

/// Of text that nobody has counted.
const BYTES_PER_TOKEN: usize = 4;

/// Looks at the answer of an endpoint before anybody else does.
pub(super) struct Witness {
    wire: Wire,
    /// They were asked for on behalf of the cascade.
    was_asked: bool,
    /// As many alternatives as the client wants to see; nothing where it wants no log-probabilities.
    shown: Option<u32>,
    has_seen: bool,
    has_text: bool,
}

/// What one event says of its tokens, for each choice.
#[derive(Default)]
pub(super) struct Heard(BTreeMap<u32, Vec<Entry>>);

impl Witness {
    /// Of the answer to `ask`, which comes on `wire`.
    pub fn new(wire: Wire, ask: &Ask, was_asked: bool) -> Self {
        Self {
            wire,
            was_asked,
            shown: ask.logprobs,
            has_seen: false,
            has_text: false,
        }
    }

    /// Whether it was asked to tell of its tokens and told nothing of any.
    pub fn was_mute(&self) -> bool {
        self.was_asked && self.has_text && !self.has_seen
    }

    /// Takes down what an event says, and takes out what the client is not to see.
    pub fn hear(&mut self, event: &mut Value) -> Heard {
        let heard = match self.wire {
            Wire::Chat => entries::of_chat(event),
            Wire::Completions => entries::of_completion(event),
            Wire::Responses => entries::of_response(event),
            Wire::Messages | Wire::Embeddings => BTreeMap::new(),
        };
        self.has_seen |= !heard.is_empty();
        let is_more = self.shown.is_none_or(|most| most < ALTERNATIVES);
        if self.was_asked && is_more {
            match self.wire {
                Wire::Chat => entries::limit_chat(event, self.shown),
                Wire::Completions => entries::limit_completion(event, self.shown),
                Wire::Responses => entries::limit_response(event, self.shown),
                Wire::Messages | Wire::Embeddings => {}
            }
        }
        Heard(heard)
    }

    /// The evidence of what an event brought to each choice, which `heard` is about.
    pub fn weigh(&mut self, pieces: &[Piece], mut heard: Heard) -> Vec<(u32, Vec<Token>)> {
        let mut evidence = Vec::new();
        for piece in pieces {
            let entries = heard.0.remove(&piece.choice).unwrap_or_default();
            self.has_text |= !piece.text.is_empty();
            let tokens = tokens(piece, &entries);
            if !tokens.is_empty() {
                evidence.push((piece.choice, tokens));
            }
        }
        evidence
    }
}

fn tokens(piece: &Piece, entries: &[Entry]) -> Vec<Token> {
    let covered: usize = entries.iter().map(|entry| entry.bytes).sum();
    let said = piece.text.len() + piece.refusal.len();
    let calls = piece.calls.iter();
    let calls = calls.map(|call| call.name.len() + call.arguments.len());
    let unseen = match entries {
        [] => guessed(said),
        // How tokens are spelled is not quite the text that they make.
        _ => said.saturating_sub(covered) / BYTES_PER_TOKEN,
    };
    let thought = std::iter::repeat_n(Token::unseen(true), guessed(piece.reasoning.len()));
    let seen = entries.iter().map(|entry| entry.token);
    let unseen = unseen + calls.map(guessed).sum::<usize>();
    thought
        .chain(seen)
        .chain(std::iter::repeat_n(Token::unseen(false), unseen))
        .collect()
}

/// How many tokens a text of so many bytes is, about.
fn guessed(bytes: usize) -> usize {
    (bytes / BYTES_PER_TOKEN).max(usize::from(bytes > 0))
}

#[cfg(test)]
mod tests;
