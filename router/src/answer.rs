//! What flows from an attempt to the client's wire, in our words.

use serde_json::Value;
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
    /// It stands in the place of another, for which a budget had too little left.
    pub is_local: bool,
    /// Request fields that were left out.
    pub dropped: Vec<String>,
    /// What is known of the prompt by then; nothing where the tier counts at the end only.
    pub usage: Usage,
}

/// Some of one choice of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Piece {
    pub choice: u32,
    /// It is of the prompt, which is shown again.
    pub is_echo: bool,
    pub text: String,
    /// Thought before the answer.
    pub reasoning: String,
    /// What the maker of the reasoning wants back with it; comes once, at its end.
    pub proof: Option<String>,
    /// Said in place of an answer.
    pub refusal: String,
    pub calls: Vec<CallPiece>,
    /// Of the tokens of `text`, each as OpenAI's chat wire has it.
    pub logprobs: Vec<Value>,
    /// Of each input, where vectors were asked for.
    pub vectors: Vec<Vec<f32>>,
    /// The event as the upstream sent it. A client of the same wire gets this one, edited, so that
    /// nothing is lost that has no other form.
    pub native: Option<Value>,
}

/// Some of a call of a tool: first its id and name, then its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallPiece {
    /// Which of the choice's calls.
    pub index: u32,
    pub id: String,
    pub name: String,
    /// More of one JSON object.
    pub arguments: String,
}

impl Piece {
    pub fn is_empty(&self) -> bool {
        self.says_nothing() && self.native.is_none()
    }

    /// Whether nothing of it is part of the answer's content.
    pub fn says_nothing(&self) -> bool {
        self.text.is_empty()
            && self.reasoning.is_empty()
            && self.proof.is_none()
            && self.refusal.is_empty()
            && self.calls.is_empty()
            && self.logprobs.is_empty()
            && self.vectors.is_empty()
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.content_bytes()
    }

    /// About how much memory what it says takes, once that is put to what was said before.
    pub fn content_bytes(&self) -> usize {
        let calls = self.calls.iter().map(CallPiece::bytes);
        let values = self.logprobs.iter().chain(&self.native);
        let proof = self.proof.as_ref().map_or(0, String::len);
        let vectors = self.vectors.iter().map(|vector| 4 * vector.len());
        self.text.len()
            + vectors.sum::<usize>()
            + self.reasoning.len()
            + self.refusal.len()
            + proof
            + calls.sum::<usize>()
            + values.map(weight).sum::<usize>()
    }
}

impl CallPiece {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.id.len() + self.name.len() + self.arguments.len()
    }
}

/// About how much memory a JSON value takes.
pub(crate) fn weight(value: &Value) -> usize {
    const VALUE: usize = 64;
    VALUE
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weight).sum(),
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| name.len() + weight(value))
                .sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

/// Why a choice ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The model ended its turn.
    #[default]
    Turn,
    /// One of the client's stop strings came; which, where that is known.
    Sequence(Option<String>),
    Length,
    /// The context is full.
    Context,
    Calls,
    /// The model, or a filter, will not say.
    Refusal,
    /// A hosted tool takes longer: the client asks again to go on.
    Pause,
}

/// How an answer ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct End {
    /// Of every choice, in order.
    pub stops: Vec<Stop>,
    pub usage: Usage,
    /// Of all attempts.
    pub cost: Money,
    /// Of the answer, where its tier gives evidence.
    pub score: Option<f64>,
    /// The tier was not sure of it, and it is given all the same.
    pub is_unsure: bool,
    /// The last event as the upstream sent it, for a client of the same wire.
    pub native: Option<Value>,
}

/// Tokens of one attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// All that was read, from caches as well.
    pub prompt: u64,
    /// The part of `prompt` that came from a cache.
    pub cached: u64,
    /// The part of `prompt` that was written to a cache.
    pub cache_written: u64,
    /// All that was written, thoughts as well.
    pub completion: u64,
    /// The part of `completion` that was thought.
    pub reasoning: u64,
}

impl Stop {
    /// For records: one of a closed set.
    pub fn word(&self) -> &'static str {
        match self {
            Stop::Turn | Stop::Sequence(_) => "stop",
            Stop::Length | Stop::Context => "length",
            Stop::Calls => "tool_calls",
            Stop::Refusal => "content_filter",
            Stop::Pause => "pause",
        }
    }

    /// What the cascade makes of it.
    pub fn reason(&self) -> FinishReason {
        match self {
            Stop::Length | Stop::Context => FinishReason::Length,
            Stop::Calls => FinishReason::ToolCalls,
            Stop::Refusal => FinishReason::Refusal,
            Stop::Turn | Stop::Sequence(_) | Stop::Pause => FinishReason::Stop,
        }
    }
}
