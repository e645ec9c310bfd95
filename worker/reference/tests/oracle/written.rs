//! A GGUF file of drawn numbers in one type, written by candle, with a tokenizer of single bytes.

use std::fs::File;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use crate::seeded;

/// The types that both sides have.
pub const KINDS: &[GgmlDType] = &[
    GgmlDType::F32,
    GgmlDType::F16,
    GgmlDType::BF16,
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

pub const VOCABULARY: u32 = 257;

const HIDDEN: usize = 256;
const INNER: usize = 512;
const KV: usize = 128;
const LAYERS: usize = 2;

/// A llama of two layers whose matrices are all in that type.
pub fn write(path: &Path, kind: GgmlDType) {
    write_as(path, kind, |packed| packed);
}

/// The same numbers in F32.
pub fn write_unpacked(path: &Path, kind: GgmlDType) {
    write_as(path, kind, |packed| {
        let numbers = packed.dequantize(&Device::Cpu).unwrap();
        QTensor::quantize(&numbers, GgmlDType::F32).unwrap()
    });
}

fn write_as(path: &Path, kind: GgmlDType, stored: impl Fn(QTensor) -> QTensor) {
    let metadata = metadata();
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<(String, QTensor)> = shapes()
        .into_iter()
        .map(|(name, shape)| {
            let values = seeded::values(1, &name, &shape, false);
            let tensor = Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).unwrap();
            let kind = if shape.len() == 1 {
                GgmlDType::F32
            } else {
                kind
            };
            (name, stored(QTensor::quantize(&tensor, kind).unwrap()))
        })
        .collect();
    let tensors: Vec<(&str, &QTensor)> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let mut file = File::create(path).unwrap();
    gguf_file::write(&mut file, &metadata, &tensors).unwrap();
}

fn metadata() -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::String(text.to_owned());
    // The letters that stand for bytes: printable ones for themselves, the others from 256 on.
    let is_itself = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !is_itself(byte)).count() as u32;
    let letters = (0..=u8::MAX).filter(is_itself).map(char::from);
    let letters = letters.chain((0..others).filter_map(|at| char::from_u32(256 + at)));
    let tokens = letters.map(String::from).chain(["er".to_owned()]);
    let tokens: Vec<Value> = tokens.map(Value::String).collect();
    let kinds = vec![Value::I32(1); tokens.len()];
    vec![
        ("general.architecture", text("llama")),
        ("llama.context_length", Value::U32(128)),
        ("llama.embedding_length", Value::U32(HIDDEN as u32)),
        ("llama.block_count", Value::U32(LAYERS as u32)),
        ("llama.feed_forward_length", Value::U32(INNER as u32)),
        ("llama.attention.head_count", Value::U32(4)),
        ("llama.attention.head_count_kv", Value::U32(2)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.rope.dimension_count", Value::U32(64)),
        ("llama.rope.freq_base", Value::F32(10_000.0)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("qwen2")),
        ("tokenizer.ggml.tokens", Value::Array(tokens)),
        ("tokenizer.ggml.token_type", Value::Array(kinds)),
        ("tokenizer.ggml.merges", Value::Array(vec![text("e r")])),
        ("tokenizer.ggml.eos_token_id", Value::U32(0)),
    ]
}

fn shapes() -> Vec<(String, Vec<usize>)> {
    let vocabulary = VOCABULARY as usize;
    let mut shapes = vec![
        ("token_embd.weight".to_owned(), vec![vocabulary, HIDDEN]),
        ("output_norm.weight".to_owned(), vec![HIDDEN]),
        ("output.weight".to_owned(), vec![vocabulary, HIDDEN]),
    ];
    for layer in 0..LAYERS {
        let parts: [(&str, &[usize]); 9] = [
            ("attn_norm", &[HIDDEN]),
            ("attn_q", &[HIDDEN, HIDDEN]),
            ("attn_k", &[KV, HIDDEN]),
            ("attn_v", &[KV, HIDDEN]),
            ("attn_output", &[HIDDEN, HIDDEN]),
            ("ffn_norm", &[HIDDEN]),
            ("ffn_gate", &[INNER, HIDDEN]),
            ("ffn_up", &[INNER, HIDDEN]),
            ("ffn_down", &[HIDDEN, INNER]),
        ];
        let named =
            parts.map(|(part, shape)| (format!("blk.{layer}.{part}.weight"), shape.to_vec()));
        shapes.extend(named);
    }
    shapes
}
