//! What a replica says becomes pieces of an answer in our words, with its evidence.

use serde_json::{Value, json};
use weir_cascade::Token;
use weir_worker_api as api;

use crate::answer::{CallPiece, Piece, Stop};
use crate::attempt::Arrival;

/// An impossible token: JSON has no infinity.
const LEAST_LOGPROB: f32 = -9999.0;

/// How log-probabilities are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// The wire tells the bytes of each token.
    pub with_bytes: bool,
}

/// Some of the choice `choice`, with its log-probabilities where they are `shown`.
pub(super) fn arrival(tokens: api::Tokens, choice: u32, shown: Option<Shown>) -> Arrival {
    let channel = tokens.channel();
    let shown = shown.filter(|_| channel == api::Channel::Answer);
    let logprobs = shown.map(|shown| {
        let written = tokens.tokens.iter().filter(|token| is_written(token));
        written.map(|token| shown.logprob(token)).collect()
    });
    let evidence = tokens
        .tokens
        .iter()
        .filter_map(|token| token.evidence.as_ref());
    let evidence = evidence.map(|evidence| Token {
        // Under a constraint only the allowed tokens were there to be chosen from.
        logprob: evidence.masked_logprob.unwrap_or(evidence.logprob),
        margin: evidence.margin,
        entropy: Some(evidence.entropy),
        forced: evidence.forced,
        value: evidence.value,
        thinking: evidence.thinking,
        unseen: false,
    });
    let calls = tokens.tool_calls.iter().map(|call| CallPiece {
        index: call.index,
        id: call.id.clone(),
        name: call.name.clone(),
        arguments: call.arguments.clone(),
    });
    let mut piece = Piece {
        choice,
        calls: calls.collect(),
        logprobs: logprobs.unwrap_or_default(),
        ..Piece::default()
    };
    let evidence = evidence.collect();
    match channel {
        api::Channel::Answer => piece.text = tokens.text,
        api::Channel::Reasoning => piece.reasoning = tokens.text,
    }
    Arrival::Tokens { evidence, piece }
}

/// Whether a token is part of the answer: one that only ends the turn has no text.
fn is_written(token: &api::Token) -> bool {
    let thinking = token.evidence.is_some_and(|evidence| evidence.thinking);
    !token.text.is_empty() && !thinking
}

/// Why a choice ended.
pub(super) fn stop(finished: &api::Finished) -> Stop {
    match finished.reason() {
        api::FinishReason::Length => Stop::Length,
        api::FinishReason::ToolCalls => Stop::Calls,
        api::FinishReason::Stop | api::FinishReason::Unspecified => match &finished.stop {
            Some(stop) => Stop::Sequence(Some(stop.clone())),
            None => Stop::Turn,
        },
    }
}

impl Shown {
    /// A token as OpenAI's chat wire shows it.
    pub fn logprob(self, token: &api::Token) -> Value {
        let others = token.alternatives.iter();
        let others = others.map(|other| self.told(&other.text, other.logprob));
        let logprob = token.evidence.map(|evidence| evidence.logprob);
        let mut own = self.told(&token.text, logprob.unwrap_or(LEAST_LOGPROB));
        own["top_logprobs"] = others.collect();
        own
    }

    /// The first token of a prompt: it follows nothing, so that nothing is known of it.
    pub fn first(self, text: &str) -> Value {
        json!({ "token": text, "logprob": null, "top_logprobs": null })
    }

    fn told(self, text: &str, logprob: f32) -> Value {
        let logprob = f64::from(logprob.max(LEAST_LOGPROB));
        let mut told = json!({ "token": text, "logprob": logprob });
        if self.with_bytes {
            // Half a character has no bytes that this wire could show.
            let is_whole = !text.contains(char::REPLACEMENT_CHARACTER);
            told["bytes"] = is_whole.then(|| text.as_bytes().to_vec()).into();
        }
        told
    }
}
