//! Candle's models behind one small trait: one sequence, token by token or many at once.

use candle_core::{Result, Tensor};
use candle_transformers::models::{
    gemma2, gemma3, granite, granitemoehybrid, llama, mistral, phi3, quantized_gemma3,
    quantized_llama, quantized_phi3, quantized_qwen2, quantized_qwen3, qwen2, qwen3, smol::smollm3,
};

/// A model and the keys and values of one sequence.
pub(crate) trait Sequence {
    /// The logits after the last of these tokens, which follow `position` others.
    fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor>;

    /// Forgets the sequence.
    fn clear(&mut self) -> Result<()>;
}

/// A model that keeps its keys and values itself.
macro_rules! keeps_its_own {
    ($($model:path),+) => {$(
        impl Sequence for $model {
            fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
                Self::forward(self, tokens, position)
            }

            fn clear(&mut self) -> Result<()> {
                self.clear_kv_cache();
                Ok(())
            }
        }
    )+};
}

keeps_its_own!(
    gemma2::Model,
    gemma3::Model,
    mistral::Model,
    phi3::Model,
    qwen2::ModelForCausalLM,
    qwen3::ModelForCausalLM,
    smollm3::ModelForCausalLM,
    quantized_llama::ModelWeights,
    quantized_qwen2::ModelWeights,
    quantized_qwen3::ModelWeights
);

/// A model that begins a new sequence wherever it is given position 0.
macro_rules! begins_at_nothing {
    ($($model:path),+) => {$(
        impl Sequence for $model {
            fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
                Self::forward(self, tokens, position)
            }

            fn clear(&mut self) -> Result<()> {
                Ok(())
            }
        }
    )+};
}

begins_at_nothing!(quantized_gemma3::ModelWeights, quantized_phi3::ModelWeights);

/// A model beside its cache, and how an empty one is made.
pub(crate) struct Beside<M, C> {
    pub(crate) model: M,
    pub(crate) cache: C,
    pub(crate) empty: C,
}

impl Sequence for Beside<llama::Llama, llama::Cache> {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        self.model.forward(tokens, position, &mut self.cache)
    }

    fn clear(&mut self) -> Result<()> {
        self.cache = self.empty.clone();
        Ok(())
    }
}

impl Sequence for Beside<granite::Granite, granite::Cache> {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        self.model.forward(tokens, position, &mut self.cache)
    }

    fn clear(&mut self) -> Result<()> {
        self.cache = self.empty.clone();
        Ok(())
    }
}

impl Sequence
    for Beside<granitemoehybrid::GraniteMoeHybrid, granitemoehybrid::GraniteMoeHybridCache>
{
    fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        self.model.forward(tokens, position, &mut self.cache)
    }

    fn clear(&mut self) -> Result<()> {
        self.cache = self.empty.clone();
        Ok(())
    }
}
