//! What a config may not say: two things at once, and numbers that mean nothing.

use serde_json::{Map, Value, json};

use super::{decoder_spec, tests};
use crate::rope::RopeScaling;
use crate::spec::DecoderSpec;

/// A config of eight heads of sixteen over two of keys and values, with `changes`.
fn config(architecture: &str, changes: Value) -> Map<String, Value> {
    let mut config = tests::config(architecture, changes);
    config
        .entry("num_key_value_heads")
        .or_insert_with(|| json!(2));
    config
}

fn read(config: &Map<String, Value>) -> Result<DecoderSpec, String> {
    decoder_spec(config, None)
        .map(|(spec, _)| spec)
        .map_err(|error| error.to_string())
}

/// Each case is refused by a sentence that begins with what it is told.
fn refused(architecture: &str, cases: &[(Value, &str)]) {
    for (changes, expected) in cases {
        match read(&config(architecture, changes.clone())) {
            Ok(_) => panic!("{changes} is served"),
            Err(found) => assert!(found.contains(expected), "{found} instead of {expected}"),
        }
    }
}

#[test]
fn two_spellings_of_rope_that_disagree_are_refused_and_two_that_agree_are_one() {
    let both = |newer: Value, older: Value| json!({ "rope_parameters": newer, "rope_scaling": older, "rope_theta": 500.0 });
    let linear = |factor: f64| json!({ "rope_type": "linear", "factor": factor });
    let agreed = read(&config("LlamaForCausalLM", both(linear(4.0), linear(4.0)))).unwrap();
    assert_eq!(agreed.ropes[0].scaling, RopeScaling::Linear { factor: 4.0 });
    let empty = read(&config("LlamaForCausalLM", both(linear(4.0), json!({})))).unwrap();
    assert_eq!(agreed, empty);
    let other_base = json!({ "rope_type": "linear", "factor": 4.0, "rope_theta": 600.0 });
    let why = "where `rope_parameters` says otherwise";
    refused(
        "LlamaForCausalLM",
        &[
            (both(linear(4.0), linear(2.0)), why),
            (both(json!({ "rope_type": "default" }), linear(2.0)), why),
            (
                both(other_base, linear(4.0)),
                "`rope_parameters.rope_theta` is 600.0, where 500 stands beside the table",
            ),
        ],
    );
}

#[test]
fn an_old_spelling_beside_ropes_by_kind_of_layer_must_agree_with_that_of_all() {
    let both = |factor: f64| {
        json!({
            "rope_parameters": {
                "full_attention": { "rope_type": "linear", "factor": 8.0, "rope_theta": 1e6 },
                "sliding_attention": { "rope_type": "default", "rope_theta": 1e4 },
            },
            "rope_scaling": { "rope_type": "linear", "factor": factor },
        })
    };
    assert!(read(&config("Gemma3ForCausalLM", both(8.0))).is_ok());
    refused(
        "Gemma3ForCausalLM",
        &[(
            both(4.0),
            "`rope_scaling` is {\"rope_type\":\"linear\",\"factor\":4.0}",
        )],
    );
}

#[test]
fn what_stands_beside_a_table_of_rope_must_agree_with_it() {
    let table = |changes: Value| {
        let mut table = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64, "rope_theta": 500.0,
        });
        for (key, value) in changes.as_object().unwrap() {
            table[key] = value.clone();
        }
        table
    };
    let beside = |theta: f64, original: u32, table: Value| json!({ "rope_theta": theta, "original_max_position_embeddings": original, "rope_parameters": table });
    let same = beside(500.0, 64, table(json!({ "type": "llama3" })));
    assert!(read(&config("LlamaForCausalLM", same)).is_ok());
    refused(
        "LlamaForCausalLM",
        &[
            (
                beside(600.0, 64, table(json!({}))),
                "`rope_parameters.rope_theta` is 500.0, where 600 stands beside the table",
            ),
            (
                beside(500.0, 32, table(json!({}))),
                "`rope_parameters.original_max_position_embeddings` is 64, where 32 stands",
            ),
            (
                beside(500.0, 64, table(json!({ "type": "yarn" }))),
                "`rope_parameters.type` is \"yarn\", where `rope_type` says otherwise",
            ),
        ],
    );
}

#[test]
fn an_activation_under_the_key_of_another_class_must_agree() {
    let both = |one: &str, other: &str| json!({ "hidden_act": one, "hidden_activation": other });
    let gelu = "gelu_pytorch_tanh";
    assert!(read(&config("Gemma2ForCausalLM", both(gelu, gelu))).is_ok());
    assert!(read(&config("LlamaForCausalLM", both("silu", "silu"))).is_ok());
    refused(
        "Gemma2ForCausalLM",
        &[
            (
                json!({ "hidden_act": "silu" }),
                "`hidden_act` is \"silu\", where this class goes by `hidden_activation`",
            ),
            (
                both("silu", gelu),
                "`hidden_act` is \"silu\", where this class goes by `hidden_activation`",
            ),
        ],
    );
    refused(
        "LlamaForCausalLM",
        &[(
            json!({ "hidden_activation": gelu }),
            "`hidden_activation` is \"gelu_pytorch_tanh\", where this class goes by `hidden_act`",
        )],
    );
}

#[test]
fn a_model_type_of_another_family_is_refused() {
    refused(
        "LlamaForCausalLM",
        &[(
            json!({ "model_type": "mistral" }),
            "`model_type` is \"mistral\"",
        )],
    );
    let within = |outer: &str, inner: &str| {
        let text = json!({
            "hidden_size": 128, "intermediate_size": 96, "max_position_embeddings": 128,
            "model_type": inner, "num_attention_heads": 8, "num_hidden_layers": 2, "vocab_size": 10,
        });
        let config = json!({
            "architectures": ["Mistral3ForConditionalGeneration"], "model_type": outer,
            "text_config": text,
        });
        read(config.as_object().unwrap())
    };
    assert!(within("mistral3", "mistral").is_ok());
    let outer = within("llava", "mistral").unwrap_err();
    assert!(outer.contains("`model_type` is \"llava\""), "{outer}");
    let inner = within("mistral3", "ministral3").unwrap_err();
    assert!(
        inner.contains("`text_config.model_type` is \"ministral3\""),
        "{inner}"
    );
}

#[test]
fn what_a_model_for_images_says_of_the_head_must_agree_with_its_text_model() {
    let tied = |outer: Value, inner: Value| {
        let text = json!({
            "hidden_size": 128, "intermediate_size": 96, "max_position_embeddings": 128,
            "num_attention_heads": 8, "num_hidden_layers": 2, "vocab_size": 10,
            "tie_word_embeddings": inner,
        });
        let config = json!({
            "architectures": ["Mistral3ForConditionalGeneration"], "tie_word_embeddings": outer,
            "text_config": text,
        });
        read(config.as_object().unwrap()).map(|spec| spec.tied_head)
    };
    assert_eq!(tied(json!(true), json!(true)), Ok(true));
    assert_eq!(tied(json!(true), json!(null)), Ok(true));
    assert_eq!(tied(json!(null), json!(true)), Ok(true));
    assert_eq!(tied(json!(null), json!(null)), Ok(false));
    for outer in [true, false] {
        let found = tied(json!(outer), json!(!outer)).unwrap_err();
        let expected = format!("`tie_word_embeddings` is {outer}, where `text_config` says");
        assert!(found.contains(&expected), "{found}");
    }
}

#[test]
fn multipliers_that_mean_nothing_are_refused() {
    refused(
        "GraniteForCausalLM",
        &[
            (
                json!({ "attention_multiplier": 1e300 }),
                "`attention_multiplier` is 1e+300",
            ),
            (
                json!({ "embedding_multiplier": 1e300 }),
                "`embedding_multiplier` is 1e+300",
            ),
            (
                json!({ "residual_multiplier": 1e-300 }),
                "`residual_multiplier` is 1e-300",
            ),
            (
                json!({ "logits_scaling": 1e-300 }),
                "`logits_scaling` is 1e-300",
            ),
        ],
    );
}

#[test]
fn numbers_of_ropes_and_norms_that_mean_nothing_are_refused_with_what_was_expected() {
    let scaling = |changes: Value| {
        let mut table = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        });
        for (key, value) in changes.as_object().unwrap() {
            table[key] = value.clone();
        }
        json!({ "rope_scaling": table })
    };
    let kind = |kind: &str, key: &str, value: f64| {
        let mut table = json!({ "rope_type": kind, "factor": 8.0 });
        table[key] = json!(value);
        json!({ "rope_scaling": table })
    };
    refused(
        "LlamaForCausalLM",
        &[
            (
                json!({ "rms_norm_eps": 1e300 }),
                "`rms_norm_eps` is 1e+300, where a number from 1e-12 to 0.1",
            ),
            (json!({ "rms_norm_eps": 0.0 }), "`rms_norm_eps` is 0"),
            (
                json!({ "rope_theta": 1.0 }),
                "`rope_theta` is 1.0, where a number from 2.0",
            ),
            (
                kind("linear", "factor", 1e-320),
                "`rope_scaling.factor` is 1e-320, where a number from 1.0",
            ),
            (
                kind("linear", "factor", 0.5),
                "`rope_scaling.factor` is 0.5",
            ),
            (
                kind("yarn", "attention_factor", 1e300),
                "`rope_scaling.attention_factor` is 1e+300",
            ),
            (
                kind("yarn", "beta_fast", 0.5),
                "`rope_scaling.beta_fast` is 0.5, where at least",
            ),
            (
                kind("yarn", "mscale", 1e30),
                "`rope_scaling.mscale` is 1e+30",
            ),
            (
                scaling(json!({ "high_freq_factor": 1.0 })),
                "`rope_scaling.high_freq_factor` is 1.0, where more",
            ),
            (
                scaling(json!({ "original_max_position_embeddings": 1 })),
                "`rope_scaling.original_max_position_embeddings` is 1, where a context",
            ),
        ],
    );
}

#[test]
fn factors_for_each_pair_that_mean_nothing_are_refused() {
    let long = json!({
        "rope_type": "longrope", "short_factor": vec![1.0; 8], "long_factor": vec![1.0; 8],
        "original_max_position_embeddings": 1,
    });
    let mut huge = long.clone();
    huge["original_max_position_embeddings"] = json!(32);
    huge["long_factor"][3] = json!(1e300);
    refused(
        "Phi3ForCausalLM",
        &[
            (
                json!({ "rope_scaling": long }),
                "`rope_scaling.original_max_position_embeddings` is 1",
            ),
            (
                json!({ "rope_scaling": huge }),
                "`rope_scaling.long_factor` is",
            ),
        ],
    );
}

#[test]
fn sizes_whose_products_no_machine_holds_are_refused() {
    let huge = 4_294_967_294_u32;
    refused(
        "LlamaForCausalLM",
        &[(
            json!({ "num_attention_heads": huge, "num_key_value_heads": huge, "head_dim": huge }),
            "`num_attention_heads` is 4294967294, which times 4294967294",
        )],
    );
}
