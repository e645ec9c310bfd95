//! A sequence that is read and written for its time alone: its tokens mean nothing.

use std::time::Instant;

use weir_model::{BLOCK_TOKENS, Batch, Groups, KvCache, Logits, Model, SequenceSlice};

/// One sequence and its cache.
pub struct Run {
    pub model: Model,
    cache: KvCache,
    blocks: Vec<u32>,
    logits: Logits,
    /// Tokens of it that are computed; fewer is a way back.
    pub done: usize,
}

impl Run {
    pub fn new(model: Model, tokens: usize) -> anyhow::Result<Self> {
        let blocks: Vec<u32> = (0..(tokens + 1).div_ceil(BLOCK_TOKENS) as u32).collect();
        Ok(Self {
            cache: KvCache::new(&model, Groups::both(blocks.len()), BLOCK_TOKENS)?,
            model,
            blocks,
            logits: Logits::new(),
            done: 0,
        })
    }

    /// Tokens a second over `count` of them, so many at a time.
    pub fn timed(&mut self, count: usize, at_once: usize) -> anyhow::Result<f64> {
        let began = Instant::now();
        let end = self.done + count;
        while self.done < end {
            self.extend(at_once.min(end - self.done))?;
        }
        Ok(count as f64 / began.elapsed().as_secs_f64())
    }

    pub fn extend(&mut self, count: usize) -> anyhow::Result<()> {
        let places = self.done as u32..(self.done + count) as u32;
        self.done += count;
        let vocabulary = self.model.facts().vocabulary;
        let tokens: Vec<u32> = places
            .clone()
            .map(|place| place.wrapping_mul(7919) % vocabulary)
            .collect();
        let positions: Vec<u32> = places.collect();
        let batch = Batch {
            tokens: &tokens,
            positions: &positions,
            sequences: &[SequenceSlice {
                start: 0,
                len: count,
                context_len: self.done,
                block_tables: Groups::both(&self.blocks[..]),
                adapter: None,
            }],
            slots: Groups::both(&positions[..]),
            outputs: &[count as u32 - 1],
        };
        self.model
            .forward(&mut self.cache, &batch, &mut self.logits)?;
        Ok(())
    }
}
