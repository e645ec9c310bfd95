//! The tiny models of `worker/model/tests/fixtures/families`, with another config if wanted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir_reference::{Apart, Options, Ours, Reference, ReferenceError, load};

use crate::seeded;

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures")
}

/// A model in a folder, and the tokens to run it along.
pub struct Fixture {
    folder: TempDir,
    pub tokens: Vec<u32>,
    context: Option<u32>,
}

impl Fixture {
    /// The model of that name, with a merge patch applied to its config. Biases and a head that the
    /// patched config has no place for are left out.
    pub fn new(name: &str, patch: &Value) -> Self {
        let kept = fixtures().join("families").join(name);
        let read = |file: &str| -> Value {
            serde_json::from_slice(&std::fs::read(kept.join(file)).unwrap()).unwrap()
        };
        let (mut config, reference) = (read("config.json"), read("reference.json"));
        merge(&mut config, patch);
        let folder = TempDir::new().unwrap();
        let write = |file: &str, text: &str| {
            std::fs::write(folder.path().join(file), text).unwrap();
        };
        write("config.json", &config.to_string());
        write("tokenizer.json", "{}");
        let is_left_out = |tensor: &str| {
            let says = |key: &str, value: bool| patch.get(key) == Some(&Value::Bool(value));
            (tensor.ends_with(".bias") && says("attention_bias", false))
                || (tensor == "lm_head.weight" && says("tie_word_embeddings", true))
        };
        let path = folder.path().join("model.safetensors");
        write_weights(name, &reference, is_left_out, &path);
        let tokens = reference["prompt"].as_array().unwrap().iter();
        Self {
            tokens: tokens.map(|id| id.as_u64().unwrap() as u32).collect(),
            context: reference["context"].as_u64().map(|context| context as u32),
            folder,
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Candle's model of it, and how far ours is from that.
    pub fn apart(&self, in_spite_of_gaps: bool) -> Result<Apart, ReferenceError> {
        let options = Options {
            in_spite_of_gaps,
            ..Options::new(self.tokens.len())
        };
        let mut reference = Reference::open(self.path(), &options)?;
        let theirs = reference.follow(&self.tokens)?;
        Ok(Apart::of(&self.ours(), &theirs))
    }

    pub fn ours(&self) -> Vec<Vec<f32>> {
        let model = load(self.path(), self.context).unwrap();
        let mut ours = Ours::new(model, self.tokens.len()).unwrap();
        ours.read(&self.tokens).unwrap()
    }
}

fn write_weights(name: &str, reference: &Value, is_left_out: impl Fn(&str) -> bool, path: &Path) {
    let seed = reference["seed"].as_u64().unwrap();
    let shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_value(reference["tensors"].clone()).unwrap();
    let tensors: Vec<(&str, &[usize], Vec<u8>)> = shapes
        .iter()
        .filter(|(tensor, _)| !is_left_out(tensor))
        .map(|(tensor, shape)| {
            let drawn = reference["drawnAs"][tensor].as_str().unwrap_or(tensor);
            let values = seeded::values(seed, drawn, shape, name.starts_with("gemma"));
            let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
            (tensor.as_str(), shape.as_slice(), bytes)
        })
        .collect();
    let views = tensors.iter().map(|(tensor, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
        (*tensor, view)
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// As RFC 7396 has it: a null takes a key away.
fn merge(into: &mut Value, patch: &Value) {
    let (Some(into), Some(patch)) = (into.as_object_mut(), patch.as_object()) else {
        *into = patch.clone();
        return;
    };
    for (key, value) in patch {
        match value {
            Value::Null => {
                into.shift_remove(key);
            }
            value => merge(into.entry(key).or_insert(json!({})), value),
        }
    }
}
