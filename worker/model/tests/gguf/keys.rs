//! A key of the architecture that nothing reads is refused, unless it says what holds anyway.

use weir_model::Inspection;

use crate::written::{Value, Written, folder};

/// The head of a small model, with `changes`.
fn read(architecture: &str, changes: &[(&str, Value)]) -> Result<Inspection, String> {
    let mut file = Written::new();
    file.set("general.architecture", Value::text(architecture));
    for (key, number) in [
        ("context_length", 128),
        ("embedding_length", 32),
        ("block_count", 2),
        ("feed_forward_length", 64),
        ("attention.head_count", 2),
    ] {
        file.set(&format!("{architecture}.{key}"), Value::U32(number));
    }
    let epsilon = format!("{architecture}.attention.layer_norm_rms_epsilon");
    file.set(&epsilon, Value::F32(1e-5));
    for (key, value) in changes {
        file.set(&format!("{architecture}.{key}"), value.clone());
    }
    file.add("token_embd.weight", &[32, 8], 0, 4 * 32 * 8)
        .add("rope_freqs.weight", &[8], 0, 4 * 8);
    let folder = folder();
    let path = file.write(folder.path(), "m.gguf");
    Inspection::of(&path).map_err(|error| error.to_string())
}

fn assert_refused(architecture: &str, key: &str, value: Value) {
    let found = read(architecture, &[(key, value)]).expect_err(key);
    let expected = format!("metadata `{architecture}.{key}` is");
    assert!(found.contains(&expected), "{found} does not name {key}");
}

#[test]
fn what_changes_the_forward_pass_and_is_not_served_is_refused_by_its_key() {
    for (key, value) in [
        ("attention.clamp_kqv", Value::F32(8.0)),
        ("attention.causal", Value::Bool(0)),
        ("expert_count", Value::U32(8)),
        ("rope.scaling.alpha", Value::F32(1000.0)),
        ("anything.new", Value::U32(0)),
    ] {
        assert_refused("llama", key, value);
    }
    for (key, value) in [
        ("attention.temperature_scale", Value::F32(0.1)),
        ("rope.scaling.yarn_log_multiplier", Value::F32(1.0)),
    ] {
        assert_refused("mistral3", key, value);
    }
}

#[test]
fn what_says_only_what_holds_anyway_is_read_over() {
    let neutral = [
        ("vocab_size", Value::U32(8)),
        ("attention.clamp_kqv", Value::F32(0.0)),
        ("attention.causal", Value::Bool(1)),
        ("expert_count", Value::U32(0)),
        ("rope.scaling.finetuned", Value::Bool(1)),
        ("rope.scaling.factor", Value::F32(1.0)),
    ];
    // The file has no layers, which is said after all keys were looked at.
    let said = |changes| read("llama", changes).map(|_| ());
    assert_eq!(said(&neutral), said(&[]));
    assert!(said(&[]).unwrap_err().contains("no tensor"));
}

#[test]
fn a_scaling_beside_factors_for_each_pair_is_refused() {
    assert_refused("llama", "rope.scaling.type", Value::text("yarn"));
    assert_refused("llama", "rope.scaling.factor", Value::F32(4.0));
}

#[test]
fn numbers_that_mean_nothing_are_refused() {
    for (key, number) in [
        ("attention.layer_norm_rms_epsilon", 1.0),
        ("attention.scale", 1e30),
        ("embedding_scale", 1e30),
        ("logit_scale", 1e-30),
        ("rope.freq_base", 1.0),
        ("rope.scaling.factor", 1e-30),
        ("rope.scaling.attn_factor", 1e30),
    ] {
        assert_refused("llama", key, Value::F32(number));
    }
    let wide = [("attention.key_length", Value::U32(4_294_967_294))];
    let found = read("llama", &wide).unwrap_err();
    let expected = "metadata `llama.attention.head_count` is 2, which times 4294967294";
    assert!(found.contains(expected), "{found}");
}
