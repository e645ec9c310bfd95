//! The only file that touches tensors: packs parts of sequences into one forward pass.

use std::ops::Range;

use thiserror::Error;
use weir_model::{Batch, BatchError, KvCache, Logits, Model, SequenceSlice};

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
    pub block_table: &'a [u32],
    /// Positions after which a row of logits is wanted.
    pub wanted: Range<usize>,
}

pub(crate) struct Step {
    model: Model,
    cache: KvCache,
    logits: Logits,
}

impl Step {
    pub fn new(model: Model, cache: KvCache) -> Self {
        Self {
            model,
            cache,
            logits: Logits::new(),
        }
    }

    /// Computes all parts at once: a row of logits for each wanted position, in order.
    pub fn run(&mut self, parts: &[Part<'_>]) -> Result<&Logits, StepError> {
        let block_tokens = self.cache.block_tokens();
        let (mut tokens, mut positions, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        let (mut sequences, mut outputs) = (Vec::new(), Vec::new());
        for part in parts {
            let start = tokens.len();
            tokens.extend_from_slice(part.tokens);
            let end_position = part.first_position + part.tokens.len();
            for position in part.first_position..end_position {
                positions.push(position as u32);
                let block = part.block_table[position / block_tokens] as usize;
                slots.push((block * block_tokens + position % block_tokens) as u32);
            }
            let wanted = part.wanted.clone();
            outputs.extend(wanted.map(|position| (start + position - part.first_position) as u32));
            sequences.push(SequenceSlice {
                start,
                len: part.tokens.len(),
                context_len: end_position,
                block_table: part.block_table,
            });
        }
        let batch = Batch {
            tokens: &tokens,
            positions: &positions,
            sequences: &sequences,
            slots: &slots,
            outputs: &outputs,
        };
        self.model
            .forward(&mut self.cache, &batch, &mut self.logits)
            .map_err(|source| StepError {
                tokens: tokens.len(),
                source,
            })?;
        Ok(&self.logits)
    }
}
