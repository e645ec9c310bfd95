//! A key of the architecture that nothing reads is refused, unless it says what holds anyway.

use weir_model::Inspection;

use crate::written::{Value, Written, folder};

/// The head of a small model, with `changes`, an embedding, and factors of its rope.
fn file(architecture: &str, changes: &[(&str, Value)]) -> Written {
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
    file
}

fn inspect(file: &Written) -> Result<Inspection, String> {
    let folder = folder();
    let path = file.write(folder.path(), "m.gguf");
    Inspection::of(&path).map_err(|error| error.to_string())
}

fn read(architecture: &str, changes: &[(&str, Value)]) -> Result<Inspection, String> {
    inspect(&file(architecture, changes))
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
        ("rope.scaling.finetuned", Value::Bool(0)),
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

/// All that one layer of Granite has, whose two heads of queries share one of keys.
fn granite() -> Written {
    let one_head = [
        ("block_count", Value::U32(1)),
        ("attention.head_count_kv", Value::Array(vec![Value::I32(1)])),
        ("attention.scale", Value::F32(0.25)),
        ("rope.scaling.finetuned", Value::Bool(0)),
        ("ssm.conv_kernel", Value::U32(4)),
    ];
    let mut file = file("granite", &one_head);
    let tensors: [(&str, &[u64]); 10] = [
        ("output_norm", &[32]),
        ("blk.0.attn_norm", &[32]),
        ("blk.0.attn_q", &[32, 32]),
        ("blk.0.attn_k", &[32, 16]),
        ("blk.0.attn_v", &[32, 16]),
        ("blk.0.attn_output", &[32, 32]),
        ("blk.0.ffn_norm", &[32]),
        ("blk.0.ffn_gate", &[32, 64]),
        ("blk.0.ffn_up", &[32, 64]),
        ("blk.0.ffn_down", &[64, 32]),
    ];
    for (name, shape) in tensors {
        let bytes = 4 * shape.iter().product::<u64>() as usize;
        file.add(&format!("{name}.weight"), shape, 0, bytes);
    }
    file
}

#[test]
fn a_switch_of_rope_stills_every_layer_of_granite_and_none_of_another() {
    let still = |file: &Written| {
        let inspection = inspect(file).unwrap();
        let switches = inspection.switches.iter();
        let found: Vec<_> = switches
            .filter(|(name, _)| *name == "layers without rope")
            .map(|(_, layers)| layers.clone())
            .collect();
        found.concat()
    };
    let key = "rope.scaling.finetuned";
    let of_granite = format!("granite.{key}");
    let mut file = granite();
    assert_eq!(still(&file), "1");
    assert_eq!(still(file.set(&of_granite, Value::Bool(1))), "");
    file.values.retain(|(name, _)| *name != of_granite);
    assert_eq!(still(&file), "");
    assert_refused("granite", key, Value::U32(0));
    file.set("general.architecture", Value::text("llama"));
    file.values.retain(|(name, _)| !name.contains("ssm."));
    for (name, _) in &mut file.values {
        *name = name.replace("granite.", "llama.");
    }
    assert_eq!(still(file.set(&format!("llama.{key}"), Value::Bool(0))), "");
}

#[test]
fn state_spaces_are_read_over_in_granite_as_keys_and_refused_as_tensors() {
    for (key, value) in [
        ("expert_shared_feed_forward_length", 64),
        ("ssm.conv_kernel", 4),
        ("ssm.group_count", 1),
        ("ssm.inner_size", 64),
        ("ssm.state_size", 16),
        ("ssm.time_step_rank", 2),
    ] {
        let mut file = granite();
        file.set(&format!("granite.{key}"), Value::U32(value));
        assert!(inspect(&file).is_ok(), "{key}");
        assert_refused("llama", key, Value::U32(value));
    }
    assert_refused("granite", "ssm.anything_new", Value::U32(1));
    assert_refused("granite", "expert_count", Value::U32(8));
    let mut file = granite();
    file.add("blk.0.ssm_in.weight", &[32, 64], 0, 4 * 32 * 64);
    let found = inspect(&file).unwrap_err();
    assert!(found.contains("`blk.0.ssm_in.weight`"), "{found}");
}

#[test]
fn a_list_of_heads_of_keys_is_served_where_it_says_one_number() {
    let listed = |heads: &[u32]| {
        let heads = heads.iter().map(|heads| Value::U32(*heads)).collect();
        ("attention.head_count_kv", Value::Array(heads))
    };
    // The file has no layers, which is said after all keys were looked at.
    let found = read("llama", &[listed(&[1, 1])]).unwrap_err();
    assert!(found.contains("no tensor"), "{found}");
    for heads in [&[1_u32, 2][..], &[1, 0], &[0, 0], &[1], &[1, 1, 1]] {
        let (key, value) = listed(heads);
        assert_refused("granite", key, value);
    }
}
