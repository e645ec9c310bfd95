//! Two workers recognise by digests that they serve the same.

use safetensors::Dtype;
use weir_model::{KernelClass, KeyValueType, LoadOptions, Model, ModelFacts, Quantization};

use crate::tiny::{Tiny, word_level};

fn facts(tiny: &Tiny) -> ModelFacts {
    let model = Model::load(tiny.path(), &LoadOptions::default()).unwrap();
    model.facts().clone()
}

#[test]
fn the_same_files_elsewhere_have_the_same_digests() {
    let (one, two) = (Tiny::new(), Tiny::new());
    one.write(Dtype::F32);
    two.write(Dtype::F32);
    // A file that no answer depends on.
    two.write_file("README.md", "# Tiny");
    assert_eq!(facts(&one), facts(&two));
}

#[test]
fn every_file_that_answers_depend_on_changes_the_digest() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    let plain = facts(&tiny);
    tiny.write_file("generation_config.json", "{\"eos_token_id\": 3}");
    let with_ends = facts(&tiny);
    tiny.write_file("chat_template.jinja", "{{ messages }}");
    let with_template = facts(&tiny);
    tiny.write_file("tokenizer.json", &word_level(60).to_string());
    let with_tokenizer = facts(&tiny);
    let digests = [&plain, &with_ends, &with_template, &with_tokenizer].map(|facts| &facts.digest);
    for (index, digest) in digests.iter().enumerate() {
        assert!(
            digest.starts_with("sha256:") && digest.len() == 71,
            "{digest}"
        );
        assert!(!digests[..index].contains(digest));
    }
    assert_eq!(plain.tokenizer_digest, with_template.tokenizer_digest);
    assert_ne!(plain.tokenizer_digest, with_tokenizer.tokenizer_digest);
}

#[test]
fn the_same_files_served_in_another_way_have_another_digest() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    let served = |quantization, key_value_type| {
        let options = LoadOptions {
            quantization,
            key_value_type,
            ..LoadOptions::default()
        };
        let model = Model::load(tiny.path(), &options).unwrap();
        model.facts().digest.clone()
    };
    let plain = served(Quantization::Auto, KeyValueType::Auto);
    assert_eq!(plain, served(Quantization::None, KeyValueType::Auto));
    let others = [
        served(Quantization::Q8, KeyValueType::Auto),
        served(Quantization::Q4, KeyValueType::Auto),
        served(Quantization::None, KeyValueType::F16),
        served(Quantization::None, KeyValueType::Fp8),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_ne!(*other, plain);
        assert!(!others[..index].contains(other));
    }
}

#[test]
fn the_facts_are_those_of_the_files() {
    let tiny = Tiny::new();
    let parameters: usize = tiny
        .tensors
        .iter()
        .map(|tensor| tensor.shape.iter().product::<usize>())
        .sum();
    tiny.write(Dtype::BF16);
    let facts = facts(&tiny);
    assert_eq!(facts.architecture, "Llama");
    assert_eq!(facts.parameters, parameters as u64);
    let vectors = tiny.tensors.iter().filter(|tensor| tensor.shape.len() == 1);
    let widened: usize = vectors.map(|tensor| tensor.shape[0]).sum();
    assert_eq!(facts.weight_bytes, 2 * (parameters + widened) as u64);
    assert_eq!(facts.key_value_type, "BF16");
    assert_eq!(facts.quantization, "None");
    assert_eq!(facts.context_tokens, 256);
    assert_eq!(facts.vocabulary, 61);
    assert_eq!(facts.kernel_class, KernelClass::detect());
}

#[test]
fn factors_that_the_context_chooses_are_in_the_digest() {
    let mut tiny = Tiny::new();
    let factors = |factor: f64| vec![factor; 10];
    let rope = serde_json::json!({
        "rope_type": "longrope", "original_max_position_embeddings": 128,
        "short_factor": factors(1.0), "long_factor": factors(2.0),
    });
    tiny.set("rope_parameters", rope);
    tiny.write(Dtype::F32);
    let served = |context_tokens| {
        let options = LoadOptions {
            context_tokens,
            ..LoadOptions::default()
        };
        let model = Model::load(tiny.path(), &options).unwrap();
        model.facts().digest.clone()
    };
    assert_eq!(served(Some(64)), served(Some(128)));
    assert_eq!(served(Some(129)), served(None));
    assert_ne!(served(Some(128)), served(Some(129)));
}
