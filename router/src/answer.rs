//! What flows from an attempt to the client's wire, in our words.

use serde_json::{Map, Value};
use weir_cascade::FinishReason;
use weir_crds::Money;

use crate::refusal::Refusal;

/// One thing that happened to an ask, in order: at most one `Begin`, then pieces, then exactly one
/// `End` or `Fail`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// An attempt was committed: what follows is the answer.
    Begin(Begin),
    Piece(Piece),
    End(End),
    /// The pieces so far are void and the answer begins anew. Only where nothing was shown.
    Restart,
    Fail {
        refusal: Refusal,
        money_was_spent: bool,
    },
}

/// What is known when an answer begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Begin {
    pub tier: String,
    pub score: Option<f64>,
    /// Every attempt, this one included, with what became of it.
    pub attempts: String,
    /// Given although the tier was not sure, because those above failed.
    pub is_unsure: bool,
    /// Request fields that were left out.
    pub dropped: Vec<String>,
}

/// Some of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Piece {
    pub text: String,
    /// What else the wire's `delta` holds: tool calls, reasoning, a refusal.
    pub rest: Map<String, Value>,
    pub logprobs: Option<Value>,
}

impl Piece {
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.rest.is_empty() && self.logprobs.is_none()
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        let rest = self.rest.values().chain(&self.logprobs);
        self.text.len() + rest.map(|value| value.to_string().len()).sum::<usize>()
    }
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    /// The wire's word: `stop`, `length`, `tool_calls`, or what an endpoint said.
    pub finish_reason: String,
    pub usage: Usage,
    /// Of all attempts.
    pub cost: Money,
    /// Of the answer, where its tier gives evidence.
    pub score: Option<f64>,
    /// The tier was not sure of it, and it is given all the same.
    pub is_unsure: bool,
}

/// Tokens of one attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub prompt: u64,
    /// The part of `prompt` that came from a cache.
    pub cached: u64,
    pub completion: u64,
}

/// What the cascade makes of the wire's word.
pub(crate) fn finish_reason(word: &str) -> FinishReason {
    match word {
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
    }
}
