//! A model of Gemma 3's kind, small and drawn at random: three layers of four meet a window.

use std::{num::NonZeroUsize, path::Path, sync::OnceLock};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use weir_model::{KernelClass, KeyValueType, LoadOptions, Model};

use super::forms;
use crate::random::uniform;

pub const HIDDEN: usize = 48;
pub const HEADS: usize = 4;
const KV_HEADS: usize = 2;
pub const HEAD: usize = 16;
pub const BETWEEN: usize = 80;
pub const VOCABULARY: usize = 64;
pub const LAYERS: usize = 4;

pub fn load(
    (kernel_class, key_value_type): (KernelClass, KeyValueType),
    threads: NonZeroUsize,
) -> Model {
    let options = LoadOptions {
        kernel_class,
        key_value_type,
        threads,
        ..LoadOptions::default()
    };
    Model::load(folder(), &options).unwrap()
}

/// Where its files are.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        folder
    });
    folder.path()
}

fn write(folder: &Path) {
    let config = json!({
        "architectures": ["Gemma3ForCausalLM"],
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": BETWEEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "head_dim": HEAD,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 20,
        "sliding_window": 20,
        "sliding_window_pattern": 3,
        "rope_theta": 10000.0,
        "rope_local_base_freq": 100.0,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), forms::tokenizer_json()).unwrap();
    std::fs::write(folder.join("model.safetensors"), weights()).unwrap();
}

fn weights() -> Vec<u8> {
    let mut tensors = vec![
        (
            "model.embed_tokens.weight".to_owned(),
            vec![VOCABULARY, HIDDEN],
        ),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        let of_layer: [(&str, &[usize]); 13] = [
            ("input_layernorm", &[HIDDEN]),
            ("post_attention_layernorm", &[HIDDEN]),
            ("pre_feedforward_layernorm", &[HIDDEN]),
            ("post_feedforward_layernorm", &[HIDDEN]),
            ("self_attn.q_norm", &[HEAD]),
            ("self_attn.k_norm", &[HEAD]),
            ("self_attn.q_proj", &[HEADS * HEAD, HIDDEN]),
            ("self_attn.k_proj", &[KV_HEADS * HEAD, HIDDEN]),
            ("self_attn.v_proj", &[KV_HEADS * HEAD, HIDDEN]),
            ("self_attn.o_proj", &[HIDDEN, HEADS * HEAD]),
            ("mlp.gate_proj", &[BETWEEN, HIDDEN]),
            ("mlp.up_proj", &[BETWEEN, HIDDEN]),
            ("mlp.down_proj", &[HIDDEN, BETWEEN]),
        ];
        for (name, shape) in of_layer {
            let name = format!("model.layers.{layer}.{name}.weight");
            tensors.push((name, shape.to_vec()));
        }
    }
    file(tensors, 0)
}

/// A file of tensors with drawn numbers, of which `first` is the first to be drawn.
pub fn file(tensors: Vec<(String, Vec<usize>)>, first: u32) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (index, (name, shape)) in (first..).zip(tensors) {
        let start = data.len();
        data.extend(values(index, &shape));
        let info = json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] });
        header.insert(name, info);
    }
    let mut header = Value::Object(header).to_string();
    // So that numbers begin at a multiple of their size.
    header.extend(std::iter::repeat_n(
        ' ',
        header.len().next_multiple_of(8) - header.len(),
    ));
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &data].concat()
}

/// Large enough that what is met matters.
fn values(tensor: u32, shape: &[usize]) -> impl Iterator<Item = u8> {
    let scale = match shape {
        [_, columns] => 3.0 / (*columns as f64).sqrt(),
        _ => 0.25,
    };
    let count = shape.iter().product::<usize>() as u64;
    (0..count).flat_map(move |at| {
        let value = (2.0 * uniform(3, tensor, at) - 1.0) * scale;
        (value as f32).to_le_bytes()
    })
}
