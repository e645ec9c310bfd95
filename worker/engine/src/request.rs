//! What the model thread is asked to do, and what it answers token by token.
//!
//! Everything is in token ids: text never reaches the model thread.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use weir_model::{Adapter, Pooling};

use crate::{
    constraint::ConstraintError,
    guide::{Guide, Guided, Part},
    penalties::Penalties,
    sample::Sampling,
};

/// Whose a sequence is, and what its keys and values follow from beside its tokens. Sequences share
/// what is computed of equal beginnings only where they agree in all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Tenants take turns. Empty for whoever has no name.
    pub tenant: Arc<str>,
    /// None for the model itself. It lives until the last sequence that uses it is over.
    pub adapter: Option<Arc<Adapter>>,
}

impl Origin {
    /// Of the adapter; empty for the model itself.
    pub fn adapter_digest(&self) -> &str {
        self.adapter.as_deref().map_or("", Adapter::digest)
    }
}

/// One answer to write.
#[derive(Debug, Clone)]
pub struct Writing {
    pub prompt: Arc<[u32]>,
    /// Tokens of this answer that were produced before, here or elsewhere.
    pub produced: Vec<u32>,
    pub sampling: Sampling,
    pub penalties: Penalties,
    pub seed: u64,
    /// Which of the answers to one prompt this is.
    pub choice: u32,
    pub limits: WritingLimits,
    /// How many alternatives to report beside each token.
    pub alternatives: usize,
    /// Where tokens of the prompt are to be reported too: how many alternatives beside each.
    pub prompt_alternatives: Option<usize>,
    pub origin: Origin,
    pub guide: Guide,
}

#[derive(Debug, Clone)]
pub struct WritingLimits {
    /// Counts what was produced before. The context bounds it further. With none, the prompt is read
    /// and nothing is written.
    pub max_tokens: usize,
    /// Ending tokens are not picked before there are this many.
    pub min_tokens: usize,
    /// Tokens that end the answer.
    pub ends: Arc<[u32]>,
}

impl Writing {
    /// How many tokens the answer may have, those produced before included.
    pub fn most_tokens(&self, context_tokens: usize) -> usize {
        let room = context_tokens.saturating_sub(self.prompt.len());
        self.limits.max_tokens.min(room)
    }
}

/// Several endings of one text to score.
#[derive(Debug, Clone)]
pub struct Scoring {
    /// Whole token sequences, prompt and option together. At least one, none empty.
    pub sequences: Vec<Vec<u32>>,
    /// Tokens from here on count; at least 1, at most the length that all sequences share.
    pub from: usize,
    /// Tokens that end an answer: what may follow the last token of an option.
    pub ends: Arc<[u32]>,
    pub origin: Origin,
}

/// A text to make a vector of.
#[derive(Debug, Clone)]
pub struct Embedding {
    /// At least one.
    pub tokens: Vec<u32>,
    pub pooling: Pooling,
    pub origin: Origin,
}

/// What came of scoring.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Of each sequence, the sum of its log-probabilities.
    pub sums: Vec<f64>,
    /// How many tokens were found computed.
    pub cached_tokens: usize,
}

/// One token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub id: u32,
    pub evidence: Evidence,
    pub marks: Marks,
    /// The likeliest tokens at this place with their log-probabilities, likeliest first.
    pub alternatives: Vec<(u32, f32)>,
}

/// How sure the model was of one token, before temperature and filters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    pub logprob: f32,
    /// Log-probability of the best token minus that of the second best.
    pub margin: f32,
    /// In nats, over the whole vocabulary.
    pub entropy: f32,
    /// Where not every token was allowed: the log-probability among those that were.
    pub masked_logprob: Option<f32>,
}

/// What a token is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// No other was allowed.
    pub forced: bool,
    /// It belongs to a value of a JSON document, not to its structure.
    pub value: bool,
    /// It belongs to the thinking.
    pub thinking: bool,
}

/// Why the model stopped writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It wrote an ending token.
    Stop,
    /// `max_tokens` or the end of the context.
    Length,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Produced {
    pub token: Token,
    pub part: Part,
    pub end: Option<End>,
}

/// What the model thread tells of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// More of the prompt's tokens.
    Prompt(Vec<Token>),
    Produced(Produced),
    /// The prompt is read, and nothing was to be written.
    Read,
}

/// After an error nothing more comes.
pub(crate) type Outcome = Result<Told, ConstraintError>;

/// An answer to write, guided to where what was produced before leaves it.
pub(crate) struct Begun {
    pub writing: Writing,
    /// Nothing where the model writes what it will.
    pub guided: Option<Guided>,
    /// Tokens that must come first.
    pub forced: Vec<(u32, Part)>,
}

/// Work on its way to the model thread, with the way back for what comes of it. A closed way back
/// cancels the work. What is written also tells, when it begins, how many of its tokens were found
/// computed.
pub(crate) enum Work {
    Write(
        Box<Begun>,
        mpsc::UnboundedSender<Outcome>,
        oneshot::Sender<usize>,
    ),
    Score(Scoring, oneshot::Sender<Scores>),
    Embed(Embedding, oneshot::Sender<Vec<f32>>),
}
