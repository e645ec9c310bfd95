//! A worker that cannot start says why in one line, twice, and ends with a failure.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{copy, fail_to_start, triage};

fn edit(folder: &TempDir, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.path().join(file);
    let mut json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

/// The line that is said must begin with the reason and name the thing.
fn expect(model: &Path, source: &str, reason: &str, names: &str) {
    expect_with(model, source, &[], (reason, names));
}

fn expect_with(model: &Path, source: &str, args: &[&str], (reason, names): (&str, &str)) {
    let failed = fail_to_start(source, model, args);
    assert!(!failed.status.success());
    assert_eq!(failed.said.len(), 1, "{:?}", failed.said);
    let line = &failed.said[0];
    assert!(line.starts_with(&format!("{reason}: ")), "{line}");
    assert!(line.contains(names), "{line} does not name {names}");
    assert_eq!(failed.termination_log, format!("{line}\n"));
}

#[test]
fn a_missing_model_folder_is_named() {
    expect(&triage(), "file:///nowhere", "ModelNotFound", "/nowhere");
    expect(
        &triage(),
        "pvc://claim/nowhere",
        "ModelNotFound",
        "claim/nowhere",
    );
}

#[test]
fn a_missing_file_is_named() {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let model = copy();
        std::fs::remove_file(model.path().join(file)).unwrap();
        expect(model.path(), "file:///model", "ModelNotFound", file);
    }
}

#[test]
fn a_truncated_weights_file_is_named() {
    let model = copy();
    let path = model.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    expect(
        model.path(),
        "file:///model",
        "Unsupported",
        "model.safetensors",
    );
}

#[test]
fn an_unknown_architecture_is_named() {
    let model = copy();
    edit(&model, "config.json", |config| {
        config["architectures"] = json!(["MambaForCausalLM"]);
        config["model_type"] = json!("mamba");
    });
    expect(model.path(), "file:///model", "Unsupported", "Mamba");
}

#[test]
fn a_config_that_disagrees_with_the_tensors_names_the_tensor() {
    let model = copy();
    edit(&model, "config.json", |config| {
        config["intermediate_size"] = json!(500)
    });
    expect(
        model.path(),
        "file:///model",
        "Unsupported",
        "model.layers.0.mlp",
    );
}

#[test]
fn a_tokenizer_of_another_model_is_named() {
    let model = copy();
    edit(&model, "tokenizer.json", |tokenizer| {
        tokenizer["added_tokens"]
            .as_array_mut()
            .unwrap()
            .push(json!({
                "id": 50_000, "content": "<|other|>", "special": true, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false,
            }));
    });
    let tokenizer = model.path().join("tokenizer.json");
    assert!(tokenizer.exists());
    let failed = fail_to_start("file:///model", model.path(), &[]);
    assert!(!failed.status.success());
    assert!(
        failed.said[0].contains("tokenizer.json"),
        "{:?}",
        failed.said
    );
}

#[test]
fn a_context_over_the_models_own_names_both() {
    expect_with(
        &triage(),
        "file:///model",
        &["--context-tokens", "4096"],
        ("Unsupported", "4096"),
    );
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = ["--listen", address.as_str()];
    expect_with(&triage(), "file:///model", &args, ("CrashLoop", &address));
}

#[test]
fn an_address_of_no_known_kind_is_named() {
    expect(&triage(), "ftp://x/y", "Unsupported", "ftp://x/y");
}

#[test]
fn what_is_not_in_the_cache_of_a_worker_that_may_ask_nobody_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let args = ["--offline", "--cache", cache.path().to_str().unwrap()];
    let source = "hf://Qwen/Qwen3-0.6B";
    expect_with(&triage(), source, &args, ("ModelNotFound", source));
}

#[test]
fn a_chat_template_that_is_out_for_memory_time_or_stack_is_named_before_it_is_used() {
    let doubling = "{% set ns = namespace(x='a') %}\
                    {% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    let slow = "{% for i in range(99999) %}{% set x = ('x' * 9999999)|upper %}{% endfor %}";
    let endless = "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}";
    let deep = format!("{{{{ 1{} }}}}", (" + 1".repeat(1000) + "\n").repeat(200));
    for (source, names) in [
        (doubling, "takes more than 256 MiB of memory"),
        (slow, "does not end within some 2 s of processor time"),
        (endless, "did not end within 2000000 steps"),
        (&*deep, "nests or calls itself too deep"),
        ("{{ messages | of_nobody }}", "renders no conversation"),
    ] {
        let model = copy();
        std::fs::write(model.path().join("chat_template.jinja"), source).unwrap();
        let file = "chat_template.jinja";
        expect(model.path(), "file:///model", "Unsupported", file);
        expect(model.path(), "file:///model", "Unsupported", names);
    }
}

#[test]
fn a_chat_template_of_its_own_is_looked_at_as_the_models_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ours.jinja");
    let path = file.to_str().unwrap();
    let args = ["--chat-template", path];
    expect_with(&triage(), "file:///model", &args, ("ModelNotFound", path));
    for (source, names) in [
        ("{% for message in messages %}", "ours.jinja"),
        (
            "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
            "did not end within 2000000 steps",
        ),
    ] {
        std::fs::write(&file, source).unwrap();
        expect_with(&triage(), "file:///model", &args, ("Unsupported", names));
    }
}

/// Makes all of the last norm's weights the same.
fn norm(folder: &Path, weight: f32) {
    let path = folder.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let json: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let norm = &json["model.norm.weight"];
    let place = |end: usize| 8 + header + norm["data_offsets"][end].as_u64().unwrap() as usize;
    let data = &mut bytes[place(0)..place(1)];
    let stored = weight.to_le_bytes();
    match norm["dtype"].as_str().unwrap() {
        "F32" => data
            .chunks_exact_mut(4)
            .for_each(|to| to.copy_from_slice(&stored)),
        "BF16" => data
            .chunks_exact_mut(2)
            .for_each(|to| to.copy_from_slice(&stored[2..])),
        other => panic!("the example is stored as {other}"),
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_model_whose_logits_lead_to_no_answer_is_named_before_it_is_ready() {
    for (weight, why) in [
        (3e38, "model triage: its logits are not finite"),
        (0.0, "model triage: its logits are all the same"),
    ] {
        let model = copy();
        norm(model.path(), weight);
        expect(model.path(), "file:///model", "Unsupported", why);
    }
}
