//! A loaded model: what it is, and its forward pass.

use std::num::NonZeroUsize;
use std::path::Path;

use serde_json::{Map, Value};
use weir_kernels::{Cpu, KernelClass};

use crate::batch::{Batch, BatchError, Logits};
use crate::config::decoder_spec;
use crate::decoder::{Decoder, Scratch};
use crate::facts::ModelFacts;
use crate::kv::{KvCache, KvKind, Shape};
use crate::spec::DecoderSpec;
use crate::weights::Weights;
use crate::{LoadError, digest, files, layers};

/// Files beside the weights that answers depend on, in the order of their names.
const DIGESTED: [&str; 5] = [
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// How a model is to be served.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// The longest sequence; none means the longest that the model was made for.
    pub context_tokens: Option<u32>,
    pub threads: NonZeroUsize,
    /// The best that the processor has is [`KernelClass::detect`].
    pub kernel_class: KernelClass,
}

impl Default for LoadOptions {
    /// The model's own context, the best kernels, and as many threads as this process may keep
    /// busy.
    fn default() -> Self {
        Self {
            context_tokens: None,
            threads: weir_kernels::available_threads(),
            kernel_class: KernelClass::detect(),
        }
    }
}

/// Weights ready to be used. One thread owns it.
#[derive(Debug)]
pub struct Model {
    decoder: Decoder,
    cpu: Cpu,
    facts: ModelFacts,
    scratch: Scratch,
}

impl Model {
    /// Reads a folder in the layout of Hugging Face: `config.json`, `model.safetensors` (or its
    /// shards with their index) and `tokenizer.json`. The folder must not change while the model
    /// lives, because weights are used where their file is mapped.
    ///
    /// # Errors
    /// Names the file, key or tensor that is missing or that cannot be served.
    pub fn load(folder: &Path, options: &LoadOptions) -> Result<Self, LoadError> {
        let (model, weights) = Self::read(folder, options, |_| {})?;
        weights.finish()?;
        Ok(model)
    }

    /// The model with a spec that is changed before any weight is read, and the weights that it
    /// then has no place for.
    pub(crate) fn read(
        folder: &Path,
        options: &LoadOptions,
        change: impl FnOnce(&mut DecoderSpec),
    ) -> Result<(Self, Weights), LoadError> {
        if !folder.is_dir() {
            return Err(LoadError::FolderMissing {
                path: folder.to_owned(),
            });
        }
        let config: Map<String, Value> = files::needed_json(folder, "config.json")?;
        let (mut spec, layout) = decoder_spec(&config, options.context_tokens)?;
        change(&mut spec);
        let context_tokens = context(options.context_tokens, spec.context_tokens)?;
        let tokenizer = files::needed(folder, "tokenizer.json")?;
        let mut weights = Weights::open(folder)?;
        let digest = digest_of(folder, &weights)?;
        let decoder = layers::decoder(spec, layout, &mut weights)?;
        let cpu = Cpu::new(options.kernel_class, options.threads);
        let facts = ModelFacts {
            architecture: decoder.spec.architecture.to_owned(),
            parameters: weights.parameters(),
            weight_bytes: weights.bytes(),
            digest,
            tokenizer_digest: digest::of_content(&tokenizer),
            quantization: "None",
            key_value_type: match kv_kind(&decoder) {
                KvKind::F32 => "F32",
                KvKind::Bf16 => "BF16",
            },
            context_tokens,
            vocabulary: decoder.spec.vocabulary as u32,
            kernel_class: cpu.class(),
        };
        let model = Self {
            decoder,
            cpu,
            facts,
            scratch: Scratch::default(),
        };
        Ok((model, weights))
    }

    pub fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    /// Computes the batch: writes each token's key and value into `cache`, and the logits of the
    /// outputs into `logits`.
    ///
    /// # Errors
    /// Where the batch contradicts itself, the model or the cache; then nothing was written.
    pub fn forward(
        &mut self,
        cache: &mut KvCache,
        batch: &Batch<'_>,
        logits: &mut Logits,
    ) -> Result<(), BatchError> {
        if cache.shape() != self.kv_shape() {
            return Err(BatchError::Cache);
        }
        batch.check(&self.facts, cache)?;
        self.decoder
            .forward(&self.cpu, (batch, cache), &mut self.scratch, logits);
        Ok(())
    }

    pub(crate) fn kv_shape(&self) -> Shape {
        Shape::new(&self.decoder.spec, kv_kind(&self.decoder))
    }
}

/// Keys and values are as precise as the weights.
fn kv_kind(decoder: &Decoder) -> KvKind {
    if decoder.is_f32() {
        KvKind::F32
    } else {
        KvKind::Bf16
    }
}

fn context(asked: Option<u32>, most: u32) -> Result<u32, LoadError> {
    match asked {
        Some(asked) if asked > most => Err(LoadError::Context { asked, most }),
        Some(asked) => Ok(asked),
        None => Ok(most),
    }
}

fn digest_of(folder: &Path, weights: &Weights) -> Result<String, LoadError> {
    let mut small = Vec::new();
    for name in DIGESTED {
        if let Some(bytes) = files::read(&folder.join(name))? {
            small.push((name, bytes));
        }
    }
    let small = small.iter().map(|(name, bytes)| (*name, bytes.as_slice()));
    let large = weights.files().map(|(path, bytes)| {
        let name = path.file_name().and_then(|name| name.to_str());
        (name.unwrap_or_default(), bytes)
    });
    Ok(digest::of_files(small.chain(large)))
}
