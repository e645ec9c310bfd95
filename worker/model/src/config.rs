//! From a Hugging Face `config.json` to a [`DecoderSpec`].
//!
//! Every key is used, known to change nothing, or refused by name: a key that is skipped in
//! silence is a model that answers wrongly in silence.

use serde_json::{Map, Value};
use weir_kernels::attention::LARGEST_GROUP;

use crate::LoadError;
use crate::rope::{Rope, RopeScaling};
use crate::spec::DecoderSpec;

const ARCHITECTURES: &str = "LlamaForCausalLM";

/// Keys that the spec, the tokenizer or the facts come from.
const USED: &[&str] = &[
    "architectures",
    "attention_bias",
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "mlp_bias",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "tie_word_embeddings",
    "vocab_size",
];

/// Keys that say nothing about the forward pass: training, bookkeeping, how transformers runs.
const HARMLESS: &[&str] = &[
    "attention_dropout",
    "auto_map",
    "chunk_size_feed_forward",
    "dtype",
    "finetuning_task",
    "id2label",
    "initializer_range",
    "is_llama_config",
    "label2id",
    "model_type",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
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
    ("is_encoder_decoder", 0.0),
    ("logits_scaling", 1.0),
    ("partial_rotary_factor", 1.0),
    ("residual_multiplier", 1.0),
    ("rope_interleaved", 0.0),
    ("tie_encoder_decoder", 0.0),
    ("use_sliding_window", 0.0),
];

/// # Errors
/// Names the key, and its value, that cannot be served.
pub(crate) fn decoder_spec(config: &Map<String, Value>) -> Result<DecoderSpec, LoadError> {
    let architecture = architecture(config)?;
    refuse_quantized(config)?;
    refuse_unknown(config)?;
    let keys = Keys(config);
    let hidden = keys.size("hidden_size")?;
    let heads = keys.size("num_attention_heads")?;
    let kv_heads = match keys.get("num_key_value_heads") {
        Some(_) => keys.size("num_key_value_heads")?,
        None => heads,
    };
    if !heads.is_multiple_of(kv_heads) || heads / kv_heads > LARGEST_GROUP {
        return Err(keys.refuse(
            "num_key_value_heads",
            format!("which does not divide the {heads} attention heads into groups of up to {LARGEST_GROUP}"),
        ));
    }
    let head_dim = match keys.get("head_dim") {
        Some(_) => keys.size("head_dim")?,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => return Err(keys.refuse("hidden_size", format!("not a multiple of {heads} heads"))),
    };
    if !head_dim.is_multiple_of(2) {
        return Err(keys.refuse("head_dim", "where rotation needs an even one".to_owned()));
    }
    if !matches!(keys.text("hidden_act"), None | Some("silu" | "swish")) {
        return Err(keys.refuse("hidden_act", "where silu is supported".to_owned()));
    }
    Ok(DecoderSpec {
        architecture,
        hidden,
        intermediate: keys.size("intermediate_size")?,
        layers: keys.size("num_hidden_layers")?,
        heads,
        kv_heads,
        head_dim,
        vocabulary: keys.size("vocab_size")?,
        norm_epsilon: keys.number("rms_norm_eps")?.unwrap_or(1e-6) as f32,
        rope: rope(&keys)?,
        attention_bias: keys.switch("attention_bias")?,
        mlp_bias: keys.switch("mlp_bias")?,
        tied_head: keys.switch("tie_word_embeddings")?,
        context_tokens: keys.size("max_position_embeddings")? as u32,
    })
}

fn architecture(config: &Map<String, Value>) -> Result<&'static str, LoadError> {
    let names = config.get("architectures").and_then(Value::as_array);
    let name = names
        .and_then(|names| names.first())
        .and_then(Value::as_str)
        .ok_or(LoadError::KeyMissing {
            key: "architectures",
        })?;
    match name {
        "LlamaForCausalLM" => Ok("Llama"),
        _ => Err(LoadError::Architecture {
            found: name.to_owned(),
            known: ARCHITECTURES,
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
            why: "where weights must be F32 or BF16 as trained".to_owned(),
        }),
    }
}

fn refuse_unknown(config: &Map<String, Value>) -> Result<(), LoadError> {
    for (key, value) in config {
        let name = key.as_str();
        let known = name.starts_with('_')
            || value.is_null()
            || USED.contains(&name)
            || HARMLESS.contains(&name)
            || name == "quantization_config";
        if known {
            continue;
        }
        let off = SWITCHED_OFF.iter().find(|(key, _)| *key == name);
        let number = value
            .as_f64()
            .or_else(|| value.as_bool().map(|switch| f64::from(u8::from(switch))));
        match off {
            Some((_, off)) if number == Some(*off) => {}
            Some((_, off)) => {
                return Err(LoadError::KeyValue {
                    key: key.clone(),
                    value: value.to_string(),
                    why: format!("where this architecture is served with {off}"),
                });
            }
            None => return Err(LoadError::KeyUnknown { key: key.clone() }),
        }
    }
    Ok(())
}

/// Either `rope_theta` with `rope_scaling`, or all in `rope_parameters` (transformers 5).
fn rope(keys: &Keys<'_>) -> Result<Rope, LoadError> {
    let (name, table) = match (keys.get("rope_parameters"), keys.get("rope_scaling")) {
        (Some(table), _) => ("rope_parameters", Some(table)),
        (None, table) => ("rope_scaling", table),
    };
    let Some(table) = table else {
        return Ok(Rope {
            base: keys.number("rope_theta")?.unwrap_or(10_000.0),
            scaling: RopeScaling::None,
        });
    };
    let refuse = |why: &str| keys.refuse(name, why.to_owned());
    let table = table.as_object().ok_or_else(|| refuse("not an object"))?;
    let inner = Keys(table);
    let kind = inner
        .text("rope_type")
        .or_else(|| inner.text("type"))
        .unwrap_or("default");
    let needed = |key: &'static str| inner.number(key)?.ok_or(LoadError::KeyMissing { key });
    let (scaling, known): (_, &[&str]) = match kind {
        "default" => (RopeScaling::None, &[]),
        "linear" => (
            RopeScaling::Linear {
                factor: needed("factor")?,
            },
            &["factor"],
        ),
        "llama3" => (
            RopeScaling::Llama3 {
                factor: needed("factor")?,
                low_frequency_factor: needed("low_freq_factor")?,
                high_frequency_factor: needed("high_freq_factor")?,
                original_context: needed("original_max_position_embeddings")?,
            },
            &[
                "factor",
                "low_freq_factor",
                "high_freq_factor",
                "original_max_position_embeddings",
            ],
        ),
        _ => return Err(refuse("where default, linear and llama3 are supported")),
    };
    for (key, value) in table {
        let key = key.as_str();
        let neutral = key == "partial_rotary_factor" && value.as_f64() == Some(1.0);
        let named = ["rope_type", "type", "rope_theta"].contains(&key) || known.contains(&key);
        if !named && !neutral && !value.is_null() {
            return Err(LoadError::KeyUnknown {
                key: format!("{name}.{key}"),
            });
        }
    }
    let base = match inner.number("rope_theta")? {
        Some(base) => base,
        None => keys.number("rope_theta")?.unwrap_or(10_000.0),
    };
    Ok(Rope { base, scaling })
}

/// Typed reading; null is absent.
struct Keys<'a>(&'a Map<String, Value>);

impl<'a> Keys<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key).and_then(Value::as_str)
    }

    /// A whole number that lengths can be made of.
    fn size(&self, key: &'static str) -> Result<usize, LoadError> {
        let value = self.get(key).ok_or(LoadError::KeyMissing { key })?;
        value
            .as_u64()
            .filter(|size| (1..=u64::from(u32::MAX)).contains(size))
            .map(|size| size as usize)
            .ok_or_else(|| self.refuse(key, "not a positive whole number".to_owned()))
    }

    fn number(&self, key: &'static str) -> Result<Option<f64>, LoadError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_f64().filter(|number| *number > 0.0) {
            Some(number) => Ok(Some(number)),
            None => Err(self.refuse(key, "not a positive number".to_owned())),
        }
    }

    fn switch(&self, key: &'static str) -> Result<bool, LoadError> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(switch)) => Ok(*switch),
            Some(_) => Err(self.refuse(key, "neither true nor false".to_owned())),
        }
    }

    fn refuse(&self, key: &str, why: String) -> LoadError {
        LoadError::KeyValue {
            key: key.to_owned(),
            value: self.0.get(key).unwrap_or(&Value::Null).to_string(),
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rope_of(rope: Value) -> Rope {
        let mut config = json!({
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": 64,
            "intermediate_size": 96,
            "max_position_embeddings": 128,
            "num_attention_heads": 4,
            "num_hidden_layers": 1,
            "vocab_size": 10,
        });
        for (key, value) in rope.as_object().unwrap() {
            config[key] = value.clone();
        }
        decoder_spec(config.as_object().unwrap()).unwrap().rope
    }

    #[test]
    fn both_spellings_of_rope_mean_the_same() {
        let hub = rope_of(json!({
            "rope_theta": 500_000.0,
            "rope_scaling": { "type": "linear", "factor": 4.0 },
        }));
        let transformers_5 = rope_of(json!({
            "rope_parameters": { "rope_type": "linear", "rope_theta": 500_000.0, "factor": 4.0 },
        }));
        assert_eq!(hub, transformers_5);
        assert_eq!(hub.base, 500_000.0);
        assert_eq!(hub.scaling, RopeScaling::Linear { factor: 4.0 });
    }

    #[test]
    fn a_config_without_rope_has_the_class_default() {
        let rope = rope_of(json!({ "rope_scaling": null }));
        assert_eq!(rope.base, 10_000.0);
        assert_eq!(rope.scaling, RopeScaling::None);
    }

    #[test]
    fn linear_scaling_divides_every_angle() {
        let plain = rope_of(json!({})).frequencies(16);
        let scaling = json!({ "rope_scaling": { "rope_type": "linear", "factor": 4.0 } });
        let scaled = rope_of(scaling).frequencies(16);
        assert!(
            plain
                .iter()
                .zip(&scaled)
                .all(|(plain, scaled)| plain / 4.0 == *scaled)
        );
    }

    #[test]
    fn leaving_out_heads_of_keys_and_their_size_means_those_of_queries() {
        let config = json!({
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": 96,
            "intermediate_size": 96,
            "max_position_embeddings": 128,
            "num_attention_heads": 6,
            "num_hidden_layers": 1,
            "vocab_size": 10,
        });
        let spec = decoder_spec(config.as_object().unwrap()).unwrap();
        assert_eq!((spec.kv_heads, spec.head_dim), (6, 16));
    }
}
