//! The paged memory of keys and values: blocks that sequences' block tables point into, for each
//! group of layers its own.
//!
//! Which block belongs to whom is the scheduler's business; here is only the memory.

mod pool;

use weir_kernels::attention::PagedCache;

use self::pool::Pool;
use crate::groups::{BlockLayout, Group, Groups};
use crate::spec::{DecoderSpec, LayerSpec};
use crate::{LoadError, Model};

/// Keys and values of every layer for a fixed number of blocks of its group, all of it reserved at
/// once; pages are taken as blocks are first used.
///
/// Laid out as `[layer][block][key or value][head][token of the block][dimension]`.
#[derive(Debug)]
pub struct KvCache {
    blocks: Groups<usize>,
    layout: BlockLayout,
    shape: Shape,
    /// Where each layer begins, and where the last one ends.
    starts: Vec<usize>,
    pool: Pool,
}

/// What a cache must have in common with the model that uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The group of each layer.
    pub(crate) layers: Vec<Group>,
    /// The longest window of a layer.
    pub(crate) window: usize,
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
    /// Eight bits each, and a power of two for each head's key and value: see [`weir_kernels::e4m3`].
    Fp8,
}

impl KeyValueType {
    pub const ALL: [Self; 5] = [Self::Auto, Self::F32, Self::Bf16, Self::F16, Self::Fp8];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
            Self::Fp8 => "Fp8",
        }
    }
}

/// What keys and values are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KvKind {
    F32,
    Bf16,
    F16,
    Fp8,
}

impl KvKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
            Self::Fp8 => "Fp8",
        }
    }

    /// What one head's key or value takes.
    fn row_bytes(self, head_dim: usize) -> usize {
        match self {
            Self::F32 => head_dim.saturating_mul(size_of::<f32>()),
            Self::Bf16 | Self::F16 => head_dim.saturating_mul(size_of::<u16>()),
            // And its exponent.
            Self::Fp8 => head_dim.saturating_add(1),
        }
    }
}

impl KvCache {
    /// Room for so many blocks of `block_tokens` tokens in each group. Of a group without layers
    /// they take nothing.
    ///
    /// # Errors
    /// Where there is not that much memory.
    ///
    /// # Panics
    /// Where `block_tokens` is not a multiple of 16, in which attention reads.
    pub fn new(
        model: &Model,
        blocks: Groups<usize>,
        block_tokens: usize,
    ) -> Result<Self, LoadError> {
        assert!(
            block_tokens > 0 && block_tokens.is_multiple_of(16),
            "a block is a multiple of 16 tokens"
        );
        let shape = model.kv_shape().clone();
        let block = shape
            .block_rows(block_tokens)
            .saturating_mul(shape.head_dim);
        let mut starts = vec![0_usize];
        for group in &shape.layers {
            let end = starts.last().copied().unwrap_or_default();
            starts.push(end.saturating_add(blocks.of(*group).saturating_mul(block)));
        }
        let length = starts.last().copied().unwrap_or_default();
        let pool = Pool::new(shape.kind, length, shape.head_dim)?;
        Ok(Self {
            blocks,
            layout: shape.layout(block_tokens),
            shape,
            starts,
            pool,
        })
    }

    /// What one block of each group takes, over all of the group's layers.
    pub fn block_bytes(model: &Model, block_tokens: usize) -> Groups<usize> {
        model.kv_shape().block_bytes(block_tokens)
    }

    /// How many there are of each group.
    pub fn blocks(&self) -> Groups<usize> {
        self.blocks
    }

    pub fn layout(&self) -> BlockLayout {
        self.layout
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Puts rows of keys and values of one layer where `slots` say.
    pub(crate) fn store(&mut self, layer: usize, slots: &[u32], keys: &[f32], values: &[f32]) {
        let Shape {
            heads, head_dim, ..
        } = self.shape;
        let (block_tokens, start) = (self.layout.block_tokens, self.starts[layer]);
        let width = heads * head_dim;
        let rows = keys.chunks_exact(width).zip(values.chunks_exact(width));
        for (&slot, (keys, values)) in slots.iter().zip(rows) {
            let (block, token) = (slot as usize / block_tokens, slot as usize % block_tokens);
            for (part, row) in [keys, values].into_iter().enumerate() {
                for (head, from) in row.chunks_exact(head_dim).enumerate() {
                    let place = ((block * 2 + part) * heads + head) * block_tokens + token;
                    self.pool.write(start + place * head_dim, from);
                }
            }
        }
    }

    /// Makes a block hold what nobody may read.
    #[cfg(test)]
    pub(crate) fn spoil(&mut self, group: Group, block: usize) {
        let head_dim = self.shape.head_dim;
        let length = self.shape.block_rows(self.layout.block_tokens) * head_dim;
        let layers = self.shape.layers.iter().zip(&self.starts);
        for (_, start) in layers.filter(|(layer, _)| **layer == group) {
            let range = start + block * length..start + (block + 1) * length;
            self.pool.spoil(range, head_dim);
        }
    }

    /// One layer, as attention reads it.
    pub(crate) fn layer(&self, layer: usize) -> PagedCache<'_> {
        let range = self.starts[layer]..self.starts[layer + 1];
        PagedCache {
            stored: self.pool.stored(range, self.shape.head_dim),
            block_tokens: self.layout.block_tokens,
            heads: self.shape.heads,
            head_dim: self.shape.head_dim,
        }
    }
}

impl Shape {
    pub(crate) fn new(spec: &DecoderSpec, kind: KvKind) -> Self {
        let windows = spec.layers.iter().filter_map(|layer| layer.window);
        Self {
            layers: spec.layers.iter().map(LayerSpec::group).collect(),
            window: windows.max().unwrap_or_default(),
            heads: spec.kv_heads,
            head_dim: spec.head_dim,
            kind,
        }
    }

    pub(crate) fn layout(&self, block_tokens: usize) -> BlockLayout {
        let layers = self.layers.iter();
        BlockLayout {
            block_tokens,
            layers: Groups::each(|group| layers.clone().filter(|of| **of == group).count()),
            window: self.window,
        }
    }

    pub(crate) fn block_bytes(&self, block_tokens: usize) -> Groups<usize> {
        let block = self
            .block_rows(block_tokens)
            .saturating_mul(self.kind.row_bytes(self.head_dim));
        let layers = self.layout(block_tokens).layers;
        Groups::each(|group| layers.of(group).saturating_mul(block))
    }

    /// Keys and values of all heads in one block of one layer.
    fn block_rows(&self, block_tokens: usize) -> usize {
        [self.heads, block_tokens]
            .into_iter()
            .fold(2, usize::saturating_mul)
    }
}
