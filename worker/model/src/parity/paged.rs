//! Sequences in a cache of as few blocks as they may need: blocks that lie before the window are
//! given back, spoiled, and used again.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::groups::{BLOCK_TOKENS, Extent, Group, Groups};
use crate::{Adapter, Batch, KvCache, Logits, Model, SequenceSlice};

/// In place of a block that was given back.
const NOWHERE: u32 = u32::MAX;

pub(super) struct Paged {
    cache: KvCache,
    free: Groups<VecDeque<u32>>,
}

/// How far a sequence has come.
#[derive(Default)]
pub(super) struct Sequence {
    done: usize,
    tables: Groups<Vec<u32>>,
    adapter: Option<Arc<Adapter>>,
}

impl Sequence {
    pub(super) fn with(adapter: Option<&Arc<Adapter>>) -> Self {
        Self {
            adapter: adapter.cloned(),
            ..Self::default()
        }
    }
}

impl Paged {
    /// Room for so many sequences of `longest` tokens, of each of which a step computes at most
    /// `step_tokens`.
    pub(super) fn new(model: &Model, sequences: usize, longest: usize, step_tokens: usize) -> Self {
        let extent = Extent {
            longest,
            back_to: None,
        };
        let layout = model.block_layout(BLOCK_TOKENS);
        let most = layout.most(extent, step_tokens);
        let blocks = Groups::each(|group| sequences * most.of(group));
        let mut cache = KvCache::new(model, blocks, BLOCK_TOKENS).unwrap();
        let free = Groups::each(|group| (0..*blocks.of(group) as u32).collect());
        for group in Group::ALL.into_iter().filter(|group| layout.has(*group)) {
            (0..*blocks.of(group)).for_each(|block| cache.spoil(group, block));
        }
        Self { cache, free }
    }

    /// One forward pass over the next tokens of each sequence: the logits of each of these.
    pub(super) fn step(
        &mut self,
        model: &mut Model,
        next: &mut [(&mut Sequence, &[u32])],
    ) -> Vec<Vec<f32>> {
        let (mut all, mut positions) = (Vec::new(), Vec::new());
        let mut slots = Groups::<Vec<u32>>::default();
        let mut starts = Vec::new();
        for (sequence, _) in next.iter_mut() {
            self.slide(sequence);
        }
        for (sequence, tokens) in next.iter_mut() {
            starts.push(all.len());
            all.extend_from_slice(tokens);
            let end = sequence.done + tokens.len();
            positions.extend(sequence.done as u32..end as u32);
            self.grow(sequence, end, &mut slots);
            sequence.done = end;
        }
        let sequences: Vec<SequenceSlice<'_>> = next
            .iter()
            .zip(starts)
            .map(|((sequence, tokens), start)| SequenceSlice {
                start,
                len: tokens.len(),
                context_len: sequence.done,
                block_tables: Groups::each(|group| &sequence.tables.of(group)[..]),
                adapter: sequence.adapter.as_deref(),
            })
            .collect();
        let outputs: Vec<u32> = (0..all.len() as u32).collect();
        let batch = Batch {
            tokens: &all,
            positions: &positions,
            sequences: &sequences,
            slots: Groups::each(|group| &slots.of(group)[..]),
            outputs: &outputs,
        };
        let mut logits = Logits::new();
        model.forward(&mut self.cache, &batch, &mut logits).unwrap();
        (0..logits.rows())
            .map(|row| logits.row(row).to_vec())
            .collect()
    }

    /// Gives back what no later token meets.
    fn slide(&mut self, sequence: &mut Sequence) {
        let layout = self.cache.layout();
        for group in Group::ALL {
            let first = layout.first_met(group, sequence.done) / BLOCK_TOKENS;
            for block in sequence.tables.of_mut(group).iter_mut().take(first) {
                if *block != NOWHERE {
                    self.cache.spoil(group, *block as usize);
                    self.free.of_mut(group).push_back(*block);
                    *block = NOWHERE;
                }
            }
        }
    }

    /// Takes blocks for all tokens before `end`.
    fn grow(&mut self, sequence: &mut Sequence, end: usize, slots: &mut Groups<Vec<u32>>) {
        let layout = self.cache.layout();
        for group in Group::ALL.into_iter().filter(|group| layout.has(*group)) {
            let table = sequence.tables.of_mut(group);
            while table.len() * BLOCK_TOKENS < end {
                table.push(self.free.of_mut(group).pop_front().unwrap());
            }
            let slot = |position: usize| {
                table[position / BLOCK_TOKENS] * BLOCK_TOKENS as u32
                    + (position % BLOCK_TOKENS) as u32
            };
            slots.of_mut(group).extend((sequence.done..end).map(slot));
        }
    }
}
