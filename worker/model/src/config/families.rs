//! What each family of models adds to what they have in common, with the defaults of its class:
//! files leave out what is at its default.

use serde_json::{Value, json};

use super::granite;
use super::keys::{Keys, MULTIPLIER};
use super::shared::{Common, Defaults, HeadDim};
use crate::LoadError;
use crate::layers::{FeedForwardTensors, Layout};
use crate::spec::{Activation, DecoderSpec, LayerSpec};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    Phi3,
    Gemma2,
    Gemma3,
    SmolLm3,
    Granite,
    /// Granite 4's dense models, by the class of its hybrids.
    GraniteOfHybrids,
}

/// The class in `architectures`, the family, and the type of what the text model lies within.
pub(super) const ARCHITECTURES: &[(&str, Family, Option<&str>)] = &[
    ("LlamaForCausalLM", Family::Llama, None),
    ("MistralForCausalLM", Family::Mistral, None),
    (
        "Mistral3ForConditionalGeneration",
        Family::Mistral,
        Some("mistral3"),
    ),
    ("Qwen2ForCausalLM", Family::Qwen2, None),
    ("Qwen3ForCausalLM", Family::Qwen3, None),
    ("Phi3ForCausalLM", Family::Phi3, None),
    ("Gemma2ForCausalLM", Family::Gemma2, None),
    ("Gemma3ForCausalLM", Family::Gemma3, None),
    (
        "Gemma3ForConditionalGeneration",
        Family::Gemma3,
        Some("gemma3"),
    ),
    ("SmolLM3ForCausalLM", Family::SmolLm3, None),
    ("GraniteForCausalLM", Family::Granite, None),
    (
        "GraniteMoeHybridForCausalLM",
        Family::GraniteOfHybrids,
        None,
    ),
];

impl Family {
    /// What a config says beside the class, and transformers chooses by.
    pub(super) fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Phi3 => "phi3",
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3_text",
            Self::SmolLm3 => "smollm3",
            Self::Granite => "granite",
            Self::GraniteOfHybrids => "granitemoehybrid",
        }
    }

    fn defaults(self) -> Defaults {
        let llama = Defaults {
            name: "Llama",
            head_dim: HeadDim::Share,
            kv_heads: None,
            inner: "intermediate_size",
            epsilon: 1e-6,
            theta: 10_000.0,
            partial_rope: false,
            activation: Activation::Silu,
            activation_key: "hidden_act",
            tied: false,
            shape: None,
        };
        match self {
            Self::Llama => llama,
            Self::Mistral => Defaults {
                name: "Mistral",
                kv_heads: Some(8),
                ..llama
            },
            Self::Qwen2 => Defaults {
                name: "Qwen2",
                kv_heads: Some(32),
                ..llama
            },
            Self::Qwen3 => Defaults {
                name: "Qwen3",
                head_dim: HeadDim::Is(128),
                kv_heads: Some(32),
                ..llama
            },
            Self::Phi3 => Defaults {
                name: "Phi3",
                epsilon: 1e-5,
                partial_rope: true,
                ..llama
            },
            Self::Gemma2 | Self::Gemma3 => gemma(self, llama),
            Self::SmolLm3 => Defaults {
                name: "SmolLM3",
                kv_heads: Some(4),
                theta: 2_000_000.0,
                tied: true,
                ..llama
            },
            Self::Granite => Defaults {
                name: "Granite",
                ..llama
            },
            Self::GraniteOfHybrids => Defaults {
                name: "Granite",
                inner: "shared_intermediate_size",
                shape: Some([32_000, 4096, 1024, 32, 32, 2048]),
                ..llama
            },
        }
    }

    /// The spec that the config describes, for sequences of up to `asked` tokens, and how its
    /// files lay the weights out.
    pub(super) fn read(
        self,
        keys: &Keys<'_>,
        asked: Option<u32>,
    ) -> Result<(DecoderSpec, Layout), LoadError> {
        keys.only("model_type", &json!(self.model_type()))?;
        let common = Common::read(keys, &self.defaults(), asked)?;
        match self {
            Self::Llama => common.with_biases(true, true),
            Self::Mistral => {
                let window = keys.or_none("sliding_window", Some(4096), Keys::size_if)?;
                common.windows_everywhere(window)?.with_biases(false, false)
            }
            Self::Qwen2 => qwen(common)?.biased_inputs(),
            Self::Qwen3 => qwen(common)?.head_norm().with_biases(true, false),
            Self::Phi3 => phi3(common),
            Self::Gemma2 => gemma2(common),
            Self::Gemma3 => gemma3(common),
            Self::SmolLm3 => smollm3(common),
            Self::Granite => granite::granite(common),
            Self::GraniteOfHybrids => granite::of_hybrids(common),
        }
    }
}

fn gemma(family: Family, llama: Defaults) -> Defaults {
    let (name, vocabulary, theta, context) = match family {
        Family::Gemma3 => ("Gemma3", 262_208, 1_000_000.0, 131_072),
        _ => ("Gemma2", 256_000, 10_000.0, 8192),
    };
    Defaults {
        name,
        head_dim: HeadDim::Is(256),
        kv_heads: Some(4),
        theta,
        activation: Activation::GeluTanh,
        activation_key: "hidden_activation",
        tied: true,
        // The text model within a model for images says next to nothing of its shape.
        shape: Some([vocabulary, 2304, 9216, 26, 8, context]),
        ..llama
    }
}

pub(super) type Read = Result<(DecoderSpec, Layout), LoadError>;

/// The first layers meet everything, those behind them a window, where it is switched on.
fn qwen<'a, 'b>(common: Common<'a, 'b>) -> Result<Common<'a, 'b>, LoadError> {
    let keys = common.keys;
    let window = keys.or_none("sliding_window", Some(4096), Keys::size_if)?;
    let is_on = keys.switch_or("use_sliding_window", false)?;
    let full = match keys.get("max_window_layers").and_then(Value::as_u64) {
        Some(full) => full as usize,
        None if keys.has("max_window_layers") => {
            return Err(keys.refuse("max_window_layers", "not a whole number"));
        }
        None => 28,
    };
    let window = window.filter(|_| is_on);
    common.windows(window, |layer| layer >= full)
}

fn phi3(common: Common<'_, '_>) -> Read {
    let window = common.keys.size_if("sliding_window")?;
    let mut common = common.windows_everywhere(window)?;
    common.layout.fused_attention = true;
    common.layout.feed_forward = FeedForwardTensors::Fused;
    common.with_biases(false, false)
}

fn gemma_norms(common: &mut Common<'_, '_>) -> Result<(), LoadError> {
    let spec = &mut common.spec;
    spec.norm.plus_one = true;
    spec.norm.after = true;
    spec.multipliers.embedding = (spec.hidden as f64).sqrt() as f32;
    let scalar = common
        .keys
        .number_or("query_pre_attn_scalar", 256.0, MULTIPLIER)?;
    spec.attention.scale = scalar.powf(-0.5) as f32;
    common
        .keys
        .only("use_bidirectional_attention", &json!(false))
}

/// Windows on every other layer, from the first on.
fn gemma2(mut common: Common<'_, '_>) -> Read {
    gemma_norms(&mut common)?;
    let keys = common.keys;
    let cap = |key, default| {
        keys.or_none(key, Some(default), |keys, key| {
            keys.number_if(key, MULTIPLIER)
        })
    };
    common.spec.attention.cap = cap("attn_logit_softcapping", 50.0)?.map(|cap| cap as f32);
    common.spec.logit_cap = cap("final_logit_softcapping", 30.0)?.map(|cap| cap as f32);
    let window = keys.or_none("sliding_window", Some(4096), Keys::size_if)?;
    // Files of the 9B model say it twice.
    if keys
        .size_if("sliding_window_size")?
        .is_some_and(|again| Some(again) != window)
    {
        return Err(keys.refuse(
            "sliding_window_size",
            "where `sliding_window` says otherwise",
        ));
    }
    let common = common.windows(window, |layer: usize| layer.is_multiple_of(2))?;
    common.with_biases(true, false)
}

/// Windows on all layers but each sixth, which have a rope of their own.
fn gemma3(mut common: Common<'_, '_>) -> Read {
    gemma_norms(&mut common)?;
    let keys = common.keys;
    keys.only("attn_logit_softcapping", &Value::Null)?;
    let cap = keys.number_if("final_logit_softcapping", MULTIPLIER)?;
    common.spec.logit_cap = cap.map(|cap| cap as f32);
    let pattern = keys.size_or("sliding_window_pattern", 6)?;
    let window = keys.or_none("sliding_window", Some(4096), Keys::size_if)?;
    let mut common = common
        .windows(window, |layer| !(layer + 1).is_multiple_of(pattern))?
        .head_norm();
    common.local_rope(10_000.0)?;
    common.with_biases(true, false)
}

fn smollm3(common: Common<'_, '_>) -> Read {
    let keys = common.keys;
    let layers = common.spec.layers.len();
    let interval = keys.size_or("no_rope_layer_interval", 4)?;
    // In spite of the name a 1 says that the layer turns.
    let turns = |layer: usize| !(layer + 1).is_multiple_of(interval);
    let turning: Vec<bool> = match keys.per_layer("no_rope_layers", layers)? {
        None => (0..layers).map(turns).collect(),
        Some(list) => list
            .iter()
            .map(|value| {
                value
                    .as_u64()
                    .filter(|value| *value < 2)
                    .map(|value| value == 1)
            })
            .collect::<Option<_>>()
            .ok_or_else(|| keys.refuse("no_rope_layers", "not a list of 0 and 1"))?,
    };
    let is_on = keys.switch_or("use_sliding_window", false)?;
    let window = keys.size_if("sliding_window")?.filter(|_| is_on);
    // Left over from Qwen, whose code it comes from: this class does not read it.
    if keys.has("max_window_layers") && window.is_some() {
        return Err(keys.refuse(
            "max_window_layers",
            "where this architecture is served without it",
        ));
    }
    let mut common = common.windows(window, |layer| !turning[layer])?;
    for (layer, turns) in common.spec.layers.iter_mut().zip(turning) {
        layer.rope = turns.then_some(0);
    }
    common.with_biases(true, true)
}

/// A layer that meets everything and turns by the only rope.
pub(super) const PLAIN_LAYER: LayerSpec = LayerSpec {
    window: None,
    rope: Some(0),
};
