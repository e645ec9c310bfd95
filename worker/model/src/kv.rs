//! The paged memory of keys and values: a pool of blocks that sequences' block tables point into.
//!
//! Which block belongs to whom is the scheduler's business; here is only the memory.

use half::{bf16, f16};
use weir_kernels::Elements;
use weir_kernels::attention::PagedCache;

use crate::spec::DecoderSpec;
use crate::{LoadError, Model};

/// Keys and values of every layer for a fixed number of blocks, all of it allocated at once.
///
/// Laid out as `[layer][block][key or value][head][token of the block][dimension]`.
#[derive(Debug)]
pub struct KvCache {
    blocks: usize,
    block_tokens: usize,
    shape: Shape,
    pool: Pool,
}

/// What a cache must have in common with the model that uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) kind: KvKind,
}

/// What keys and values are to be stored as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyValueType {
    /// F32 for a model in f32, else BF16 where the file has that, else F16.
    #[default]
    Auto,
    F32,
    Bf16,
    F16,
}

impl KeyValueType {
    pub const ALL: [Self; 4] = [Self::Auto, Self::F32, Self::Bf16, Self::F16];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
        }
    }
}

/// What keys and values are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KvKind {
    F32,
    Bf16,
    F16,
}

impl KvKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::Bf16 | Self::F16 => size_of::<u16>(),
        }
    }
}

#[derive(Debug)]
enum Pool {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl KvCache {
    /// Room for `blocks` × `block_tokens` tokens.
    ///
    /// # Errors
    /// Where there is not that much memory.
    ///
    /// # Panics
    /// Where `block_tokens` is not a multiple of 16, in which attention reads.
    pub fn new(model: &Model, blocks: usize, block_tokens: usize) -> Result<Self, LoadError> {
        assert!(
            block_tokens > 0 && block_tokens.is_multiple_of(16),
            "a block is a multiple of 16 tokens"
        );
        let shape = model.kv_shape();
        let block = shape.layers * shape.block_length(block_tokens);
        let length = blocks.saturating_mul(block);
        let pool = match shape.kind {
            KvKind::F32 => Pool::F32(zeros(length)?),
            KvKind::Bf16 => Pool::Bf16(zeros(length)?),
            KvKind::F16 => Pool::F16(zeros(length)?),
        };
        Ok(Self {
            blocks,
            block_tokens,
            shape,
            pool,
        })
    }

    /// What one block takes, over all layers.
    pub fn block_bytes(model: &Model, block_tokens: usize) -> usize {
        let shape = model.kv_shape();
        shape.layers * shape.block_length(block_tokens) * shape.kind.bytes()
    }

    pub fn blocks(&self) -> usize {
        self.blocks
    }

    pub fn block_tokens(&self) -> usize {
        self.block_tokens
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Puts rows of keys and values of one layer where `slots` say.
    pub(crate) fn store(&mut self, layer: usize, slots: &[u32], keys: &[f32], values: &[f32]) {
        let length = self.blocks * self.shape.block_length(self.block_tokens);
        let range = layer * length..(layer + 1) * length;
        let (shape, block_tokens) = (self.shape, self.block_tokens);
        match &mut self.pool {
            Pool::F32(pool) => {
                let layer = &mut pool[range];
                shape.scatter(layer, block_tokens, (slots, keys, values), |value| value);
            }
            Pool::Bf16(pool) => {
                let layer = &mut pool[range];
                shape.scatter(layer, block_tokens, (slots, keys, values), bf16::from_f32);
            }
            Pool::F16(pool) => {
                let layer = &mut pool[range];
                shape.scatter(layer, block_tokens, (slots, keys, values), f16::from_f32);
            }
        }
    }

    /// One layer, as attention reads it.
    pub(crate) fn layer(&self, layer: usize) -> PagedCache<'_> {
        let length = self.blocks * self.shape.block_length(self.block_tokens);
        let range = layer * length..(layer + 1) * length;
        PagedCache {
            elements: match &self.pool {
                Pool::F32(pool) => Elements::F32(&pool[range]),
                Pool::Bf16(pool) => Elements::Bf16(&pool[range]),
                Pool::F16(pool) => Elements::F16(&pool[range]),
            },
            block_tokens: self.block_tokens,
            heads: self.shape.heads,
            head_dim: self.shape.head_dim,
        }
    }
}

impl Shape {
    pub(crate) fn new(spec: &DecoderSpec, kind: KvKind) -> Self {
        Self {
            layers: spec.layers.len(),
            heads: spec.kv_heads,
            head_dim: spec.head_dim,
            kind,
        }
    }

    /// What keys and values of one token take, over all layers.
    pub(crate) fn token_bytes(&self) -> usize {
        self.layers * self.block_length(1) * self.kind.bytes()
    }

    /// Numbers in one block of one layer.
    fn block_length(&self, block_tokens: usize) -> usize {
        2 * self.heads * block_tokens * self.head_dim
    }

    fn scatter<T>(
        &self,
        layer: &mut [T],
        block_tokens: usize,
        (slots, keys, values): (&[u32], &[f32], &[f32]),
        stored: impl Fn(f32) -> T,
    ) {
        let dim = self.head_dim;
        let width = self.heads * dim;
        let rows = keys.chunks_exact(width).zip(values.chunks_exact(width));
        for (&slot, (keys, values)) in slots.iter().zip(rows) {
            let (block, token) = (slot as usize / block_tokens, slot as usize % block_tokens);
            for (part, row) in [keys, values].into_iter().enumerate() {
                for (head, from) in row.chunks_exact(dim).enumerate() {
                    let place = ((block * 2 + part) * self.heads + head) * block_tokens + token;
                    let to = &mut layer[place * dim..][..dim];
                    for (to, from) in to.iter_mut().zip(from) {
                        *to = stored(*from);
                    }
                }
            }
        }
    }
}

fn zeros<T: Copy + Default>(length: usize) -> Result<Vec<T>, LoadError> {
    let mut pool = Vec::new();
    pool.try_reserve_exact(length)
        .map_err(|_| LoadError::Memory {
            what: "the cache of keys and values",
            bytes: length.saturating_mul(size_of::<T>()),
        })?;
    pool.resize(length, T::default());
    Ok(pool)
}
