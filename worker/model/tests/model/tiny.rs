//! Tiny Llamas with seeded weights, written to a folder as Hugging Face would.

use std::path::Path;

use half::bf16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A model folder that a test may damage before it is loaded.
pub struct Tiny {
    folder: TempDir,
    pub config: Value,
    pub tensors: Vec<Tensor>,
}

pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    values: Vec<f32>,
}

impl Tiny {
    /// Awkward on purpose: grouped queries, a head that is not hidden ÷ heads, widths that are no
    /// multiple of a vector.
    pub fn new() -> Self {
        Self::of(44, 70)
    }

    /// The same with these sizes for the hidden state and for what is between the two halves of a
    /// layer's last step.
    pub fn of(hidden: usize, intermediate: usize) -> Self {
        let config = json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "attention_bias": true,
            "eos_token_id": [2, 3],
            "head_dim": 20,
            "hidden_act": "silu",
            "hidden_size": hidden,
            "intermediate_size": intermediate,
            "max_position_embeddings": 256,
            "mlp_bias": true,
            "num_attention_heads": 6,
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500.0,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
            "tie_word_embeddings": false,
            "vocab_size": 61,
        });
        let mut tiny = Self {
            folder: TempDir::new().unwrap(),
            config,
            tensors: Vec::new(),
        };
        tiny.add("model.embed_tokens.weight", &[61, hidden]);
        tiny.add("model.norm.weight", &[hidden]);
        tiny.add("lm_head.weight", &[61, hidden]);
        for layer in 0..2 {
            for (name, shape) in [
                ("input_layernorm.weight", &[hidden][..]),
                ("post_attention_layernorm.weight", &[hidden]),
                ("self_attn.q_proj.weight", &[120, hidden]),
                ("self_attn.q_proj.bias", &[120]),
                ("self_attn.k_proj.weight", &[40, hidden]),
                ("self_attn.k_proj.bias", &[40]),
                ("self_attn.v_proj.weight", &[40, hidden]),
                ("self_attn.v_proj.bias", &[40]),
                ("self_attn.o_proj.weight", &[hidden, 120]),
                ("self_attn.o_proj.bias", &[hidden]),
                ("mlp.gate_proj.weight", &[intermediate, hidden]),
                ("mlp.gate_proj.bias", &[intermediate]),
                ("mlp.up_proj.weight", &[intermediate, hidden]),
                ("mlp.up_proj.bias", &[intermediate]),
                ("mlp.down_proj.weight", &[hidden, intermediate]),
                ("mlp.down_proj.bias", &[hidden]),
            ] {
                tiny.add(&format!("model.layers.{layer}.{name}"), shape);
            }
        }
        tiny
    }

    /// Adds a tensor whose numbers follow from its place in the file.
    pub fn add(&mut self, name: &str, shape: &[usize]) {
        let mut state = 0x9e37_79b9_u32.wrapping_mul(self.tensors.len() as u32 + 1);
        let values = (0..shape.iter().product())
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                (state as f32 / u32::MAX as f32 - 0.5) * 0.6
            })
            .collect();
        self.tensors.push(Tensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            values,
        });
    }

    /// Makes the head the embedding. It stays in the file.
    pub fn tie(&mut self) {
        self.set("tie_word_embeddings", json!(true));
        let embedding = self.tensors[0].values.clone();
        let head = self
            .tensors
            .iter_mut()
            .find(|it| it.name == "lm_head.weight");
        head.expect("the model has a head").values = embedding;
    }

    /// The config as an object, to change it.
    pub fn set(&mut self, key: &str, value: Value) {
        self.config[key] = value;
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the folder with weights stored as `dtype`, f32 or bf16.
    pub fn write(&self, dtype: Dtype) -> &Path {
        let bytes: Vec<Vec<u8>> = self
            .tensors
            .iter()
            .map(|tensor| {
                let values = tensor.values.iter();
                match dtype {
                    Dtype::BF16 => values
                        .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
                        .collect(),
                    Dtype::F16 => values
                        .flat_map(|value| half::f16::from_f32(*value).to_le_bytes())
                        .collect(),
                    Dtype::F8_E4M3 => values.map(|_| 0x38).collect(),
                    _ => values.flat_map(|value| value.to_le_bytes()).collect(),
                }
            })
            .collect();
        let views = self.tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
            let view = TensorView::new(dtype, tensor.shape.clone(), bytes).unwrap();
            (tensor.name.as_str(), view)
        });
        safetensors::serialize_to_file(views, None, &self.path().join("model.safetensors"))
            .unwrap();
        self.write_file("config.json", &self.config.to_string());
        self.write_file("tokenizer.json", &word_level(61).to_string());
        self.path()
    }

    pub fn write_file(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }
}

/// A tokenizer of `count` tokens: some specials, and words `w4`, `w5`, ...
pub fn word_level(count: usize) -> Value {
    let specials = ["<unk>", "<s>", "</s>", "<end>"];
    let vocabulary: serde_json::Map<String, Value> = (0..count)
        .map(|id| match specials.get(id) {
            Some(special) => ((*special).to_owned(), json!(id)),
            None => (format!("w{id}"), json!(id)),
        })
        .collect();
    let added: Vec<Value> = specials
        .iter()
        .enumerate()
        .map(|(id, special)| {
            json!({
                "id": id, "content": special, "special": true, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false,
            })
        })
        .collect();
    json!({
        "version": "1.0",
        "truncation": { "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0 },
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": { "type": "WhitespaceSplit" },
        "post_processor": null,
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>" },
    })
}
