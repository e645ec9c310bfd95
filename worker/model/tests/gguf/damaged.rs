//! Models whose config, tensors or GGUF file was damaged are refused, or computed with: nothing
//! panics, and nothing takes memory that it need not.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use half::bf16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use weir_model::{
    Batch, Groups, Inspection, KvCache, LoadError, LoadOptions, Logits, Model, Quantization,
    SequenceSlice,
};

use crate::mutations::Random;
use crate::peak;
use crate::settings::{MUTATIONS, setting};

/// What takes a few seconds.
const USUALLY: u64 = 1500;

/// A tiny model may take this much, with its pool of threads and its activations.
const MOST: usize = 16 << 20;

const CONFIGS: [&str; 4] = [
    "gemma3",
    "phi4-mini-long-partial",
    "smollm3",
    "qwen3-window-biased",
];

fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))
}

/// Values that a key has no business with, or every business.
fn odd(random: &mut Random) -> Value {
    let values = [
        json!(0),
        json!(1),
        json!(-1),
        json!(2),
        json!(7),
        json!(64),
        json!(4_294_967_295_u64),
        json!(18_446_744_073_709_551_615_u64),
        json!(1e308),
        json!(1e-320),
        json!(0.5),
        json!(null),
        json!(true),
        json!("sliding_attention"),
        json!("yarn"),
        json!([]),
        json!([1, 2]),
        json!({}),
        json!({ "rope_type": "yarn", "factor": 1e300 }),
        json!({ "rope_type": "longrope", "short_factor": [1e-30], "long_factor": [] }),
    ];
    values[random.below(values.len())].clone()
}

/// Changes, adds or takes out a key, at the top or one level down.
fn damage_config(config: &mut Value, random: &mut Random) {
    let mut table = config.as_object_mut().unwrap();
    let inner: Vec<String> = table
        .iter()
        .filter(|(_, value)| value.is_object())
        .map(|(key, _)| key.clone())
        .collect();
    if !inner.is_empty() && random.below(3) == 0 {
        let key = &inner[random.below(inner.len())];
        table = table[key].as_object_mut().unwrap();
    }
    let keys: Vec<String> = table.keys().cloned().collect();
    if keys.is_empty() {
        return;
    }
    let key = &keys[random.below(keys.len())];
    match random.below(8) {
        0 => drop(table.remove(key)),
        1 => drop(table.insert("made_up".to_owned(), odd(random))),
        _ => drop(table.insert(key.clone(), odd(random))),
    }
}

fn damage_bytes(bytes: &mut Vec<u8>, random: &mut Random, head: usize) {
    let within = head.min(bytes.len());
    if within < 16 {
        return;
    }
    match random.below(6) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            let start = random.below(within.saturating_sub(8));
            let number = [0, 1, u64::MAX, 1 << 40, bytes.len() as u64][random.below(5)];
            bytes[start..start + 8].copy_from_slice(&number.to_le_bytes());
        }
        2 => {
            let place = random.below(bytes.len());
            bytes[place] = 0xff;
        }
        _ => {
            let place = random.below(within);
            bytes[place] ^= 1 << random.below(8);
        }
    }
}

/// A folder with a model of one of the families: its config, and tensors as the config wants them.
fn healthy(name: &str) -> (Value, Vec<u8>) {
    let folder = fixtures().join("families").join(name);
    let read = |file: &str| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
    };
    let reference = read("reference.json");
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = reference["tensors"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, shape)| {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            let count = shape.iter().product();
            let bytes = (0..count)
                .flat_map(|at: usize| bf16::from_f32((at % 17) as f32 / 17.0 - 0.5).to_le_bytes());
            (name.clone(), shape, bytes.collect())
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::BF16, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    (
        read("config.json"),
        safetensors::serialize(views, None).unwrap(),
    )
}

/// Loads what is there, and computes a few tokens if that can be.
fn used(path: &Path, quantization: Quantization) -> Result<(), LoadError> {
    let options = LoadOptions {
        threads: NonZeroUsize::MIN,
        quantization,
        memory_bytes: Some(1 << 30),
        ..LoadOptions::default()
    };
    Inspection::of(path)?;
    let mut model = Model::load(path, &options)?;
    let mut cache = KvCache::new(&model, Groups::both(1), 16)?;
    let positions = [0, 1, 2];
    let batch = Batch {
        tokens: &[0, 0, 0],
        positions: &positions,
        sequences: &[SequenceSlice {
            start: 0,
            len: 3,
            context_len: 3,
            block_tables: Groups::both(&[0]),
            adapter: None,
        }],
        slots: Groups::both(&positions),
        outputs: &[2],
    };
    // A context of one token has no room for these, and says so.
    model.forward(&mut cache, &batch, &mut Logits::new()).ok();
    Ok(())
}

/// Tries one damaged model; whether it was refused.
fn is_refused(path: &Path, quantization: Quantization, what: &dyn Fn() -> String) -> bool {
    let work = || catch_unwind(AssertUnwindSafe(|| used(path, quantization)));
    let (outcome, taken) = peak::of(work);
    assert!(taken < MOST, "{} took {taken} bytes", what());
    match outcome {
        Ok(result) => result.is_err(),
        Err(_) => panic!("{} panicked", what()),
    }
}

fn count() -> u64 {
    setting(MUTATIONS)
        .and_then(|count| count.parse().ok())
        .map_or(USUALLY, |count: u64| count / 8)
}

#[test]
fn damaged_configs_and_tensors_are_refused_or_computed_with() {
    let models = CONFIGS.map(healthy);
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, bytes: &[u8]| std::fs::write(folder.path().join(file), bytes).unwrap();
    write("tokenizer.json", b"{}");
    let mut refused = 0;
    for seed in 0..count() {
        let mut random = Random::new(seed);
        let (config, tensors) = &models[random.below(models.len())];
        let (mut config, mut tensors) = (config.clone(), tensors.clone());
        let head = u64::from_le_bytes(tensors[..8].try_into().unwrap()) as usize + 8;
        for _ in 0..=random.below(2) {
            match random.below(3) {
                0 => damage_bytes(&mut tensors, &mut random, head),
                _ => damage_config(&mut config, &mut random),
            }
        }
        write("config.json", config.to_string().as_bytes());
        write("model.safetensors", &tensors);
        let quantization = Quantization::ALL[random.below(4)];
        let what = || format!("seed {seed}: {config}");
        refused += u64::from(is_refused(folder.path(), quantization, &what));
    }
    assert!(
        refused > count() / 4,
        "only {refused} of {} were refused",
        count()
    );
    assert!(refused < count(), "not one was still a model");
}

#[test]
fn damaged_files_of_whole_models_are_refused_or_computed_with() {
    let files = ["types.gguf", "phi3.gguf", "gemma3.gguf", "llama.gguf"];
    let files = files.map(|name| std::fs::read(fixtures().join("gguf").join(name)).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut refused = 0;
    for seed in 0..count() {
        let mut random = Random::new(seed);
        let mut file = files[random.below(files.len())].clone();
        for _ in 0..=random.below(3) {
            damage_bytes(&mut file, &mut random, 8000);
        }
        std::fs::write(&path, &file).unwrap();
        let what = || format!("seed {seed}");
        refused += u64::from(is_refused(&path, Quantization::Auto, &what));
    }
    assert!(
        refused > count() / 4,
        "only {refused} of {} were refused",
        count()
    );
    assert!(refused < count(), "not one was still a model");
}
