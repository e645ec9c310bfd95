//! What one forward pass computes: packed tokens of any number of sequences.
//!
//! A chunk of a prompt, one decode step of many sequences and a mix of both are the same call. The
//! result for a token depends on its own sequence alone: not on its neighbours, nor on how the
//! sequence was cut into chunks.

use thiserror::Error;
use weir_kernels::Summary;

use crate::adapter::Adapter;
use crate::facts::ModelFacts;
use crate::groups::{Group, Groups};
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
    /// The blocks that hold the sequence's keys and values, in order of position. In the windowed
    /// group, entries of blocks that lie wholly before the window of the first of these tokens are
    /// not looked at; of a group without layers nothing is.
    pub block_tables: Groups<&'a [u32]>,
    /// What is added to the model for these tokens.
    pub adapter: Option<&'a Adapter>,
}

/// One forward pass. Sequences lie one after the other and cover all tokens.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    pub tokens: &'a [u32],
    /// The position of each token in its sequence, from 0.
    pub positions: &'a [u32],
    pub sequences: &'a [SequenceSlice<'a>],
    /// Where each token's key and value go in each group: block × block_tokens + offset. Must agree
    /// with the sequence's block table, through which later tokens will read them.
    pub slots: Groups<&'a [u32]>,
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
    #[error("sequence {sequence}: its {group} block table {why}")]
    Table {
        sequence: usize,
        group: Group,
        why: &'static str,
    },
    #[error("output {output} is not one of the batch's {tokens} tokens")]
    Output { output: u32, tokens: usize },
    #[error("the cache was made for another model")]
    Cache,
    #[error("sequence {sequence}: its adapter was read for another model")]
    Adapter { sequence: usize },
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
        let layout = cache.layout();
        let slots = |group| match layout.has(group) {
            true => self.slots.of(group).len(),
            false => tokens,
        };
        for (what, found) in [
            ("positions", self.positions.len()),
            ("global slots", slots(Group::Global)),
            ("windowed slots", slots(Group::Windowed)),
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
            let is_ours = |adapter: &Adapter| adapter.fits(&facts.digest);
            if !sequence.adapter.is_none_or(is_ours) {
                return Err(BatchError::Adapter { sequence: index });
            }
            let first = self.check_positions(index, facts.context_tokens)?;
            for group in Group::ALL.into_iter().filter(|group| layout.has(*group)) {
                self.check_table((index, first), group, cache)?;
            }
        }
        Ok(())
    }

    /// The first of the sequence's positions here.
    fn check_positions(&self, index: usize, context: u32) -> Result<usize, BatchError> {
        let sequence = &self.sequences[index];
        let refuse = |why| BatchError::Sequence {
            sequence: index,
            why,
        };
        let Some(first) = sequence.context_len.checked_sub(sequence.len) else {
            return Err(refuse("has a context that is shorter than its tokens"));
        };
        let positions = &self.positions[sequence.start..][..sequence.len];
        for (expected, &position) in (first..).zip(positions) {
            if position as usize != expected {
                return Err(refuse("has positions that do not lead up to its context"));
            }
            if position >= context {
                return Err(BatchError::Position { position, context });
            }
        }
        Ok(first)
    }

    /// That the blocks which the sequence's tokens meet exist, and lead to the slots.
    fn check_table(
        &self,
        (index, first): (usize, usize),
        group: Group,
        cache: &KvCache,
    ) -> Result<(), BatchError> {
        let sequence = &self.sequences[index];
        let refuse = |why| {
            Err(BatchError::Table {
                sequence: index,
                group,
                why,
            })
        };
        let (table, layout) = (sequence.block_tables.of(group), cache.layout());
        let block_tokens = layout.block_tokens;
        let first_met = layout.first_met(group, first) / block_tokens;
        let Some(met) = table.get(first_met..sequence.context_len.div_ceil(block_tokens)) else {
            return refuse("is too short");
        };
        let blocks = *cache.blocks().of(group);
        if met.iter().any(|block| *block as usize >= blocks) {
            return refuse("names a block that the cache does not have");
        }
        let slots = &self.slots.of(group)[sequence.start..][..sequence.len];
        for (position, &slot) in (first..).zip(slots) {
            let block = table[position / block_tokens] as usize;
            if slot as usize != block * block_tokens + position % block_tokens {
                return refuse("does not lead to a slot");
            }
        }
        Ok(())
    }
}
