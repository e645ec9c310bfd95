//! The paged memory of keys and values: blocks that sequences' block tables point into, for each
//! group of layers its own.
//!
//! Which block belongs to whom is the scheduler's business; here is only the memory.

use half::vec::HalfBitsVecExt;
use half::{bf16, f16};
use weir_kernels::Elements;
use weir_kernels::attention::PagedCache;

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
        let block = shape.block_length(block_tokens);
        let mut starts = vec![0_usize];
        for group in &shape.layers {
            let end = starts.last().copied().unwrap_or_default();
            starts.push(end.saturating_add(blocks.of(*group).saturating_mul(block)));
        }
        let length = starts.last().copied().unwrap_or_default();
        let pool = match shape.kind {
            KvKind::F32 => Pool::F32(zeros(0.0, length)?),
            KvKind::Bf16 => Pool::Bf16(zeros(0_u16, length)?.reinterpret_into()),
            KvKind::F16 => Pool::F16(zeros(0_u16, length)?.reinterpret_into()),
        };
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
        let range = self.starts[layer]..self.starts[layer + 1];
        let (shape, block_tokens) = (&self.shape, self.layout.block_tokens);
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

    /// Makes a block hold what nobody may read.
    #[cfg(test)]
    pub(crate) fn spoil(&mut self, group: Group, block: usize) {
        let length = self.shape.block_length(self.layout.block_tokens);
        for (layer, start) in self.shape.layers.iter().zip(&self.starts) {
            let range = start + block * length..start + (block + 1) * length;
            match &mut self.pool {
                _ if *layer != group => {}
                Pool::F32(pool) => pool[range].fill(f32::NAN),
                Pool::Bf16(pool) => pool[range].fill(bf16::NAN),
                Pool::F16(pool) => pool[range].fill(f16::NAN),
            }
        }
    }

    /// One layer, as attention reads it.
    pub(crate) fn layer(&self, layer: usize) -> PagedCache<'_> {
        let range = self.starts[layer]..self.starts[layer + 1];
        PagedCache {
            elements: match &self.pool {
                Pool::F32(pool) => Elements::F32(&pool[range]),
                Pool::Bf16(pool) => Elements::Bf16(&pool[range]),
                Pool::F16(pool) => Elements::F16(&pool[range]),
            },
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
            .block_length(block_tokens)
            .saturating_mul(self.kind.bytes());
        let layers = self.layout(block_tokens).layers;
        Groups::each(|group| layers.of(group).saturating_mul(block))
    }

    /// Numbers in one block of one layer.
    fn block_length(&self, block_tokens: usize) -> usize {
        [self.heads, block_tokens, self.head_dim]
            .into_iter()
            .fold(2, usize::saturating_mul)
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

/// Numbers that are all bits zero. The system gives a page when it is first written to, so that
/// blocks nobody has used take nothing.
fn zeros<T: Clone>(zero: T, length: usize) -> Result<Vec<T>, LoadError> {
    let mut room = Vec::<T>::new();
    room.try_reserve_exact(length)
        .map_err(|_| LoadError::Memory {
            what: "the cache of keys and values",
            bytes: length.saturating_mul(size_of::<T>()),
        })?;
    drop(room);
    // Not by growing what was reserved, which would write to every page.
    Ok(vec![zero; length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_bytes() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    }

    #[test]
    fn numbers_that_nobody_wrote_take_no_memory() {
        let length = 256 << 20;
        let before = resident_bytes();
        let narrow = zeros(0_u16, length).unwrap().reinterpret_into::<f16>();
        let wide = zeros(0_f32, length).unwrap();
        let grown = resident_bytes().saturating_sub(before);
        assert_eq!((narrow[length - 1], wide[length / 2]), (f16::ZERO, 0.0));
        assert!(grown < length, "{grown} bytes");
    }
}
