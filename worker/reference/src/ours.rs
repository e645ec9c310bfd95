//! Our model along one sequence, as precise as the file is.

use std::path::Path;

use weir_model::{
    BLOCK_TOKENS, Batch, BatchError, Groups, KernelClass, KeyValueType, KvCache, LoadError,
    LoadOptions, Logits, Model, Quantization, SequenceSlice,
};

/// Our model, and one sequence in blocks that lie in order, so that a position is its own slot.
#[derive(Debug)]
pub struct Ours {
    model: Model,
    cache: KvCache,
    blocks: Vec<u32>,
    done: usize,
}

/// Our model with its weights as the file has them, and all else in f32 but for what packed weights
/// multiply, which is rounded to eight bits.
///
/// # Errors
/// Names the file, key or tensor that is missing or that cannot be served.
pub fn load(path: &Path, context_tokens: Option<u32>) -> Result<Model, LoadError> {
    let options = LoadOptions {
        context_tokens,
        quantization: Quantization::None,
        key_value_type: KeyValueType::F32,
        kernel_class: KernelClass::detect().without_rounding(),
        ..LoadOptions::default()
    };
    Model::load(path, &options)
}

impl Ours {
    /// Room for a sequence of up to `tokens`.
    ///
    /// # Errors
    /// Where there is not that much memory.
    pub fn new(model: Model, tokens: usize) -> Result<Self, LoadError> {
        let blocks: Vec<u32> = (0..tokens.div_ceil(BLOCK_TOKENS) as u32).collect();
        Ok(Self {
            cache: KvCache::new(&model, Groups::both(blocks.len()), BLOCK_TOKENS)?,
            model,
            blocks,
            done: 0,
        })
    }

    /// The logits after each of these tokens, which are read at once and follow those before.
    ///
    /// # Errors
    /// Where a token is none of the model's, or there is no room for it.
    pub fn read(&mut self, tokens: &[u32]) -> Result<Vec<Vec<f32>>, BatchError> {
        let positions: Vec<u32> = (self.done as u32..).take(tokens.len()).collect();
        let outputs: Vec<u32> = (0..tokens.len() as u32).collect();
        let batch = Batch {
            tokens,
            positions: &positions,
            sequences: &[SequenceSlice {
                start: 0,
                len: tokens.len(),
                context_len: self.done + tokens.len(),
                block_tables: Groups::both(&self.blocks),
                adapter: None,
            }],
            slots: Groups::both(&positions),
            outputs: &outputs,
        };
        let mut logits = Logits::new();
        self.model.forward(&mut self.cache, &batch, &mut logits)?;
        self.done += tokens.len();
        let rows = 0..logits.rows();
        Ok(rows.map(|row| logits.row(row).to_vec()).collect())
    }
}
