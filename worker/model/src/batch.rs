//! What one forward pass computes: packed tokens of any number of sequences.
//!
//! A chunk of a prompt, one decode step of many sequences and a mix of both are the same call. The
//! result for a token depends on its own sequence alone: not on its neighbours, nor on how the
//! sequence was cut into chunks.

use thiserror::Error;
use weir_kernels::Summary;

use crate::facts::ModelFacts;
use crate::kv::KvCache;

/// Tokens of one sequence within a [`Batch`].
#[derive(Clone, Copy, Debug)]
pub struct SequenceSlice<'a> {
    /// Where the sequence's tokens begin in the batch.
    pub start: usize,
    /// How many tokens of the batch are the sequence's; their positions ascend by one.
    pub len: usize,
    /// How many tokens the sequence has once these are in: the last position plus one.
    pub context_len: usize,
    /// The blocks that hold the sequence's keys and values, in order of position.
    pub block_table: &'a [u32],
}

/// One forward pass. Sequences lie one after the other and cover all tokens.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    pub tokens: &'a [u32],
    /// The position of each token in its sequence, from 0.
    pub positions: &'a [u32],
    pub sequences: &'a [SequenceSlice<'a>],
    /// Where each token's key and value go: block × block_tokens + offset. Must agree with the
    /// sequence's block table, through which later tokens will read them.
    pub slots: &'a [u32],
    /// Indices into `tokens` of those whose logits are wanted.
    pub outputs: &'a [u32],
}

/// A batch that contradicts itself, the model or the cache. Nothing was computed or written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BatchError {
    #[error("a batch of {tokens} tokens has {found} {what}")]
    Lengths {
        what: &'static str,
        tokens: usize,
        found: usize,
    },
    #[error("token id {id} is outside the vocabulary of {vocabulary}")]
    Token { id: u32, vocabulary: u32 },
    #[error("position {position} is outside the context of {context} tokens")]
    Position { position: u32, context: u32 },
    #[error("sequence {sequence}: {why}")]
    Sequence { sequence: usize, why: &'static str },
    #[error("output {output} is not one of the batch's {tokens} tokens")]
    Output { output: u32, tokens: usize },
    #[error("the cache was made for another model")]
    Cache,
}

/// The logits of a batch's outputs, one row each, in the order of [`Batch::outputs`].
#[derive(Clone, Debug, Default)]
pub struct Logits {
    pub(crate) vocabulary: usize,
    pub(crate) values: Vec<f32>,
    /// One per row.
    pub(crate) summaries: Vec<Summary>,
}

impl Logits {
    /// Empty; the memory of a forward pass is kept for the next.
    pub fn new() -> Self {
        Self::default()
    }

    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.vocabulary).unwrap_or(0)
    }

    /// The logits of one output over the whole vocabulary.
    ///
    /// # Panics
    /// Where the last batch had no such output.
    pub fn row(&self, output: usize) -> &[f32] {
        &self.values[output * self.vocabulary..][..self.vocabulary]
    }

    /// What evidence needs to know of that row.
    ///
    /// # Panics
    /// Where the last batch had no such output.
    pub fn summary(&self, output: usize) -> Summary {
        self.summaries[output]
    }
}

impl Batch<'_> {
    pub(crate) fn check(&self, facts: &ModelFacts, cache: &KvCache) -> Result<(), BatchError> {
        let tokens = self.tokens.len();
        for (what, found) in [
            ("positions", self.positions.len()),
            ("slots", self.slots.len()),
            (
                "tokens in sequences",
                self.sequences.iter().map(|sequence| sequence.len).sum(),
            ),
        ] {
            if found != tokens {
                return Err(BatchError::Lengths {
                    what,
                    tokens,
                    found,
                });
            }
        }
        let vocabulary = facts.vocabulary;
        if let Some(&id) = self.tokens.iter().find(|id| **id >= vocabulary) {
            return Err(BatchError::Token { id, vocabulary });
        }
        let outputs = self.outputs.iter();
        if let Some(&output) = outputs
            .copied()
            .find(|output| *output as usize >= tokens)
            .as_ref()
        {
            return Err(BatchError::Output { output, tokens });
        }
        let mut next = 0;
        for (index, sequence) in self.sequences.iter().enumerate() {
            if sequence.start != next {
                return Err(BatchError::Sequence {
                    sequence: index,
                    why: "does not begin where the one before ends",
                });
            }
            next += sequence.len;
            self.check_sequence(index, facts.context_tokens, cache)?;
        }
        Ok(())
    }

    fn check_sequence(
        &self,
        index: usize,
        context: u32,
        cache: &KvCache,
    ) -> Result<(), BatchError> {
        let sequence = &self.sequences[index];
        let refuse = |why| {
            Err(BatchError::Sequence {
                sequence: index,
                why,
            })
        };
        let table = sequence.block_table;
        let block_tokens = cache.block_tokens();
        if table.len() * block_tokens < sequence.context_len {
            return refuse("has a block table that is too short");
        }
        if table.iter().any(|block| *block as usize >= cache.blocks()) {
            return refuse("has a block that the cache does not");
        }
        let Some(first) = sequence.context_len.checked_sub(sequence.len) else {
            return refuse("has a context that is shorter than its tokens");
        };
        for offset in 0..sequence.len {
            let (at, position) = (sequence.start + offset, first + offset);
            if self.positions[at] as usize != position {
                return refuse("has positions that do not lead up to its context");
            }
            if position >= context as usize {
                return Err(BatchError::Position {
                    position: self.positions[at],
                    context,
                });
            }
            let block = table[position / block_tokens] as usize;
            if self.slots[at] as usize != block * block_tokens + position % block_tokens {
                return refuse("has a slot that its block table does not lead to");
            }
        }
        Ok(())
    }
}
