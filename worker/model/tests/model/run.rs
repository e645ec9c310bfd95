//! Runs sequences through a model, in one piece or in many.

use weir_model::{BLOCK_TOKENS, Batch, Groups, KvCache, Logits, Model, SequenceSlice};

/// One sequence and how far it has come.
pub struct Sequence {
    pub tokens: Vec<u32>,
    pub blocks: Vec<u32>,
    pub done: usize,
}

impl Sequence {
    pub fn new(tokens: &[u32], blocks: &[u32]) -> Self {
        Self {
            tokens: tokens.to_vec(),
            blocks: blocks.to_vec(),
            done: 0,
        }
    }
}

/// One forward pass over the next `lens[i]` tokens of sequence i; the logits of all those tokens,
/// sequence by sequence.
pub fn step(
    model: &mut Model,
    cache: &mut KvCache,
    sequences: &mut [Sequence],
    lens: &[usize],
) -> Vec<Vec<f32>> {
    let (mut tokens, mut positions, mut slots) = (Vec::new(), Vec::new(), Vec::new());
    let mut starts = Vec::new();
    for (sequence, &len) in sequences.iter_mut().zip(lens) {
        starts.push(tokens.len());
        for position in sequence.done..sequence.done + len {
            tokens.push(sequence.tokens[position]);
            positions.push(position as u32);
            let block = sequence.blocks[position / BLOCK_TOKENS];
            slots.push(block * BLOCK_TOKENS as u32 + (position % BLOCK_TOKENS) as u32);
        }
        sequence.done += len;
    }
    let slices: Vec<SequenceSlice<'_>> = sequences
        .iter()
        .zip(lens)
        .zip(&starts)
        .map(|((sequence, &len), &start)| SequenceSlice {
            start,
            len,
            context_len: sequence.done,
            block_tables: Groups::both(&sequence.blocks[..]),
            adapter: None,
        })
        .collect();
    let outputs: Vec<u32> = (0..tokens.len() as u32).collect();
    let mut logits = Logits::new();
    let batch = Batch {
        tokens: &tokens,
        positions: &positions,
        sequences: &slices,
        slots: Groups::both(&slots[..]),
        outputs: &outputs,
    };
    model.forward(cache, &batch, &mut logits).unwrap();
    (0..logits.rows())
        .map(|row| logits.row(row).to_vec())
        .collect()
}

/// The logits after every token of one sequence, alone and in one piece.
pub fn alone(model: &mut Model, tokens: &[u32]) -> Vec<Vec<f32>> {
    let blocks: Vec<u32> = (0..tokens.len().div_ceil(BLOCK_TOKENS) as u32).collect();
    let mut cache = KvCache::new(model, Groups::both(blocks.len()), BLOCK_TOKENS).unwrap();
    let mut sequences = [Sequence::new(tokens, &blocks)];
    step(model, &mut cache, &mut sequences, &[tokens.len()])
}
