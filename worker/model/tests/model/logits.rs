//! What Hugging Face's implementation computes, ours computes too.
//!
//! The references are made by `fixtures/make.py`: arithmetic in f32, weights as the files hold
//! them. Logits there lie between about -20 and 20.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use weir_model::{BLOCK_TOKENS, Groups, KernelClass, KeyValueType, KvCache, LoadOptions, Model};

use crate::run::{self, Sequence};
use crate::tiny::{Tiny, word_level};

/// Two orders of summation of the same f32 numbers.
const TOLERANCE_F32: f32 = 2e-4;

/// Keys and values are rounded to the eight bits of bf16, which the reference does not do.
const TOLERANCE_BF16: f32 = 0.15;
/// So is what meets weights in bf16, on processors that multiply such numbers.
const TOLERANCE_NARROWED: f32 = 0.3;

/// Keys and values are rounded to the four bits of e4m3.
const TOLERANCE_FP8: f32 = 0.3;

#[derive(Deserialize)]
struct Reference {
    prompt: Vec<u32>,
    greedy: Vec<u32>,
}

#[derive(Deserialize)]
struct Cases {
    sha256: String,
    cases: Vec<Reference>,
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

pub fn triage() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/triage/model")
}

/// The committed model with a tokenizer beside it, which the fixtures leave out.
fn loaded(name: &str) -> (Model, TempDir) {
    let folder = TempDir::new().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixtures().join(name).join(file), folder.path().join(file)).unwrap();
    }
    let tokenizer = word_level(256).to_string();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer).unwrap();
    let model = Model::load(folder.path(), &LoadOptions::default()).unwrap();
    (model, folder)
}

fn reference(name: &str) -> (Vec<u8>, Vec<u8>) {
    let folder = fixtures().join(name);
    let read = |file| std::fs::read(folder.join(file)).unwrap();
    (read("reference.json"), read("reference.safetensors"))
}

fn rows(tensors: &[u8]) -> Vec<Vec<f32>> {
    let tensors = SafeTensors::deserialize(tensors).unwrap();
    let logits = tensors.tensor("logits").unwrap();
    let numbers: Vec<f32> = logits
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    numbers
        .chunks_exact(logits.shape()[1])
        .map(<[f32]>::to_vec)
        .collect()
}

/// Of the class that is detected.
fn tolerance() -> f32 {
    let class = KernelClass::detect();
    match class == class.without_rounding() {
        true => TOLERANCE_BF16,
        false => TOLERANCE_NARROWED,
    }
}

/// The largest difference between any two numbers in the same place.
fn distance(ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(theirs)
        .flat_map(|(ours, theirs)| ours.iter().zip(theirs))
        .map(|(ours, theirs)| (ours - theirs).abs())
        // A NaN is as far as can be.
        .fold(0.0, |most, apart| if apart <= most { most } else { apart })
}

/// The likeliest tokens, one by one.
fn greedy(model: &mut Model, prompt: &[u32], steps: usize) -> Vec<u32> {
    let blocks: Vec<u32> = (0..(prompt.len() + steps).div_ceil(BLOCK_TOKENS) as u32).collect();
    let mut cache = KvCache::new(model, Groups::both(blocks.len()), BLOCK_TOKENS).unwrap();
    let mut sequences = [Sequence::new(prompt, &blocks)];
    let mut len = prompt.len();
    for _ in 0..steps {
        let logits = run::step(model, &mut cache, &mut sequences, &[len]);
        let last = logits.last().unwrap();
        let best = last
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1))
            .unwrap();
        sequences[0].tokens.push(best.0 as u32);
        len = 1;
    }
    sequences[0].tokens[prompt.len()..].to_vec()
}

#[test]
fn an_f32_model_gives_the_logits_and_the_greedy_tokens_of_hugging_face() {
    let (mut model, _folder) = loaded("tiny-f32");
    assert_eq!(model.facts().key_value_type, "F32");
    let (json, tensors) = reference("tiny-f32");
    let reference: Reference = serde_json::from_slice(&json).unwrap();
    let logits = run::alone(&mut model, &reference.prompt);
    let distance = distance(&logits, &rows(&tensors));
    println!("tiny-f32: logits differ by up to {distance:e}");
    assert!(distance < TOLERANCE_F32, "logits differ by {distance}");
    let path = greedy(&mut model, &reference.prompt, reference.greedy.len());
    assert_eq!(path, reference.greedy);
}

#[test]
fn a_bf16_model_gives_the_logits_of_hugging_face_within_the_rounding_of_its_cache() {
    let (mut model, _folder) = loaded("tiny-bf16");
    assert_eq!(model.facts().key_value_type, "BF16");
    let (json, tensors) = reference("tiny-bf16");
    let reference: Reference = serde_json::from_slice(&json).unwrap();
    let logits = run::alone(&mut model, &reference.prompt);
    let theirs = rows(&tensors);
    // Nothing was cached before the first token but itself; then the rounding adds up.
    let distance = distance(&logits, &theirs);
    println!("tiny-bf16: logits differ by up to {distance:e}");
    assert!(distance < tolerance(), "logits differ by {distance}");
}

#[test]
fn the_triage_model_answers_as_hugging_face_says() {
    let (json, tensors) = reference("triage");
    let reference: Cases = serde_json::from_slice(&json).unwrap();
    let weights = std::fs::read(triage().join("model.safetensors")).unwrap();
    let digest: String = Sha256::digest(weights)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        digest, reference.sha256,
        "the references are of another model: run fixtures/make.py"
    );
    for (kind, tolerance) in [
        (KeyValueType::Auto, tolerance()),
        (KeyValueType::Fp8, TOLERANCE_FP8),
    ] {
        let options = LoadOptions {
            key_value_type: kind,
            ..LoadOptions::default()
        };
        let mut model = Model::load(&triage(), &options).unwrap();
        let ours: Vec<Vec<f32>> = reference
            .cases
            .iter()
            .map(|case| run::alone(&mut model, &case.prompt).pop().unwrap())
            .collect();
        let distance = distance(&ours, &rows(&tensors));
        println!("triage, {kind:?}: logits differ by up to {distance:e}");
        assert!(
            distance < tolerance,
            "{kind:?}: logits differ by {distance}"
        );
        for case in &reference.cases {
            let path = greedy(&mut model, &case.prompt, case.greedy.len());
            // What comes after the end of the answer is noise.
            let answer = case
                .greedy
                .iter()
                .position(|id| *id == 2)
                .map_or(path.len(), |end| end + 1);
            assert_eq!(path[..answer], case.greedy[..answer], "{kind:?}");
        }
    }
}

#[test]
fn names_may_go_without_what_parts_a_model_from_its_head() {
    let tokens: Vec<u32> = (4..20).collect();
    let logits = |rename: fn(&str) -> String| {
        let mut tiny = Tiny::new();
        for tensor in &mut tiny.tensors {
            tensor.name = rename(&tensor.name);
        }
        tiny.write(Dtype::F32);
        let mut model = Model::load(tiny.path(), &LoadOptions::default()).unwrap();
        run::alone(&mut model, &tokens)
    };
    let bare = logits(|name| name.trim_start_matches("model.").to_owned());
    assert_eq!(bare, logits(str::to_owned));
}
