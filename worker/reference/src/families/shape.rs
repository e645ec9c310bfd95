//! The configs that candle's models take, from what they have in common.

use candle_nn::Activation;
use candle_transformers::models::smol::smollm3;
use candle_transformers::models::{
    gemma2, gemma3, granite, granitemoehybrid, llama, mistral, phi3, qwen2, qwen3,
};

use super::Family;
use crate::config::Config;

/// A window that nothing reaches: candle's mask has one where the model has none.
const NO_WINDOW: usize = 1 << 40;

/// What the configs of all families have.
pub(super) struct Shape {
    vocabulary: usize,
    hidden: usize,
    intermediate: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    epsilon: f64,
    theta: f64,
    activation: Activation,
    /// Positions that tables are made for.
    positions: usize,
    is_tied: bool,
}

impl Shape {
    pub(super) fn of(family: Family, config: &Config, tokens: usize) -> Self {
        // Vocabulary, hidden, inner, layers, heads of a class that files leave something out of.
        let class = match family {
            Family::Gemma2 => [256_000, 2304, 9216, 26, 8],
            Family::Gemma3 => [262_208, 2304, 9216, 26, 8],
            Family::GraniteOfHybrids => [32_000, 4096, 1024, 32, 32],
            _ => [0; 5],
        };
        let inner = match family {
            Family::GraniteOfHybrids => "shared_intermediate_size",
            _ => "intermediate_size",
        };
        let size = |key, place: usize| config.size(key).unwrap_or(class[place]);
        let heads = size("num_attention_heads", 4);
        let kv_heads = match family {
            Family::Gemma2 | Family::Gemma3 | Family::SmolLm3 => 4,
            Family::Mistral => 8,
            Family::Qwen2 | Family::Qwen3 => 32,
            _ => heads,
        };
        let (epsilon, activation) = match family {
            Family::Phi3 => (1e-5, Activation::Silu),
            Family::Gemma2 | Family::Gemma3 => (1e-6, Activation::GeluPytorchTanh),
            _ => (1e-6, Activation::Silu),
        };
        let of = (family == Family::Gemma3).then_some("full_attention");
        Self {
            vocabulary: size("vocab_size", 0),
            hidden: size("hidden_size", 1),
            intermediate: size(inner, 2),
            layers: size("num_hidden_layers", 3),
            heads,
            kv_heads: config
                .size_unless_null("num_key_value_heads", kv_heads)
                .unwrap_or(heads),
            epsilon: config.number("rms_norm_eps").unwrap_or(epsilon),
            theta: config.rope(family.theta(), of).theta,
            activation: config.activation(activation),
            // Llama's cache takes the number of heads for one of positions.
            positions: tokens.max(1024),
            is_tied: family.is_tied(config),
        }
    }

    pub(super) fn llama(&self, config: &Config) -> llama::Config {
        let rope = config.rope(self.theta, None);
        let number = |key| rope.number(key).unwrap_or_default() as f32;
        let original = rope.number("original_max_position_embeddings");
        let scaling = (rope.kind == "llama3").then(|| llama::Llama3RopeConfig {
            factor: number("factor"),
            low_freq_factor: number("low_freq_factor"),
            high_freq_factor: number("high_freq_factor"),
            original_max_position_embeddings: original.unwrap_or_default() as usize,
            rope_type: llama::Llama3RopeType::Llama3,
        });
        llama::Config {
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            vocab_size: self.vocabulary,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            num_key_value_heads: self.kv_heads,
            use_flash_attn: false,
            rms_norm_eps: self.epsilon,
            rope_theta: self.theta as f32,
            bos_token_id: None,
            eos_token_id: None,
            rope_scaling: scaling,
            max_position_embeddings: self.positions,
            tie_word_embeddings: self.is_tied,
        }
    }

    pub(super) fn granite(&self) -> granite::Config {
        granite::Config {
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            vocab_size: self.vocabulary,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            num_key_value_heads: self.kv_heads,
            use_flash_attn: false,
            rms_norm_eps: self.epsilon,
            rope_theta: self.theta as f32,
            bos_token_id: None,
            eos_token_id: None,
            rope_scaling: None,
            max_position_embeddings: self.positions,
        }
    }

    pub(super) fn granite_of_hybrids(
        &self,
        config: &Config,
    ) -> granitemoehybrid::GraniteMoeHybridInternalConfig {
        let multiplier = |key| config.number(key).unwrap_or(1.0) as f32;
        let attention = granitemoehybrid::GraniteMoeHybridLayerType::Attention;
        granitemoehybrid::GraniteMoeHybridInternalConfig {
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            shared_intermediate_size: self.intermediate,
            vocab_size: self.vocabulary,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            num_key_value_heads: self.kv_heads,
            use_flash_attn: false,
            rms_norm_eps: self.epsilon,
            rope_theta: self.theta as f32,
            bos_token_id: None,
            eos_token_id: None,
            rope_scaling: None,
            max_position_embeddings: self.positions,
            layer_types: vec![attention; self.layers],
            attention_multiplier: multiplier("attention_multiplier"),
            embedding_multiplier: multiplier("embedding_multiplier"),
            residual_multiplier: multiplier("residual_multiplier"),
            logits_scaling: multiplier("logits_scaling"),
        }
    }

    pub(super) fn mistral(&self, config: &Config) -> mistral::Config {
        mistral::Config {
            vocab_size: self.vocabulary,
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            head_dim: config.size("head_dim"),
            num_key_value_heads: self.kv_heads,
            hidden_act: self.activation,
            max_position_embeddings: self.positions,
            rms_norm_eps: self.epsilon,
            rope_theta: self.theta,
            sliding_window: None,
            use_flash_attn: false,
        }
    }

    pub(super) fn phi3(&self, config: &Config) -> phi3::Config {
        let rope = config.rope(self.theta, None);
        let scaling = rope
            .numbers("short_factor")
            .zip(rope.numbers("long_factor"));
        let scaling = scaling.map(|(short_factor, long_factor)| phi3::RopeScaling {
            short_factor,
            long_factor,
            type_: phi3::RopeScalingType::LongRope,
        });
        phi3::Config {
            vocab_size: self.vocabulary,
            hidden_act: self.activation,
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            num_key_value_heads: self.kv_heads,
            rms_norm_eps: self.epsilon,
            rope_theta: self.theta,
            bos_token_id: None,
            eos_token_id: None,
            rope_scaling: scaling,
            max_position_embeddings: self.positions,
            original_max_position_embeddings: config.size("original_max_position_embeddings"),
            partial_rotary_factor: config.number("partial_rotary_factor"),
            tie_word_embeddings: self.is_tied,
        }
    }

    pub(super) fn qwen2(&self) -> qwen2::Config {
        qwen2::Config {
            vocab_size: self.vocabulary,
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            num_key_value_heads: self.kv_heads,
            max_position_embeddings: self.positions,
            sliding_window: NO_WINDOW,
            max_window_layers: self.layers,
            tie_word_embeddings: self.is_tied,
            rope_theta: self.theta,
            rms_norm_eps: self.epsilon,
            use_sliding_window: false,
            hidden_act: self.activation,
        }
    }

    pub(super) fn qwen3(&self, config: &Config) -> qwen3::Config {
        qwen3::Config {
            vocab_size: self.vocabulary,
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            head_dim: config.size("head_dim").unwrap_or(128),
            attention_bias: config.is_on("attention_bias"),
            num_key_value_heads: self.kv_heads,
            max_position_embeddings: self.positions,
            sliding_window: None,
            max_window_layers: self.layers,
            tie_word_embeddings: self.is_tied,
            rope_theta: self.theta,
            rms_norm_eps: self.epsilon,
            use_sliding_window: false,
            hidden_act: self.activation,
        }
    }

    pub(super) fn smollm3(&self, config: &Config) -> smollm3::Config {
        smollm3::Config {
            vocab_size: self.vocabulary,
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            num_key_value_heads: self.kv_heads,
            max_position_embeddings: self.positions,
            tie_word_embeddings: self.is_tied,
            rope_theta: self.theta,
            rms_norm_eps: self.epsilon,
            hidden_act: self.activation,
            attention_bias: Some(config.is_on("attention_bias")),
            attention_dropout: None,
            mlp_bias: Some(config.is_on("mlp_bias")),
            sliding_window: None,
            use_sliding_window: None,
            rope_scaling: None,
            bos_token_id: None,
            eos_token_id: None,
            pad_token_id: None,
            max_window_layers: None,
            no_rope_layers: config.sizes("no_rope_layers"),
            no_rope_layer_interval: Some(config.size("no_rope_layer_interval").unwrap_or(4)),
        }
    }

    pub(super) fn gemma2(&self, config: &Config) -> gemma2::Config {
        gemma2::Config {
            attention_bias: config.is_on("attention_bias"),
            head_dim: config.size("head_dim").unwrap_or(256),
            hidden_activation: self.activation,
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            num_attention_heads: self.heads,
            num_hidden_layers: self.layers,
            num_key_value_heads: self.kv_heads,
            rms_norm_eps: self.epsilon,
            rope_theta: self.theta,
            vocab_size: self.vocabulary,
            final_logit_softcapping: config.number_unless_null("final_logit_softcapping", 30.0),
            attn_logit_softcapping: config.number_unless_null("attn_logit_softcapping", 50.0),
            query_pre_attn_scalar: 0,
            sliding_window: None,
            max_position_embeddings: self.positions,
        }
    }

    pub(super) fn gemma3(&self, config: &Config) -> gemma3::Config {
        let local = config.number("rope_local_base_freq").unwrap_or(10_000.0);
        let kind = "sliding_attention";
        let local = match config.has_a_rope_for(kind) {
            true => config.rope(local, Some(kind)).theta,
            false => local,
        };
        gemma3::Config {
            attention_bias: config.is_on("attention_bias"),
            head_dim: config.size("head_dim").unwrap_or(256),
            hidden_activation: self.activation,
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            num_attention_heads: self.heads,
            num_hidden_layers: self.layers,
            num_key_value_heads: self.kv_heads,
            rms_norm_eps: self.epsilon,
            rope_theta: self.theta,
            rope_local_base_freq: local,
            vocab_size: self.vocabulary,
            final_logit_softcapping: config.number("final_logit_softcapping"),
            attn_logit_softcapping: None,
            query_pre_attn_scalar: 0,
            sliding_window: config
                .size_unless_null("sliding_window", 4096)
                .unwrap_or(self.positions),
            sliding_window_pattern: config.size("sliding_window_pattern").unwrap_or(6),
            max_position_embeddings: self.positions,
        }
    }
}
