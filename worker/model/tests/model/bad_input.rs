//! A folder that cannot be served is refused, and the refusal names what is in the way.

use std::error::Error as _;
use std::path::Path;

use safetensors::Dtype;
use serde_json::json;
use weir_model::{ChatTemplate, Groups, KvCache, LoadError, LoadOptions, Model, Tokenizer};

use crate::tiny::{Tiny, word_level};

fn error_of(folder: &Path) -> LoadError {
    Model::load(folder, &LoadOptions::default()).unwrap_err()
}

/// The refusal of a tiny model that was damaged before it was written.
fn refusal(damage: impl FnOnce(&mut Tiny)) -> (String, &'static str) {
    let mut tiny = Tiny::new();
    damage(&mut tiny);
    let error = error_of(tiny.write(Dtype::F32));
    (error.to_string(), error.reason())
}

#[test]
fn a_folder_that_is_not_there_is_not_found() {
    let error = error_of(Path::new("/nowhere/at/all"));
    assert_eq!(
        error.to_string(),
        "there is no model folder at /nowhere/at/all"
    );
    assert_eq!(error.reason(), "ModelNotFound");
}

#[test]
fn each_file_that_is_not_there_is_named() {
    for (file, name) in [
        ("config.json", "config.json"),
        ("tokenizer.json", "tokenizer.json"),
        ("model.safetensors", "weights"),
    ] {
        let tiny = Tiny::new();
        tiny.write(Dtype::F32);
        let path = tiny.path().join(file);
        std::fs::remove_file(&path).unwrap();
        let error = error_of(tiny.path());
        assert_eq!(
            error.to_string(),
            format!("the model has no {name}: {} does not exist", path.display())
        );
        assert_eq!(error.reason(), "ModelNotFound");
    }
}

#[test]
fn a_shard_that_its_index_names_and_that_is_not_there_is_named() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    std::fs::remove_file(tiny.path().join("model.safetensors")).unwrap();
    for shard in [
        "model-00001-of-00001.safetensors",
        "../elsewhere.safetensors",
    ] {
        let index = json!({ "weight_map": { "model.norm.weight": shard } });
        tiny.write_file("model.safetensors.index.json", &index.to_string());
        let error = error_of(tiny.path());
        assert!(error.to_string().contains(shard), "{error}");
        assert_eq!(error.reason(), "ModelNotFound");
    }
}

#[test]
fn weights_in_shards_are_found_through_their_index() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    let whole = Model::load(tiny.path(), &LoadOptions::default()).unwrap();
    let shard = "model-00001-of-00001.safetensors";
    std::fs::rename(
        tiny.path().join("model.safetensors"),
        tiny.path().join(shard),
    )
    .unwrap();
    let index = json!({ "weight_map": { "model.norm.weight": shard } });
    tiny.write_file("model.safetensors.index.json", &index.to_string());
    let sharded = Model::load(tiny.path(), &LoadOptions::default()).unwrap();
    assert_eq!(whole.facts().parameters, sharded.facts().parameters);
}

#[test]
fn a_truncated_safetensors_file_is_named() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    let path = tiny.path().join("model.safetensors");
    let length = std::fs::metadata(&path).unwrap().len();
    for kept in [length - 100, 300, 4, 0] {
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(kept).unwrap();
        let error = error_of(tiny.path());
        assert!(
            error.to_string().contains("model.safetensors"),
            "{kept} bytes: {error}"
        );
        assert_eq!(error.reason(), "Unsupported");
    }
}

#[test]
fn a_config_that_is_not_json_is_named() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    tiny.write_file("config.json", "{ \"architectures\": [");
    let error = error_of(tiny.path());
    assert!(
        error
            .to_string()
            .contains("config.json is not what it should be: EOF"),
        "{error}"
    );
}

#[test]
fn an_unknown_architecture_is_named_beside_those_that_are_known() {
    let (message, reason) = refusal(|tiny| tiny.set("architectures", json!(["MambaForCausalLM"])));
    let known = "architecture MambaForCausalLM is not supported; these are: LlamaForCausalLM, ";
    assert!(message.starts_with(known), "{message}");
    assert!(message.contains(", Gemma3ForCausalLM, "), "{message}");
    assert_eq!(reason, "Unsupported");
}

#[test]
fn every_key_that_cannot_be_served_is_named() {
    for (key, value, expected) in [
        (
            "quantization_config",
            json!({ "quant_method": "gptq", "bits": 4 }),
            "config.json: `quantization_config` is \"gptq\", where weights must be as trained: choose a quantisation with `quantization`",
        ),
        (
            "attn_logit_softcapping",
            json!(50.0),
            "config.json: `attn_logit_softcapping` is not known here, and might change what the model computes",
        ),
        (
            "partial_rotary_factor",
            json!(0.5),
            "config.json: `partial_rotary_factor` is 0.5, where this architecture is served with 1",
        ),
        (
            "hidden_act",
            json!("gelu"),
            "config.json: `hidden_act` is \"gelu\", where silu and gelu_pytorch_tanh are supported",
        ),
        (
            "num_key_value_heads",
            json!(4),
            "config.json: `num_key_value_heads` is 4, which does not divide the 6 attention heads into groups of up to 128",
        ),
        (
            "head_dim",
            json!(21),
            "config.json: `head_dim` is 21, where rotation needs an even one",
        ),
        (
            "hidden_size",
            json!(-1),
            "config.json: `hidden_size` is -1, not a positive whole number",
        ),
        ("vocab_size", json!(null), "config.json has no `vocab_size`"),
        (
            "rope_parameters",
            json!({ "rope_type": "dynamic", "factor": 2.0 }),
            "config.json: `rope_parameters.rope_type` is \"dynamic\", where default, linear, llama3, yarn and longrope are supported",
        ),
        (
            "rope_parameters",
            json!({ "rope_type": "linear", "factor": 2.0, "beta_fast": 32 }),
            "config.json: `rope_parameters.beta_fast` is not known here, and might change what the model computes",
        ),
    ] {
        let (message, reason) = refusal(|tiny| tiny.set(key, value));
        assert_eq!(message, expected);
        assert_eq!(reason, "Unsupported");
    }
}

#[test]
fn a_config_that_disagrees_with_the_tensors_names_the_first_that_does_not_fit() {
    let (message, reason) = refusal(|tiny| tiny.set("intermediate_size", json!(72)));
    assert_eq!(
        message,
        "tensor `model.layers.0.mlp.gate_proj.weight` has shape [70, 44] where config.json asks for [72, 44]"
    );
    assert_eq!(reason, "Unsupported");
}

#[test]
fn a_tensor_that_is_missing_is_named() {
    let (message, _) = refusal(|tiny| tiny.set("num_hidden_layers", json!(3)));
    assert_eq!(
        message,
        "the weights have no tensor `model.layers.2.self_attn.q_proj.weight`"
    );
}

#[test]
fn a_tensor_that_nobody_uses_is_named() {
    let (message, _) = refusal(|tiny| tiny.add("model.layers.0.self_attn.q_norm.weight", &[20]));
    assert_eq!(
        message,
        "the weights hold a tensor `model.layers.0.self_attn.q_norm.weight` that this architecture has no place for"
    );
}

#[test]
fn a_tied_head_and_rotary_buffers_in_the_file_change_nothing() {
    let mut tiny = Tiny::new();
    tiny.tie();
    tiny.add("model.layers.1.self_attn.rotary_emb.inv_freq", &[10]);
    Model::load(tiny.write(Dtype::F32), &LoadOptions::default()).unwrap();
}

#[test]
fn a_tied_head_that_is_another_in_the_file_is_named() {
    let (message, reason) = refusal(|tiny| tiny.set("tie_word_embeddings", json!(true)));
    assert_eq!(
        message,
        "the head is the embedding by `tie_word_embeddings`, and tensor `lm_head.weight` holds \
         other numbers than `model.embed_tokens.weight`: one of the two is wrong"
    );
    assert_eq!(reason, "Unsupported");
}

#[test]
fn a_tensor_of_an_unsupported_type_is_named() {
    let tiny = Tiny::new();
    let error = error_of(tiny.write(Dtype::F8_E4M3));
    assert_eq!(
        error.to_string(),
        "tensor `model.embed_tokens.weight` is stored as F8_E4M3; F32, BF16 and F16 are supported"
    );
}

#[test]
fn a_context_beyond_what_the_model_was_made_for_is_refused() {
    let tiny = Tiny::new();
    let options = LoadOptions {
        context_tokens: Some(300),
        ..LoadOptions::default()
    };
    let error = Model::load(tiny.write(Dtype::F32), &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a context of 300 tokens is more than the 256 that the model was made for"
    );
}

#[test]
fn a_cache_that_does_not_fit_in_memory_is_refused_with_its_size() {
    let tiny = Tiny::new();
    let model = Model::load(tiny.write(Dtype::F32), &LoadOptions::default()).unwrap();
    let blocks = (1 << 60) / KvCache::block_bytes(&model, 16).global;
    let error = KvCache::new(&model, Groups::both(blocks), 16).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("the cache of keys and values does not fit in memory: 11529"),
        "{message}"
    );
    assert_eq!(error.reason(), "OutOfMemory");
}

#[test]
fn a_tensor_that_two_shards_hold_is_named() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    let shards = ["a.safetensors", "b.safetensors"].map(|name| tiny.path().join(name));
    let whole = tiny.path().join("model.safetensors");
    std::fs::copy(&whole, &shards[0]).unwrap();
    std::fs::rename(&whole, &shards[1]).unwrap();
    let index = json!({ "weight_map": { "x": "a.safetensors", "y": "b.safetensors" } });
    tiny.write_file("model.safetensors.index.json", &index.to_string());
    let error = error_of(tiny.path());
    assert!(
        error.to_string().contains("another file has a tensor `"),
        "{error}"
    );
}

#[test]
fn a_tokenizer_with_more_tokens_than_the_embedding_has_rows_is_refused() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    tiny.write_file("tokenizer.json", &word_level(62).to_string());
    let error = Tokenizer::load(tiny.path(), 61).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tokenizer.json has 62 tokens where the embedding has 61 rows: it belongs to another model"
    );
    assert_eq!(error.reason(), "Unsupported");
}

#[test]
fn a_tokenizer_that_is_no_tokenizer_is_named() {
    let tiny = Tiny::new();
    tiny.write_file("tokenizer.json", "{}");
    let error = Tokenizer::load(tiny.path(), 61).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("tokenizer.json is not what it should be"),
        "{error}"
    );
}

#[test]
fn a_template_that_does_not_compile_is_named_with_its_line() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    tiny.write_file(
        "chat_template.jinja",
        "{{ bos_token }}\n{% for message in %}",
    );
    let error = ChatTemplate::load(tiny.path()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("chat_template.jinja"), "{message}");
    assert!(message.contains(":2"), "{message}");
    assert!(error.source().is_none());
}

/// What loading says, which must say it at once.
fn said_at_once(folder: &Path) -> String {
    let (tx, rx) = std::sync::mpsc::channel();
    let folder = folder.to_owned();
    std::thread::spawn(move || tx.send(chain(&error_of(&folder))));
    let patience = std::time::Duration::from_secs(60);
    rx.recv_timeout(patience).expect("loading does not wait")
}

fn chain(error: &LoadError) -> String {
    let cause = error.source().map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}

#[test]
fn a_file_that_is_no_file_is_named_and_not_waited_for() {
    for file in ["config.json", "tokenizer.json", "chat_template.jinja"] {
        let tiny = Tiny::new();
        tiny.write(Dtype::F32);
        let path = tiny.path().join(file);
        std::fs::remove_file(&path).ok();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let said = said_at_once(tiny.path());
        let expected = format!("reading {} failed: it is no regular file", path.display());
        assert_eq!(said, expected);
    }
}

#[test]
fn a_file_that_is_too_large_is_named_with_the_most_that_is_read() {
    for (file, mebibytes) in [
        ("config.json", 1),
        ("generation_config.json", 1),
        ("tokenizer_config.json", 16),
        ("tokenizer.json", 128),
        ("chat_template.jinja", 16),
    ] {
        let tiny = Tiny::new();
        tiny.write(Dtype::F32);
        let path = tiny.path().join(file);
        let most: u64 = mebibytes << 20;
        let zeros = std::fs::File::create(&path).unwrap();
        zeros.set_len(most + 1).unwrap();
        let said = error_of(tiny.path()).to_string();
        let expected = format!(
            "{} is not what it should be: it has more than the {most} bytes that are read of such a file",
            path.display()
        );
        assert_eq!(said, expected);
    }
}
