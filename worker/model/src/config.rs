//! From a Hugging Face `config.json` to a [`DecoderSpec`].
//!
//! Every key is used, known to change nothing, or refused by name: a key that is skipped in
//! silence is a model that answers wrongly in silence.

mod families;
pub(crate) mod gguf;
mod granite;
mod keys;
mod rope;
mod shared;

use serde_json::{Map, Value, json};

use self::families::{ARCHITECTURES, Family};
use self::keys::Keys;
use crate::LoadError;
use crate::layers::Layout;
use crate::spec::DecoderSpec;

/// Keys that say nothing about the forward pass: training, bookkeeping, how transformers runs.
const HARMLESS: &[&str] = &[
    "architectures",
    "attn_implementation",
    "attention_dropout",
    "auto_map",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "dtype",
    "embd_pdrop",
    "eos_token_id",
    "finetuning_task",
    "id2label",
    "initializer_range",
    "is_llama_config",
    "label2id",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "resid_pdrop",
    "return_dict",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
];

/// Keys of other families that some files carry along at the value that switches them off.
const SWITCHED_OFF: &[(&str, f64)] = &[
    ("add_cross_attention", 0.0),
    // Of Phi-4-mini, which no code of its own reads either.
    ("full_attn_mod", 1.0),
    ("interpolate_factor", 1.0),
    ("is_encoder_decoder", 0.0),
    ("lm_head_bias", 0.0),
    ("logits_scaling", 1.0),
    ("residual_multiplier", 1.0),
    ("rope_interleaved", 0.0),
    ("tie_encoder_decoder", 0.0),
    ("use_bidirectional_attention", 0.0),
    // Of Qwen 2.5, for its models that see.
    ("use_mrope", 0.0),
    ("use_sliding_window", 0.0),
];

/// Keys around a text model that say how images are seen, or stand within it as well.
const AROUND_TEXT: &[&str] = &[
    "boi_token_index",
    "eoi_token_index",
    "image_token_id",
    "image_token_index",
    "mm_tokens_per_image",
    "multimodal_projector_bias",
    "projector_hidden_act",
    "spatial_merge_size",
    "vision_config",
    "vision_feature_layer",
];

/// The spec for sequences of up to `asked` tokens, and how the weights are laid out.
///
/// # Errors
/// Names the key, and its value, that cannot be served.
pub(crate) fn decoder_spec(
    config: &Map<String, Value>,
    asked: Option<u32>,
) -> Result<(DecoderSpec, Layout), LoadError> {
    let (family, wrapper) = family(config)?;
    refuse_quantized(config)?;
    let keys = Keys::new(config);
    let Some(wrapper) = wrapper else {
        let read = family.read(&keys, asked)?;
        keys.finish(changes_nothing)?;
        return Ok(read);
    };
    keys.only("model_type", &json!(wrapper))?;
    let key = "text_config";
    let text = keys.table(key)?.ok_or(LoadError::KeyMissing { key })?;
    let (mut spec, mut layout) = family.read(&text, asked)?;
    text.finish(changes_nothing)?;
    // Newer code goes by the outer one, older code by the inner one.
    let tied = "tie_word_embeddings";
    let outer = keys.switch_or(tied, spec.tied_head)?;
    if text.has(tied) && outer != spec.tied_head {
        return Err(keys.refuse(tied, "where `text_config` says otherwise"));
    }
    spec.tied_head = outer;
    keys.finish(|key, value| AROUND_TEXT.contains(&key) || changes_nothing(key, value))?;
    layout.is_wrapped = true;
    Ok((spec, layout))
}

/// The family that the class belongs to, and the type of what it lies within, if anything.
fn family(config: &Map<String, Value>) -> Result<(Family, Option<&'static str>), LoadError> {
    let names = config.get("architectures").and_then(Value::as_array);
    let name = names
        .and_then(|names| names.first())
        .and_then(Value::as_str)
        .ok_or(LoadError::KeyMissing {
            key: "architectures",
        })?;
    let known = ARCHITECTURES.iter().find(|(known, ..)| *known == name);
    match known {
        Some((_, family, wrapper)) => Ok((*family, *wrapper)),
        None => Err(LoadError::Architecture {
            found: name.to_owned(),
            known: ARCHITECTURES
                .iter()
                .map(|(name, ..)| *name)
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

fn refuse_quantized(config: &Map<String, Value>) -> Result<(), LoadError> {
    match config.get("quantization_config") {
        None | Some(Value::Null) => Ok(()),
        Some(quantization) => Err(LoadError::KeyValue {
            key: "quantization_config".to_owned(),
            value: quantization
                .get("quant_method")
                .unwrap_or(quantization)
                .to_string(),
            why: "where weights must be as trained: choose a quantisation with `quantization`"
                .to_owned(),
        }),
    }
}

fn changes_nothing(key: &str, value: &Value) -> bool {
    let number = value
        .as_f64()
        .or_else(|| value.as_bool().map(|switch| f64::from(u8::from(switch))));
    key.starts_with('_')
        || HARMLESS.contains(&key)
        || key == "quantization_config"
        || SWITCHED_OFF
            .iter()
            .any(|(known, off)| *known == key && number == Some(*off))
}

#[cfg(test)]
mod real;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod tests;
