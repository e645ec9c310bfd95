//! One committed reference, and our model of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::bf16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use tempfile::TempDir;

use super::paged::{Paged, Sequence};
use super::seeded;
use crate::spec::DecoderSpec;
use crate::tensor::Plain;
use crate::{Adapter, KernelClass, KeyValueType, LoadOptions, Model};

/// Tokens that are given at once: less than a window, so that windows slide over the prompt too.
const CHUNK: usize = 7;

/// `reference.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reference {
    seed: u64,
    context: Option<u32>,
    pub(super) prompt: Vec<u32>,
    pub(super) greedy: Vec<u32>,
    pub(super) bf16_error: f32,
    tensors: BTreeMap<String, Vec<usize>>,
    /// Under which names tensors were drawn that are stored under others.
    #[serde(default)]
    drawn_as: BTreeMap<String, String>,
}

pub(super) struct Fixture {
    pub(super) name: String,
    folder: PathBuf,
    pub(super) reference: Reference,
}

impl Fixture {
    pub(super) fn all() -> Vec<Self> {
        let mut names: Vec<String> = std::fs::read_dir(families())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
            .collect();
        names.sort_unstable();
        assert!(names.len() >= 20, "fixtures are missing: {names:?}");
        names.iter().map(|name| Self::named(name)).collect()
    }

    pub(super) fn named(name: &str) -> Self {
        let folder = families().join(name);
        let text = std::fs::read(folder.join("reference.json")).unwrap();
        Self {
            name: name.to_owned(),
            folder,
            reference: serde_json::from_slice(&text).unwrap(),
        }
    }

    /// The model with weights stored in that type, and with a changed spec.
    pub(super) fn model(&self, stored: Plain, change: impl FnOnce(&mut DecoderSpec)) -> Model {
        let options = LoadOptions {
            context_tokens: self.reference.context,
            ..LoadOptions::default()
        };
        self.model_for(stored, &options, change)
    }

    /// As it is, on that class.
    pub(super) fn model_on(&self, kernel_class: KernelClass, stored: Plain) -> Model {
        let options = LoadOptions {
            context_tokens: self.reference.context,
            kernel_class,
            ..LoadOptions::default()
        };
        self.model_for(stored, &options, |_| {})
    }

    /// In f32, with keys and values stored otherwise.
    pub(super) fn model_keeping(&self, kind: KeyValueType, kernel_class: KernelClass) -> Model {
        let options = LoadOptions {
            context_tokens: self.reference.context,
            key_value_type: kind,
            kernel_class,
            ..LoadOptions::default()
        };
        self.model_for(Plain::F32, &options, |_| {})
    }

    pub(super) fn model_for(
        &self,
        stored: Plain,
        options: &LoadOptions,
        change: impl FnOnce(&mut DecoderSpec),
    ) -> Model {
        let folder = TempDir::new().unwrap();
        std::fs::copy(
            self.folder.join("config.json"),
            folder.path().join("config.json"),
        )
        .unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
        self.write_weights(stored, &folder.path().join("model.safetensors"));
        Model::read(folder.path(), options, |spec| {
            let before = spec.clone();
            change(spec);
            *spec == before
        })
        .unwrap()
    }

    fn write_weights(&self, stored: Plain, path: &Path) {
        let Reference {
            seed,
            tensors,
            drawn_as,
            ..
        } = &self.reference;
        let plus_one = self.name.starts_with("gemma");
        let bytes: Vec<(&str, &[usize], Vec<u8>)> = tensors
            .iter()
            .map(|(name, shape)| {
                let drawn = drawn_as.get(name).unwrap_or(name);
                let values = seeded::values(*seed, drawn, shape, plus_one).into_iter();
                let bytes = match stored {
                    Plain::F32 => values.flat_map(f32::to_le_bytes).collect(),
                    Plain::Bf16 | Plain::F16 => values
                        .flat_map(|value| bf16::from_f32(value).to_le_bytes())
                        .collect(),
                };
                (name.as_str(), shape.as_slice(), bytes)
            })
            .collect();
        let dtype = match stored {
            Plain::F32 => Dtype::F32,
            Plain::Bf16 | Plain::F16 => Dtype::BF16,
        };
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (
                *name,
                TensorView::new(dtype, shape.to_vec(), bytes).unwrap(),
            )
        });
        safetensors::serialize_to_file(views, None, path).unwrap();
    }

    /// How far the logits after each token of the prompt are from the reference.
    pub(super) fn distance(&self, model: &mut Model) -> f32 {
        distance(&self.given(model, None), &logits(&self.folder, "f32"))
    }

    /// The same by the root of the mean square.
    pub(super) fn usual_distance(&self, model: &mut Model) -> f32 {
        let (ours, theirs) = (self.given(model, None), logits(&self.folder, "f32"));
        let pairs = ours.iter().flatten().zip(theirs.iter().flatten());
        let squares = pairs.map(|(ours, theirs)| (ours - theirs).powi(2));
        let count = ours.iter().map(Vec::len).sum::<usize>() as f32;
        (squares.sum::<f32>() / count).sqrt()
    }

    /// The logits after each token of the prompt.
    pub(super) fn given(&self, model: &mut Model, adapter: Option<&Arc<Adapter>>) -> Vec<Vec<f32>> {
        Run::new(model, &self.reference, adapter).extend(model, &self.reference.prompt)
    }

    /// The same after the last tokens, of weights that were rounded to bf16.
    pub(super) fn distance_bf16(&self, model: &mut Model) -> f32 {
        let ours = self.given(model, None);
        let theirs = logits(&self.folder, "bf16");
        distance(&ours[ours.len() - theirs.len()..], &theirs)
    }

    /// The likeliest tokens after the prompt, one by one.
    pub(super) fn greedy(&self, model: &mut Model, adapter: Option<&Arc<Adapter>>) -> Vec<u32> {
        let mut run = Run::new(model, &self.reference, adapter);
        let mut last = run.extend(model, &self.reference.prompt);
        let mut path = Vec::new();
        for _ in 0..self.reference.greedy.len() {
            let logits = last.last().unwrap().iter().enumerate();
            let best = logits.max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0 as u32;
            path.push(best);
            last = run.extend(model, &[best]);
        }
        path
    }
}

/// The logits of that name in a reference.
pub(super) fn logits(folder: &Path, name: &str) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(folder.join("reference.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let numbers: Vec<f32> = tensor
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    numbers
        .chunks_exact(tensor.shape()[1])
        .map(<[f32]>::to_vec)
        .collect()
}

fn families() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families")
}

/// One sequence and its cache.
struct Run {
    paged: Paged,
    sequence: Sequence,
}

impl Run {
    fn new(model: &Model, reference: &Reference, adapter: Option<&Arc<Adapter>>) -> Self {
        let tokens = reference.prompt.len() + reference.greedy.len();
        Self {
            paged: Paged::new(model, 1, tokens, CHUNK),
            sequence: Sequence::with(adapter),
        }
    }

    /// The logits after each of the next tokens.
    fn extend(&mut self, model: &mut Model, tokens: &[u32]) -> Vec<Vec<f32>> {
        let chunks = tokens.chunks(CHUNK);
        let logits = chunks.map(|chunk| {
            let next = &mut [(&mut self.sequence, chunk)];
            self.paged.step(model, next)
        });
        logits.flatten().collect()
    }
}

pub(super) fn distance(ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let ours = ours.iter().flatten();
    let pairs = ours.zip(theirs.iter().flatten());
    // A NaN is as far as can be.
    let apart = pairs.map(|(ours, theirs)| (ours - theirs).abs());
    apart.fold(0.0, |most, apart| if apart <= most { most } else { apart })
}
