//! Candle's own model for each family, from the config and the tensors of a folder.

mod shape;

use candle_core::{Device, Result};
use candle_nn::VarBuilder;
use candle_transformers::models::smol::smollm3;
use candle_transformers::models::{
    gemma2, gemma3, granite, granitemoehybrid, llama, mistral, phi3, qwen2, qwen3,
};

use self::shape::Shape;
use crate::ReferenceError;
use crate::config::Config;
use crate::sequence::{Beside, Sequence};

/// Every family that candle has and Weir serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Gemma2,
    Gemma3,
    Granite,
    /// Granite 4's dense models, by the class of its hybrids.
    GraniteOfHybrids,
    Llama,
    Mistral,
    Phi3,
    Qwen2,
    Qwen3,
    SmolLm3,
}

impl Family {
    pub(crate) fn of(architecture: &str) -> std::result::Result<Self, ReferenceError> {
        match architecture {
            "Gemma2ForCausalLM" => Ok(Self::Gemma2),
            "Gemma3ForCausalLM" | "Gemma3ForConditionalGeneration" => Ok(Self::Gemma3),
            "GraniteForCausalLM" => Ok(Self::Granite),
            "GraniteMoeHybridForCausalLM" => Ok(Self::GraniteOfHybrids),
            "LlamaForCausalLM" => Ok(Self::Llama),
            "MistralForCausalLM" | "Mistral3ForConditionalGeneration" => Ok(Self::Mistral),
            "Phi3ForCausalLM" => Ok(Self::Phi3),
            "Qwen2ForCausalLM" => Ok(Self::Qwen2),
            "Qwen3ForCausalLM" => Ok(Self::Qwen3),
            "SmolLM3ForCausalLM" => Ok(Self::SmolLm3),
            _ => Err(ReferenceError::Missing {
                what: format!("{architecture} in folders"),
            }),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gemma2 => "Gemma2",
            Self::Gemma3 => "Gemma3",
            Self::Granite => "Granite",
            Self::GraniteOfHybrids => "GraniteMoeHybrid",
            Self::Llama => "Llama",
            Self::Mistral => "Mistral",
            Self::Phi3 => "Phi3",
            Self::Qwen2 => "Qwen2",
            Self::Qwen3 => "Qwen3",
            Self::SmolLm3 => "SmolLM3",
        }
    }

    pub(crate) fn is_tied(self, config: &Config) -> bool {
        match self {
            Self::Gemma2 | Self::Gemma3 | Self::SmolLm3 => {
                config.is_on_by_default("tie_word_embeddings")
            }
            _ => config.is_on("tie_word_embeddings"),
        }
    }

    /// The base of the rope, where a file says nothing.
    pub(crate) fn theta(self) -> f64 {
        match self {
            Self::Gemma3 => 1_000_000.0,
            Self::SmolLm3 => 2_000_000.0,
            _ => 10_000.0,
        }
    }

    /// The model, for sequences of up to `tokens`.
    pub(crate) fn build(
        self,
        config: &Config,
        weights: VarBuilder<'_>,
        tokens: usize,
    ) -> Result<Box<dyn Sequence>> {
        let shape = Shape::of(self, config, tokens);
        Ok(match self {
            Self::Gemma2 => Box::new(gemma2::Model::new(false, &shape.gemma2(config), weights)?),
            Self::Gemma3 => Box::new(gemma3::Model::new(false, &shape.gemma3(config), weights)?),
            Self::Granite => {
                let config = shape.granite();
                let cache = granite::Cache::new(true, weights.dtype(), &config, &Device::Cpu)?;
                Box::new(Beside {
                    model: granite::Granite::load(weights, &config)?,
                    empty: cache.clone(),
                    cache,
                })
            }
            Self::GraniteOfHybrids => {
                let config = shape.granite_of_hybrids(config);
                let cache = granitemoehybrid::GraniteMoeHybridCache::new(
                    true,
                    weights.dtype(),
                    &config,
                    &Device::Cpu,
                )?;
                Box::new(Beside {
                    model: granitemoehybrid::GraniteMoeHybrid::load(weights, &config)?,
                    empty: cache.clone(),
                    cache,
                })
            }
            Self::Llama => {
                let config = shape.llama(config);
                let cache = llama::Cache::new(true, weights.dtype(), &config, &Device::Cpu)?;
                Box::new(Beside {
                    model: llama::Llama::load(weights, &config)?,
                    empty: cache.clone(),
                    cache,
                })
            }
            Self::Mistral => Box::new(mistral::Model::new(&shape.mistral(config), weights)?),
            Self::Phi3 => Box::new(phi3::Model::new(&shape.phi3(config), weights)?),
            Self::Qwen2 => Box::new(qwen2::ModelForCausalLM::new(&shape.qwen2(), weights)?),
            Self::Qwen3 => Box::new(qwen3::ModelForCausalLM::new(&shape.qwen3(config), weights)?),
            Self::SmolLm3 => Box::new(smollm3::ModelForCausalLM::new(
                &shape.smollm3(config),
                weights,
            )?),
        })
    }
}
