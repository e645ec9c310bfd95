//! What a decoder computes, as plain switches.
//!
//! A family of models is a translation of its config into these; the forward pass knows no family.

use crate::rope::Rope;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DecoderSpec {
    /// The family's name, for people.
    pub(crate) architecture: &'static str,
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// Divides `heads`: query heads share these in runs.
    pub(crate) kv_heads: usize,
    /// Even. Not always hidden ÷ heads.
    pub(crate) head_dim: usize,
    pub(crate) vocabulary: usize,
    pub(crate) norm_epsilon: f32,
    pub(crate) rope: Rope,
    /// Query, key, value and output projections have a bias.
    pub(crate) attention_bias: bool,
    /// Gate, up and down projections have a bias.
    pub(crate) mlp_bias: bool,
    /// The embedding is the head.
    pub(crate) tied_head: bool,
    /// The longest sequence that the model was made for.
    pub(crate) context_tokens: u32,
}

impl DecoderSpec {
    /// Length of a row of queries.
    pub(crate) fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Length of a row of keys, and of values.
    pub(crate) fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    pub(crate) fn attention_scale(&self) -> f32 {
        (self.head_dim as f32).powf(-0.5)
    }
}
