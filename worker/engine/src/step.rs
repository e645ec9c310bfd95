//! The only file that touches tensors: packs parts of sequences into one forward pass.

use std::ops::Range;

use thiserror::Error;
use weir_model::{
    Adapter, Batch, BatchError, Group, Groups, KvCache, Logits, Model, ModelFacts, SequenceSlice,
};

/// The scheduler and the model disagree: a defect, after which nothing computed can be trusted.
#[derive(Debug, Error)]
#[error("compute a step of {tokens} tokens")]
pub struct StepError {
    tokens: usize,
    #[source]
    source: BatchError,
}

/// Tokens of one sequence that a step computes.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub tokens: &'a [u32],
    pub first_position: usize,
    pub block_tables: Groups<&'a [u32]>,
    pub adapter: Option<&'a Adapter>,
    /// Positions after which a row of logits is wanted.
    pub wanted: Range<usize>,
}

pub(crate) struct Step {
    model: Model,
    cache: KvCache,
    logits: Logits,
    states: Vec<f32>,
}

impl Step {
    pub fn new(model: Model, cache: KvCache) -> Self {
        Self {
            model,
            cache,
            logits: Logits::new(),
            states: Vec::new(),
        }
    }

    pub fn facts(&self) -> &ModelFacts {
        self.model.facts()
    }

    /// Computes all parts at once. Gives, for each wanted position in order, by what its logits are
    /// asked for until the next step.
    pub fn run(&mut self, parts: &[Part<'_>]) -> Result<Vec<u32>, StepError> {
        let (mut tokens, mut positions) = (Vec::new(), Vec::new());
        let mut slots = Groups::<Vec<u32>>::default();
        let (mut sequences, mut outputs) = (Vec::new(), Vec::new());
        for part in parts {
            let start = tokens.len();
            tokens.extend_from_slice(part.tokens);
            let end_position = part.first_position + part.tokens.len();
            positions.extend(part.first_position as u32..end_position as u32);
            for group in Group::ALL {
                slots.of_mut(group).extend(self.slots(part, group));
            }
            let wanted = part.wanted.clone();
            outputs.extend(wanted.map(|position| (start + position - part.first_position) as u32));
            sequences.push(SequenceSlice {
                start,
                len: part.tokens.len(),
                context_len: end_position,
                block_tables: part.block_tables,
                adapter: part.adapter,
            });
        }
        let batch = Batch {
            tokens: &tokens,
            positions: &positions,
            sequences: &sequences,
            slots: Groups::each(|group| &slots.of(group)[..]),
            outputs: &[],
        };
        self.model
            .forward(&mut self.cache, &batch, &mut self.logits)
            .map_err(|source| StepError {
                tokens: tokens.len(),
                source,
            })?;
        Ok(outputs)
    }

    /// Rows of logits of the last step, in the order of `outputs`.
    pub fn logits(&mut self, outputs: &[u32]) -> &Logits {
        self.model.logits(outputs, &mut self.logits);
        &self.logits
    }

    /// The states of tokens of the last step, a row each, by their indices in it.
    pub fn states(&mut self, tokens: &[u32]) -> std::slice::ChunksExact<'_, f32> {
        self.model.states(tokens, &mut self.states);
        self.states.chunks_exact(self.model.facts().hidden as usize)
    }

    /// Where keys and values of the part's tokens go in a group that the model has.
    fn slots(&self, part: &Part<'_>, group: Group) -> impl Iterator<Item = u32> {
        let (layout, table) = (self.cache.layout(), *part.block_tables.of(group));
        let count = if layout.has(group) {
            part.tokens.len()
        } else {
            0
        };
        let positions = part.first_position..part.first_position + count;
        positions.map(move |position| {
            let block = table[position / layout.block_tokens] as usize;
            (block * layout.block_tokens + position % layout.block_tokens) as u32
        })
    }
}
