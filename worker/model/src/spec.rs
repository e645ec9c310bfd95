//! What a decoder computes, as plain switches.
//!
//! A family of models is a translation of its config into these; the forward pass knows no family.

use crate::groups::Group;
use crate::rope::Rope;

/// More than any dense model has; a file that says more is damaged.
pub(crate) const MOST_LAYERS: usize = 1000;

/// The longest row of queries: many times what any dense model has, and what no product of
/// sizes overflows with.
pub(crate) const WIDEST: usize = 1 << 20;

pub(crate) fn too_wide(head_dim: usize) -> String {
    format!("which times {head_dim} dimensions is more than {WIDEST}")
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DecoderSpec {
    /// The family's name, for people.
    pub(crate) architecture: &'static str,
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) heads: usize,
    /// Divides `heads`: query heads share these in runs.
    pub(crate) kv_heads: usize,
    /// Even. Not always hidden ÷ heads.
    pub(crate) head_dim: usize,
    pub(crate) vocabulary: usize,
    pub(crate) layers: Vec<LayerSpec>,
    /// The different ropes that layers name by their index.
    pub(crate) ropes: Vec<Rope>,
    pub(crate) norm: NormSpec,
    pub(crate) attention: AttentionSpec,
    pub(crate) activation: Activation,
    pub(crate) biases: Biases,
    pub(crate) multipliers: Multipliers,
    /// Logits are pressed into (-cap, cap) by a tanh.
    pub(crate) logit_cap: Option<f32>,
    /// The embedding is the head.
    pub(crate) tied_head: bool,
    /// The longest sequence that the model was made for.
    pub(crate) context_tokens: u32,
}

/// What differs from layer to layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerSpec {
    /// How many positions a token meets, its own among them; none for all before it.
    pub(crate) window: Option<usize>,
    /// Index into [`DecoderSpec::ropes`]; none for a layer that knows no positions.
    pub(crate) rope: Option<usize>,
}

impl LayerSpec {
    /// Where its keys and values lie.
    pub(crate) fn group(&self) -> Group {
        match self.window {
            None => Group::Global,
            Some(_) => Group::Windowed,
        }
    }
}

/// Root mean square norms, before attention and feed-forward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NormSpec {
    pub(crate) epsilon: f32,
    /// Files hold the weight less one.
    pub(crate) plus_one: bool,
    /// Another norm follows attention and feed-forward, before they join the stream.
    pub(crate) after: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AttentionSpec {
    /// Scores are multiplied by it.
    pub(crate) scale: f32,
    /// Scores are pressed into (-cap, cap) by a tanh.
    pub(crate) cap: Option<f32>,
    /// Each head of queries and of keys is normed before it turns.
    pub(crate) head_norm: bool,
}

/// What opens the gate of a feed-forward layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    Silu,
    /// Gelu by its tanh approximation.
    GeluTanh,
}

/// Which projections add a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Biases {
    /// Of queries, keys and values.
    pub(crate) inputs: bool,
    /// Of what attention gives back.
    pub(crate) output: bool,
    /// Of gate, up and down.
    pub(crate) feed_forward: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Multipliers {
    pub(crate) embedding: f32,
    /// Of what a layer adds to the stream.
    pub(crate) residual: f32,
    /// Logits are divided by it.
    pub(crate) logit_divisor: f32,
}

impl Default for Multipliers {
    fn default() -> Self {
        Self {
            embedding: 1.0,
            residual: 1.0,
            logit_divisor: 1.0,
        }
    }
}

impl DecoderSpec {
    /// Length of a row of queries.
    pub(crate) fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Numbers in the matrices of all layers.
    pub(crate) fn projection_numbers(&self) -> u64 {
        let wide = |size: usize| size as u128;
        let attention = 2 * (wide(self.query_width()) + wide(self.kv_width()));
        let each = wide(self.hidden) * (attention + 3 * wide(self.intermediate));
        narrow(wide(self.layers.len()) * each)
    }

    /// Numbers in the embedding and the head.
    pub(crate) fn vocabulary_numbers(&self) -> u64 {
        let matrices = if self.tied_head { 1 } else { 2 };
        narrow(matrices * self.vocabulary as u128 * self.hidden as u128)
    }

    /// Length of a row of keys, and of values.
    pub(crate) fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// Sizes are what a file says: whoever exaggerates is told so, by what it would take.
fn narrow(numbers: u128) -> u64 {
    u64::try_from(numbers).unwrap_or(u64::MAX)
}
