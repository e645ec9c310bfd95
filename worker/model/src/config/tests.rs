//! What a config means, where no weights are needed to tell.

use super::*;
use crate::rope::RopeScaling;

/// A config of eight heads of sixteen, with `changes`.
pub(super) fn config(architecture: &str, changes: Value) -> Map<String, Value> {
    let mut config = json!({
        "architectures": [architecture],
        "hidden_size": 128,
        "intermediate_size": 96,
        "max_position_embeddings": 128,
        "num_attention_heads": 8,
        "num_hidden_layers": 6,
        "vocab_size": 10,
    });
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config.as_object().unwrap().clone()
}

fn spec(architecture: &str, changes: Value) -> DecoderSpec {
    decoder_spec(&config(architecture, changes), None)
        .unwrap()
        .0
}

fn refusal(architecture: &str, changes: Value) -> String {
    decoder_spec(&config(architecture, changes), None)
        .unwrap_err()
        .to_string()
}

#[test]
fn both_spellings_of_rope_mean_the_same() {
    let hub = spec(
        "LlamaForCausalLM",
        json!({
            "rope_theta": 500_000.0,
            "rope_scaling": { "type": "linear", "factor": 4.0 },
        }),
    );
    let transformers_5 = spec(
        "LlamaForCausalLM",
        json!({
            "rope_parameters": { "rope_type": "linear", "rope_theta": 500_000.0, "factor": 4.0 },
        }),
    );
    assert_eq!(hub, transformers_5);
    assert_eq!(hub.ropes[0].base, 500_000.0);
    assert_eq!(hub.ropes[0].scaling, RopeScaling::Linear { factor: 4.0 });
}

#[test]
fn a_config_without_rope_has_the_class_default() {
    let rope = |family| spec(family, json!({ "rope_scaling": null })).ropes[0].clone();
    assert_eq!(rope("LlamaForCausalLM").base, 10_000.0);
    assert_eq!(rope("SmolLM3ForCausalLM").base, 2_000_000.0);
    assert_eq!(rope("LlamaForCausalLM").scaling, RopeScaling::None);
}

#[test]
fn linear_scaling_divides_every_angle() {
    let plain = spec("LlamaForCausalLM", json!({})).ropes[0].frequencies();
    let scaling = json!({ "rope_scaling": { "rope_type": "linear", "factor": 4.0 } });
    let scaled = spec("LlamaForCausalLM", scaling).ropes[0].frequencies();
    assert!(
        plain
            .iter()
            .zip(&scaled)
            .all(|(plain, scaled)| plain / 4.0 == *scaled)
    );
}

#[test]
fn leaving_out_heads_of_keys_and_their_size_means_what_the_class_says() {
    let shape = |family, heads: usize| {
        let spec = spec(family, json!({ "num_attention_heads": heads }));
        (spec.kv_heads, spec.head_dim)
    };
    assert_eq!(shape("LlamaForCausalLM", 16), (16, 8));
    assert_eq!(shape("MistralForCausalLM", 16), (8, 8));
    assert_eq!(shape("Qwen3ForCausalLM", 32), (32, 128));
    assert_eq!(shape("Gemma2ForCausalLM", 8), (4, 256));
}

#[test]
fn the_text_model_within_a_model_for_images_may_say_next_to_nothing() {
    let config = json!({
        "architectures": ["Gemma3ForConditionalGeneration"],
        "boi_token_index": 255_999,
        "image_token_index": 262_144,
        "mm_tokens_per_image": 256,
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10_240, "model_type": "gemma3_text",
            "num_hidden_layers": 34, "sliding_window": 1024,
            "rope_scaling": { "factor": 8.0, "rope_type": "linear" },
        },
        "vision_config": { "hidden_size": 1152 },
    });
    let (spec, layout) = decoder_spec(config.as_object().unwrap(), None).unwrap();
    assert!(layout.is_wrapped && spec.tied_head);
    assert_eq!(
        (spec.vocabulary, spec.heads, spec.kv_heads, spec.head_dim),
        (262_208, 8, 4, 256)
    );
    assert_eq!(spec.layers[4].window, Some(1024));
    assert_eq!(
        (spec.layers[5].window, spec.layers[5].rope),
        (None, Some(0))
    );
    assert_eq!(spec.ropes[0].scaling, RopeScaling::Linear { factor: 8.0 });
    assert_eq!(
        (spec.ropes[1].base, &spec.ropes[1].scaling),
        (10_000.0, &RopeScaling::None)
    );
}

#[test]
fn a_window_is_there_by_default_and_null_takes_it_away() {
    let window = |family, changes| spec(family, changes).layers[0].window;
    assert_eq!(
        window("MistralForCausalLM", json!({ "num_attention_heads": 8 })),
        Some(4096)
    );
    let none = json!({ "num_attention_heads": 8, "sliding_window": null });
    assert_eq!(window("MistralForCausalLM", none), None);
    let off =
        json!({ "num_key_value_heads": 4, "sliding_window": 16, "use_sliding_window": false });
    assert_eq!(window("Qwen2ForCausalLM", off), None);
}

#[test]
fn layers_from_the_given_one_on_have_a_window() {
    let spec = spec(
        "Qwen2ForCausalLM",
        json!({
            "num_key_value_heads": 2, "sliding_window": 16, "use_sliding_window": true,
            "max_window_layers": 4,
        }),
    );
    let windows: Vec<_> = spec
        .layers
        .iter()
        .map(|layer| layer.window.is_some())
        .collect();
    assert_eq!(windows, [false, false, false, false, true, true]);
}

#[test]
fn a_one_in_no_rope_layers_means_with_rope() {
    let heads = json!({ "num_attention_heads": 8 });
    let by_default = spec("SmolLM3ForCausalLM", heads);
    let listed = spec(
        "SmolLM3ForCausalLM",
        json!({
            "num_attention_heads": 8, "no_rope_layers": [1, 1, 1, 0, 1, 1],
        }),
    );
    assert_eq!(by_default, listed);
    assert_eq!(
        (listed.layers[0].rope, listed.layers[3].rope),
        (Some(0), None)
    );
}

#[test]
fn long_factors_apply_to_whoever_asks_for_more_than_the_original_context() {
    let config = config(
        "Phi3ForCausalLM",
        json!({
            "original_max_position_embeddings": 32,
            "rope_scaling": { "type": "longrope", "short_factor": vec![1.0; 8], "long_factor": vec![2.0; 8] },
        }),
    );
    let of = |asked| {
        let spec = decoder_spec(&config, asked).unwrap().0;
        let RopeScaling::Long { factors, magnitude } = spec.ropes[0].scaling.clone() else {
            panic!("it is longrope");
        };
        (factors[0], magnitude)
    };
    let magnitude = (1.0_f64 + 4.0_f64.ln() / 32.0_f64.ln()).sqrt();
    assert_eq!(of(Some(32)), (1.0, magnitude));
    assert_eq!(of(Some(33)), (2.0, magnitude));
    assert_eq!(of(None), (2.0, magnitude));
}

#[test]
fn what_an_architecture_does_not_serve_is_refused_by_name() {
    for (family, changes, expected) in [
        (
            "LlamaForCausalLM",
            json!({ "sliding_window": 16 }),
            "`sliding_window` is not known",
        ),
        (
            "LlamaForCausalLM",
            json!({ "residual_multiplier": 2.0 }),
            "`residual_multiplier` is not known",
        ),
        (
            "LlamaForCausalLM",
            json!({ "hidden_act": "relu" }),
            "`hidden_act` is \"relu\"",
        ),
        (
            "LlamaForCausalLM",
            json!({ "rope_scaling": { "rope_type": "dynamic", "factor": 2.0 } }),
            "`rope_scaling.rope_type` is \"dynamic\"",
        ),
        (
            "LlamaForCausalLM",
            json!({ "rope_scaling": { "rope_type": "linear", "factor": 2.0, "odd": 1 } }),
            "`rope_scaling.odd` is not known",
        ),
        (
            "Qwen2ForCausalLM",
            json!({ "num_key_value_heads": 3 }),
            "`num_key_value_heads` is 3",
        ),
        (
            "Gemma3ForCausalLM",
            json!({ "num_key_value_heads": 2, "attn_logit_softcapping": 50.0 }),
            "`attn_logit_softcapping` is 50",
        ),
        (
            "Gemma3ForCausalLM",
            json!({ "num_key_value_heads": 2, "layer_types": ["full_attention"] }),
            "`layer_types` is",
        ),
        (
            "Phi3ForCausalLM",
            json!({ "attention_bias": true }),
            "`attention_bias` is true",
        ),
        (
            "Phi3ForCausalLM",
            json!({ "partial_rotary_factor": 0.2 }),
            "`partial_rotary_factor` is 0.2",
        ),
        (
            "Phi3ForCausalLM",
            json!({ "rope_scaling": { "type": "longrope", "short_factor": [1.0], "long_factor": [1.0] } }),
            "`rope_scaling.short_factor` is",
        ),
    ] {
        let found = refusal(family, changes);
        assert!(found.contains(expected), "{found} instead of {expected}");
    }
}
