//! What llama.cpp's own converter and quantiser wrote is found where the tables say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use weir_model::gguf::names::{
    Architecture, ROPE_DIVISORS, ROPE_DIVISORS_LONG, ROPE_DIVISORS_SHORT, Transform, key, row_of,
};
use weir_model::gguf::{GgufTensor, TensorType};
use weir_model::{Gguf, Tokenizer};

/// Files by the family that they were made from, and what they call their architecture.
const FAMILIES: [(&str, &str); 11] = [
    ("llama", "llama"),
    ("mistral", "llama"),
    ("qwen2", "qwen2"),
    ("qwen3", "qwen3"),
    ("phi3", "phi3"),
    ("gemma2", "gemma2"),
    ("gemma3", "gemma3"),
    ("granite", "granite"),
    ("granite4", "granite"),
    ("granite4-without-rope", "granite"),
    ("smollm3", "smollm3"),
];

fn path(name: &str) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.join("tests/fixtures/gguf").join(name)
}

fn json<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
}

fn family(name: &str) -> (Gguf, &'static Architecture) {
    let gguf = Gguf::open(&path(&format!("{name}.gguf"))).unwrap();
    let architecture: &str = gguf.metadata().need("general.architecture").unwrap();
    let architecture = Architecture::named(architecture).unwrap();
    (gguf, architecture)
}

/// The size of a head, as the decoder has to find it.
fn head_dim(gguf: &Gguf, architecture: &Architecture) -> usize {
    let metadata = gguf.metadata();
    let size = |key: &str| metadata.get::<u32>(&architecture.key(key)).unwrap();
    let hidden = size(key::HIDDEN).unwrap();
    let heads = size(key::HEADS).unwrap();
    size(key::HEAD_DIM).unwrap_or(hidden / heads) as usize
}

/// A tensor of the hub, as `fixtures/convert.py` wrote it down.
#[derive(Deserialize)]
struct OfTheHub {
    shape: Vec<usize>,
    sha256: String,
}

/// The digest of the hub's numbers, got out of the file.
fn digest(tensor: &GgufTensor, transform: Transform, head_dim: usize) -> String {
    assert_eq!(tensor.kind, TensorType::F32);
    // The rows of a bias are numbers.
    let bias = tensor.shape.len() == 1;
    let rows = if bias {
        tensor.columns()
    } else {
        tensor.rows()
    };
    let length = tensor.bytes().len() / rows;
    let mut hash = Sha256::new();
    for row in 0..rows {
        let row = match transform {
            Transform::PairedRows => row_of(row, head_dim),
            Transform::None | Transform::LessOne => row,
        };
        let bytes = &tensor.bytes()[row * length..(row + 1) * length];
        match transform {
            Transform::LessOne => {
                for number in numbers(bytes) {
                    hash.update((number - 1.0).to_le_bytes());
                }
            }
            Transform::None | Transform::PairedRows => hash.update(bytes),
        }
    }
    let hex: Vec<String> = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hex.concat()
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|number| f32::from_le_bytes(number.try_into().unwrap()))
        .collect()
}

#[test]
fn every_tensor_of_every_family_has_the_numbers_of_the_hub() {
    for (name, expected) in FAMILIES {
        let (gguf, architecture) = family(name);
        assert_eq!(architecture.name, expected);
        let head_dim = head_dim(&gguf, architecture);
        let hub: BTreeMap<String, OfTheHub> = json(&format!("{name}.json"));
        let mut left: BTreeSet<&str> = gguf.tensor_names().collect();
        for (hub_name, of_the_hub) in hub {
            let located = architecture.locate(&hub_name).unwrap();
            let tensor = gguf.tensor(&located.name).unwrap();
            assert_eq!(tensor.shape, of_the_hub.shape, "{name}: {hub_name}");
            let digest = digest(&tensor, located.transform, head_dim);
            assert_eq!(digest, of_the_hub.sha256, "{name}: {hub_name}");
            left.remove(located.name.as_str());
        }
        let divisors = [ROPE_DIVISORS, ROPE_DIVISORS_LONG, ROPE_DIVISORS_SHORT];
        left.retain(|name| !divisors.contains(name));
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}

#[test]
fn the_divisors_of_rotation_are_tensors() {
    let (llama, _) = family("llama");
    let divisors = numbers(llama.tensor(ROPE_DIVISORS).unwrap().bytes());
    assert_eq!((divisors.len(), divisors[0], divisors[3]), (4, 1.0, 8.0));
    let (phi, _) = family("phi3");
    let long = numbers(phi.tensor(ROPE_DIVISORS_LONG).unwrap().bytes());
    let short = numbers(phi.tensor(ROPE_DIVISORS_SHORT).unwrap().bytes());
    assert_eq!((long, short), (vec![2.0, 3.0, 5.0], vec![1.0, 1.25, 1.5]));
}

#[test]
fn the_shape_of_every_family_is_under_its_keys() {
    for (name, _) in FAMILIES {
        let (gguf, architecture) = family(name);
        for (key, expected) in [
            (key::CONTEXT, 128),
            (key::HIDDEN, 16),
            (key::LAYERS, 2),
            (key::INTERMEDIATE, 24),
            (key::HEADS, 2),
        ] {
            let found: u32 = gguf.metadata().need(&architecture.key(key)).unwrap();
            assert_eq!(found, expected, "{name}: {key}");
        }
        let listed = architecture.key(key::KV_HEADS);
        let kv_heads = match gguf.metadata().get::<u32>(&listed) {
            Ok(all) => vec![all.unwrap(); 2],
            Err(_) => gguf.metadata().need(&listed).unwrap(),
        };
        assert_eq!(kv_heads, [1, 1], "{name}");
        let epsilon: f32 = gguf
            .metadata()
            .need(&architecture.key(key::EPSILON))
            .unwrap();
        assert!((1e-6..2e-5).contains(&epsilon), "{name}");
    }
}

#[test]
fn what_a_family_has_alone_is_under_its_keys() {
    for (name, key, expected) in [
        ("llama", key::ROPE_BASE, 500.0),
        ("gemma2", key::ATTENTION_SOFT_CAP, 50.0),
        ("gemma2", key::FINAL_SOFT_CAP, 30.0),
        ("gemma3", key::ROPE_BASE, 1e6),
        ("gemma3", key::LOCAL_ROPE_BASE, 1e4),
        ("granite", key::ATTENTION_SCALE, 0.25),
        ("granite", key::EMBEDDING_SCALE, 12.0),
        ("granite", key::RESIDUAL_SCALE, 0.5),
        ("granite", key::LOGIT_SCALE, 8.0),
    ] {
        let (gguf, architecture) = family(name);
        let found: f64 = gguf.metadata().need(&architecture.key(key)).unwrap();
        assert_eq!(found, expected, "{name}: {key}");
    }
    for (name, key, expected) in [
        ("phi3", key::ROPE_DIMENSIONS, Some(6)),
        ("phi3", key::ROPE_ORIGINAL_CONTEXT, Some(32)),
        ("phi3", key::WINDOW, Some(24)),
        ("gemma2", key::WINDOW, Some(8)),
        ("gemma3", key::WINDOW_PATTERN, None),
        ("granite", key::HEAD_DIM, None),
        ("qwen3", key::HEAD_DIM, Some(16)),
    ] {
        let (gguf, architecture) = family(name);
        let found: Option<u32> = gguf.metadata().get(&architecture.key(key)).unwrap();
        assert_eq!(found, expected, "{name}: {key}");
    }
}

#[test]
fn the_tokenizer_of_every_family_is_built() {
    for (name, _) in FAMILIES {
        let (gguf, architecture) = family(name);
        let tokenizer = Tokenizer::from_gguf(&gguf, 64).unwrap();
        let ids = tokenizer.encode("bade rinu", true).unwrap();
        assert_eq!(ids[0], 1, "{name}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), "bade rinu", "{name}");
        let marked = tokenizer.spelling(ids[1]).unwrap().starts_with('▁');
        assert_eq!(marked, !architecture.norms_hold_one, "Gemma has no space");
    }
}

/// A tensor of `types.gguf`, and two of its rows: the bytes of f32 in hex.
#[derive(Deserialize)]
struct OfAType {
    r#type: String,
    shape: Vec<usize>,
    first: String,
    last: String,
}

fn from_hex(text: &str) -> Vec<f32> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    numbers(&(0..text.len()).step_by(2).map(digit).collect::<Vec<u8>>())
}

/// A row as numbers, for the types that take no more than a line; the others are the kernels'.
fn plain(tensor: &GgufTensor, row: usize) -> Option<Vec<f32>> {
    let bytes = tensor.row(row);
    let pairs = bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    match tensor.kind {
        TensorType::F32 => Some(numbers(bytes)),
        TensorType::F16 => Some(
            pairs
                .map(|pair| f16::from_le_bytes(pair).to_f32())
                .collect(),
        ),
        TensorType::Bf16 => Some(
            pairs
                .map(|pair| bf16::from_le_bytes(pair).to_f32())
                .collect(),
        ),
        TensorType::Q8_0 => Some(
            bytes
                .chunks_exact(34)
                .flat_map(|block| {
                    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
                    block[2..]
                        .iter()
                        .map(move |quant| f32::from(*quant as i8) * scale)
                })
                .collect(),
        ),
        _ => None,
    }
}

#[test]
fn a_file_of_every_type_has_each_tensor_in_its_own() {
    let gguf = Gguf::open(&path("types.gguf")).unwrap();
    let expected: BTreeMap<String, OfAType> = json("types.json");
    let mut types = BTreeSet::new();
    for (name, of_a_type) in &expected {
        let tensor = gguf.tensor(name).unwrap();
        assert_eq!(tensor.kind.name(), of_a_type.r#type, "{name}");
        assert_eq!(tensor.shape, of_a_type.shape, "{name}");
        let blocks = tensor.columns() / tensor.kind.block();
        let row = tensor.row(tensor.rows() - 1);
        assert_eq!(row.len(), blocks * tensor.kind.block_bytes(), "{name}");
        assert!(tensor.bytes().ends_with(row), "{name}");
        types.insert(tensor.kind.name());
    }
    assert_eq!(types.len(), 11, "{types:?}");
}

#[test]
fn rows_of_plain_types_have_the_numbers_that_llama_cpp_stored() {
    let gguf = Gguf::open(&path("types.gguf")).unwrap();
    let expected: BTreeMap<String, OfAType> = json("types.json");
    let mut checked = BTreeSet::new();
    for (name, of_a_type) in &expected {
        let tensor = gguf.tensor(name).unwrap();
        let rows = [(0, &of_a_type.first), (tensor.rows() - 1, &of_a_type.last)];
        for (row, numbers) in rows {
            if let Some(found) = plain(&tensor, row) {
                assert_eq!(found, from_hex(numbers), "{name}");
                checked.insert(tensor.kind.name());
            }
        }
    }
    assert_eq!(checked.len(), 4);
}

#[test]
fn rows_that_k_quants_do_not_divide_are_stored_in_types_that_are_served() {
    let stored: BTreeMap<String, String> = json("fallback.json");
    let types: BTreeSet<&str> = stored.values().map(String::as_str).collect();
    assert!(types.contains("Q5_0"), "{types:?}");
    assert!(
        types.iter().all(|name| TensorType::SERVED.contains(name)),
        "{types:?}"
    );
}

#[test]
fn parts_that_llama_cpp_split_have_the_tensors_of_the_whole() {
    let (whole, _) = family("llama");
    for part in 1..=3 {
        let split = Gguf::open(&path(&format!("split-{part:05}-of-00003.gguf"))).unwrap();
        assert!(whole.tensor_names().eq(split.tensor_names()));
        for name in whole.tensor_names() {
            let (one, other) = (whole.tensor(name).unwrap(), split.tensor(name).unwrap());
            assert_eq!(one.shape, other.shape);
            assert_eq!(one.bytes(), other.bytes(), "{name}");
        }
    }
}
