//! Granite: multipliers at four places. Granite 4's dense models go by the class of its hybrids,
//! which is served where no layer has a state space and none has experts.

use serde_json::{Value, json};

use super::families::Read;
use super::keys::{Keys, MULTIPLIER};
use super::shared::Common;
use crate::LoadError;
use crate::layers::FeedForwardTensors;
use crate::spec::Multipliers;

/// What the class of hybrids says of state spaces, experts and training: a model that has none of
/// these computes the same at any value.
const OF_A_HYBRID: &[&str] = &[
    "init_method",
    // Of an expert.
    "intermediate_size",
    "mamba_chunk_size",
    "mamba_conv_bias",
    "mamba_d_conv",
    "mamba_d_head",
    "mamba_d_state",
    "mamba_expand",
    "mamba_n_groups",
    "mamba_n_heads",
    "mamba_proj_bias",
    "num_experts_per_tok",
    "output_router_logits",
    "router_aux_loss_coef",
    "time_step_limit",
];

pub(super) fn granite(common: Common<'_, '_>) -> Read {
    multiplied(common)?.with_biases(true, true)
}

/// A dense model of the class of hybrids. As published its layers are `attention`, as transformers
/// 5 saves it `full_attention`.
pub(super) fn of_hybrids(common: Common<'_, '_>) -> Read {
    let keys = common.keys;
    refuse_experts(keys)?;
    refuse_state_spaces(keys, common.spec.layers.len())?;
    keys.pass_over(OF_A_HYBRID);
    keys.only("normalization_function", &json!("rmsnorm"))?;
    let turns = match keys.text("position_embedding_type")? {
        Some("rope") => true,
        None | Some("nope") => false,
        Some(_) => {
            let why = "where rope and nope are supported";
            return Err(keys.refuse("position_embedding_type", why));
        }
    };
    let mut common = multiplied(common)?;
    for layer in &mut common.spec.layers {
        layer.rope = layer.rope.filter(|_| turns);
    }
    common.layout.feed_forward = FeedForwardTensors::Shared;
    common.with_biases(true, false)
}

fn multiplied<'a, 'b>(mut common: Common<'a, 'b>) -> Result<Common<'a, 'b>, LoadError> {
    let keys = common.keys;
    let number = |key| Ok(keys.number_or(key, 1.0, MULTIPLIER)? as f32);
    common.spec.attention.scale = number("attention_multiplier")?;
    common.spec.multipliers = Multipliers {
        embedding: number("embedding_multiplier")?,
        residual: number("residual_multiplier")?,
        logit_divisor: number("logits_scaling")?,
    };
    Ok(common)
}

/// The class has eight where a file says nothing.
fn refuse_experts(keys: &Keys<'_>) -> Result<(), LoadError> {
    let key = "num_local_experts";
    match keys.get(key).and_then(Value::as_u64) {
        Some(0) => Ok(()),
        _ => Err(keys.refuse(key, "where models without experts are served, which say 0")),
    }
}

/// The class has nothing but state spaces where a file says nothing.
fn refuse_state_spaces(keys: &Keys<'_>, layers: usize) -> Result<(), LoadError> {
    let key = "layer_types";
    let Some(types) = keys.per_layer(key, layers)? else {
        return Err(keys.refuse(key, "where every layer has to be listed as attention"));
    };
    let is_attention = |kind: &Value| matches!(kind.as_str(), Some("attention" | "full_attention"));
    match types.iter().position(|kind| !is_attention(kind)) {
        None => Ok(()),
        Some(layer) => {
            let kind = &types[layer];
            let why = format!("where attention is served: layer {layer} is {kind}");
            Err(keys.refuse(key, &why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{decoder_spec, tests::config};
    use crate::spec::DecoderSpec;

    const CLASS: &str = "GraniteMoeHybridForCausalLM";

    /// The least that makes a model of the class dense, with `changes`.
    fn read(changes: Value) -> Result<DecoderSpec, String> {
        let dense = json!({ "layer_types": vec!["attention"; 6], "num_local_experts": 0 });
        let mut config = config(CLASS, dense);
        for (key, value) in changes.as_object().unwrap() {
            config.insert(key.clone(), value.clone());
        }
        let read = decoder_spec(&config, None);
        read.map(|(spec, _)| spec)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_dense_model_of_the_class_of_hybrids_computes_what_granite_does() {
        let multipliers = json!({
            "attention_multiplier": 0.5, "embedding_multiplier": 12, "logits_scaling": 10,
            "residual_multiplier": 0.22, "attention_bias": true, "rope_theta": 5e5,
            "intermediate_size": 64,
        });
        let granite = config("GraniteForCausalLM", multipliers.clone());
        let granite = decoder_spec(&granite, None).unwrap().0;
        let mut dense = multipliers;
        dense["intermediate_size"] = json!(7);
        dense["shared_intermediate_size"] = json!(64);
        dense["position_embedding_type"] = json!("rope");
        dense["model_type"] = json!("granitemoehybrid");
        dense["normalization_function"] = json!("rmsnorm");
        assert_eq!(read(dense.clone()), Ok(granite.clone()));
        dense["layer_types"] = json!(vec!["full_attention"; 6]);
        assert_eq!(read(dense), Ok(granite));
    }

    #[test]
    fn no_layer_turns_unless_the_config_says_rope() {
        let turning = read(json!({ "position_embedding_type": "rope" })).unwrap();
        assert!(turning.layers.iter().all(|layer| layer.rope == Some(0)));
        for changes in [
            json!({}),
            json!({ "position_embedding_type": "nope" }),
            json!({ "position_embedding_type": null }),
        ] {
            let still = read(changes).unwrap();
            assert!(still.layers.iter().all(|layer| layer.rope.is_none()));
            assert_eq!(still.ropes, turning.ropes);
        }
    }

    #[test]
    fn what_the_class_says_of_state_spaces_and_experts_changes_nothing_in_a_dense_model() {
        let dense = read(json!({})).unwrap();
        assert_eq!(dense.intermediate, 1024);
        for key in OF_A_HYBRID {
            for value in [
                json!(3),
                json!("auto"),
                json!([0.0, { "__float__": "Infinity" }]),
            ] {
                assert_eq!(read(json!({ *key: value })).as_ref(), Ok(&dense), "{key}");
            }
        }
    }

    #[test]
    fn state_spaces_and_experts_are_refused_by_name_and_where_they_are() {
        let mut hybrid = vec!["attention"; 6];
        hybrid[3] = "mamba";
        let new_hybrid = hybrid.iter().map(|kind| match *kind {
            "mamba" => "linear_attention",
            _ => "full_attention",
        });
        let new_hybrid: Vec<&str> = new_hybrid.collect();
        let experts = "models without experts are served";
        for (changes, key, why) in [
            (
                json!({ "num_local_experts": 8 }),
                "num_local_experts` is 8",
                experts,
            ),
            (
                json!({ "num_local_experts": null }),
                "num_local_experts` is null",
                experts,
            ),
            (
                json!({ "layer_types": null }),
                "layer_types` is null",
                "listed as attention",
            ),
            (
                json!({ "layer_types": ["attention"] }),
                "layer_types`",
                "a list of 6 layers",
            ),
            (
                json!({ "layer_types": hybrid }),
                "layer_types`",
                "layer 3 is \"mamba\"",
            ),
            (
                json!({ "layer_types": new_hybrid }),
                "layer_types`",
                "layer 3 is \"linear_",
            ),
            (
                json!({ "position_embedding_type": "alibi" }),
                "position_embedding_type` is \"alibi\"",
                "rope and nope",
            ),
            (
                json!({ "normalization_function": "layernorm" }),
                "normalization_function` is \"layernorm\"",
                "rmsnorm",
            ),
            (json!({ "mlp_bias": true }), "mlp_bias` is true", "false"),
            (json!({ "mamba_new": 1 }), "mamba_new` is not known", ""),
        ] {
            let found = read(changes).unwrap_err();
            assert!(found.contains(key) && found.contains(why), "{found}");
        }
    }
}
