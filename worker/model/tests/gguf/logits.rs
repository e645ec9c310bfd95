//! A model that llama.cpp converted computes what Hugging Face computes of the same weights.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use weir_model::{
    BLOCK_TOKENS, Batch, Groups, KeyValueType, KvCache, LoadOptions, Logits, Model, SequenceSlice,
};

/// Two orders of summation of the same f32 numbers, against the spread of the logits.
const TOLERANCE: f32 = 1e-4;

/// The same where activations are rounded to eight bits, because weights are packed.
const TOLERANCE_ROUNDED: f32 = 0.1;

const FAMILIES: [&str; 11] = [
    "gemma2",
    "gemma3",
    "granite",
    "granite4",
    "granite4-without-rope",
    "llama",
    "mistral",
    "phi3",
    "qwen2",
    "qwen3",
    "smollm3",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/gguf")
        .join(name)
}

/// Tokens, and the logits after each.
fn reference(name: &str) -> (Vec<u32>, Vec<f32>) {
    let bytes = std::fs::read(fixture(&format!("{name}.safetensors"))).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name| {
        let data = tensors.tensor(name).unwrap().data().to_vec();
        let words = data.chunks_exact(4).map(|word| word.try_into().unwrap());
        words.collect::<Vec<[u8; 4]>>()
    };
    let tokens = words("tokens").into_iter().map(u32::from_le_bytes);
    let logits = words("logits").into_iter().map(f32::from_le_bytes);
    (tokens.collect(), logits.collect())
}

fn logits(file: &str, tokens: &[u32]) -> Vec<f32> {
    let options = LoadOptions {
        key_value_type: KeyValueType::F32,
        ..LoadOptions::default()
    };
    let mut model = Model::load(&fixture(file), &options).unwrap();
    let positions: Vec<u32> = (0..tokens.len() as u32).collect();
    let blocks: Vec<u32> = (0..tokens.len().div_ceil(BLOCK_TOKENS) as u32).collect();
    let mut cache = KvCache::new(&model, Groups::both(blocks.len()), BLOCK_TOKENS).unwrap();
    let batch = Batch {
        tokens,
        positions: &positions,
        sequences: &[SequenceSlice {
            start: 0,
            len: tokens.len(),
            context_len: tokens.len(),
            block_tables: Groups::both(&blocks[..]),
            adapter: None,
        }],
        slots: Groups::both(&positions[..]),
        outputs: &positions,
    };
    let mut logits = Logits::new();
    model.forward(&mut cache, &batch, &mut logits).unwrap();
    (0..logits.rows())
        .flat_map(|row| logits.row(row).to_vec())
        .collect()
}

/// How far apart logits are at most, against the spread of theirs.
fn apart(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let mean = theirs.iter().sum::<f32>() / theirs.len() as f32;
    let variance: f32 = theirs.iter().map(|logit| (logit - mean).powi(2)).sum();
    let spread = (variance / theirs.len() as f32).sqrt();
    let pairs = ours.iter().zip(theirs);
    // A NaN is as far as can be.
    let most = pairs
        .map(|(ours, theirs)| (ours - theirs).abs())
        .fold(0.0, |most, apart| if apart <= most { most } else { apart });
    most / spread
}

#[test]
fn every_family_that_was_converted_gives_the_logits_of_hugging_face() {
    let mut wrong = Vec::new();
    for family in FAMILIES {
        let (tokens, theirs) = reference(family);
        let ours = logits(&format!("{family}.gguf"), &tokens);
        let apart = apart(&ours, &theirs);
        println!("{family}: logits differ by up to {apart:.1e} of their spread");
        if apart.is_nan() || apart > TOLERANCE {
            wrong.push(format!("{family}: logits differ by {apart}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_split_file_is_the_model_that_it_was_split_from() {
    let (tokens, _) = reference("llama");
    let whole = logits("llama.gguf", &tokens);
    assert_eq!(logits("split-00001-of-00003.gguf", &tokens), whole);
}

#[test]
fn a_file_of_every_type_gives_the_logits_of_the_numbers_it_stands_for() {
    let (tokens, theirs) = reference("types");
    let ours = logits("types.gguf", &tokens);
    let apart = apart(&ours, &theirs);
    println!("types: logits differ by up to {apart:.3} of their spread");
    assert!(
        apart < TOLERANCE_ROUNDED,
        "logits differ by {apart} of their spread"
    );
}
