//! A loaded model: what it is, and its forward pass.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use weir_kernels::packed::Format;
use weir_kernels::{Cpu, KernelClass};

use crate::adapter::AdapterBase;
use crate::batch::{Batch, BatchError, Logits};
use crate::decoder::{Decoder, Scratch};
use crate::facts::ModelFacts;
use crate::groups::BlockLayout;
use crate::kv::{KeyValueType, KvCache, Shape};
use crate::packed_cache::Upkeep;
use crate::plan::Plan;
use crate::quantization::Quantization;
use crate::report::{Clock, LoadReport};
use crate::rope::{Rope, RopeScaling};
use crate::spec::DecoderSpec;
use crate::weight::Weight;
use crate::weights::Source;
use crate::{LoadError, digest, loading};

/// How a model is to be served.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The longest sequence; none means the longest that the model was made for.
    pub context_tokens: Option<u32>,
    pub quantization: Quantization,
    pub key_value_type: KeyValueType,
    /// What weights may take; none where that is not known.
    pub memory_bytes: Option<u64>,
    pub threads: NonZeroUsize,
    /// The best that the processor has is [`KernelClass::detect`].
    pub kernel_class: KernelClass,
    /// A folder where packed weights are kept, so that the next start maps them; see
    /// [`Model::take_upkeep`]. None keeps nothing.
    pub packed_cache: Option<PathBuf>,
}

impl Default for LoadOptions {
    /// The model's own context, the best kernels, and as many threads as this process may keep
    /// busy.
    fn default() -> Self {
        Self {
            context_tokens: None,
            quantization: Quantization::default(),
            key_value_type: KeyValueType::default(),
            memory_bytes: None,
            threads: weir_kernels::available_threads(),
            kernel_class: KernelClass::detect(),
            packed_cache: None,
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
    kv_shape: Shape,
    adapter_base: AdapterBase,
    report: LoadReport,
    upkeep: Option<Upkeep>,
}

impl Model {
    /// Reads a folder in the layout of Hugging Face (`config.json`, `model.safetensors` or its
    /// shards with their index, and `tokenizer.json`) or a GGUF file. Neither must change while
    /// the model lives, because weights are used where their file is mapped.
    ///
    /// # Errors
    /// Names the file, key or tensor that is missing or that cannot be served.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self, LoadError> {
        Self::read(path, options, |_| true)
    }

    /// The model with a spec that is changed before any weight is read. `change` says whether
    /// every tensor must have its place all the same.
    pub(crate) fn read(
        path: &Path,
        options: &LoadOptions,
        change: impl FnOnce(&mut DecoderSpec) -> bool,
    ) -> Result<Self, LoadError> {
        Plan::changed(path, options, change)?.load()
    }

    pub(crate) fn of(plan: Plan) -> Result<Self, LoadError> {
        let clock = Clock::start();
        let cpu = plan.cpu();
        let asked = plan.asked();
        let opened = &plan.opened;
        let is_gguf = matches!(opened.source, Source::Gguf(_));
        let weights = (opened.spec.clone(), opened.layout, opened.source.clone());
        let loaded = loading::load(weights, &opened.digested, asked, &cpu)?;
        debug_assert_eq!(loaded.made.bytes, plan.weight_bytes(), "what was planned");
        let (decoder, mut report) = (loaded.decoder, loaded.made.report);
        let served = Served {
            ropes: &opened.spec.ropes,
            quantization: plan.quantization,
            key_value_type: plan.options.key_value_type,
        };
        let facts = ModelFacts {
            architecture: decoder.spec.architecture.to_owned(),
            parameters: loaded.made.parameters,
            weight_bytes: loaded.made.bytes,
            mapped_bytes: decoder.matrices().map(Weight::mapped_bytes).sum(),
            digest: served.digest(loaded.digest),
            tokenizer_digest: opened.tokenizer_digest.clone(),
            quantization: match is_gguf {
                true => mostly(&decoder),
                false => plan.quantization.name(),
            },
            key_value_type: plan.kv_kind.name(),
            context_tokens: plan.context_tokens,
            vocabulary: decoder.spec.vocabulary as u32,
            hidden: decoder.spec.hidden as u32,
            kernel_class: cpu.class(),
        };
        report.phases.open = plan.opening;
        report.phases.all = plan.opening;
        clock.add_to(&mut report.phases.all);
        Ok(Self {
            kv_shape: Shape::new(&decoder.spec, plan.kv_kind),
            adapter_base: AdapterBase::new(&facts.digest, &decoder.spec, opened.layout),
            decoder,
            cpu,
            facts,
            scratch: Scratch::default(),
            report,
            upkeep: loaded.upkeep,
        })
    }

    /// How loading went.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// What is left to do for the next start, once, where a folder for that was named. Whoever
    /// serves the model does it when nobody waits for it.
    pub fn take_upkeep(&mut self) -> Option<Upkeep> {
        self.upkeep.take()
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
        if cache.shape() != &self.kv_shape {
            return Err(BatchError::Cache);
        }
        batch.check(&self.facts, cache)?;
        self.decoder
            .forward(&self.cpu, (batch, cache), &mut self.scratch, logits);
        Ok(())
    }

    /// The logits of tokens of the last pass, by their indices in its batch: in pieces, where those of
    /// all at once would take more memory than anybody has for them.
    ///
    /// # Panics
    /// Where the last batch had no such token.
    pub fn logits(&mut self, outputs: &[u32], logits: &mut Logits) {
        self.decoder
            .head(&self.cpu, outputs, &mut self.scratch, logits);
    }

    /// The states of tokens of the last pass, by their indices in its batch: what the head makes logits
    /// of, one row each.
    ///
    /// # Panics
    /// Where the last batch had no such token.
    pub fn states(&mut self, outputs: &[u32], states: &mut Vec<f32>) {
        self.decoder
            .states(&self.cpu, outputs, &mut self.scratch, states);
    }

    /// What its adapters are read for.
    pub fn adapter_base(&self) -> AdapterBase {
        self.adapter_base.clone()
    }

    /// What its key-value memory consists of, in blocks of so many tokens.
    pub fn block_layout(&self, block_tokens: usize) -> BlockLayout {
        self.kv_shape.layout(block_tokens)
    }

    pub(crate) fn kv_shape(&self) -> &Shape {
        &self.kv_shape
    }
}

/// How files are served, where that is not as they say.
struct Served<'a> {
    ropes: &'a [Rope],
    quantization: Quantization,
    key_value_type: KeyValueType,
}

impl Served<'_> {
    /// The files' digest, and what was made of them where that is not what they say: an answer that
    /// was begun on the one cannot be taken up on the other.
    fn digest(&self, files: String) -> String {
        let is_rounded = self.quantization.rounding() != Quantization::None.rounding();
        let files = self.turned(files);
        if !is_rounded && self.key_value_type == KeyValueType::Auto {
            return files;
        }
        digest::of_files([
            ("files", files.as_bytes()),
            ("quantization", self.quantization.name().as_bytes()),
            ("key value type", self.key_value_type.name().as_bytes()),
        ])
    }

    /// With the factors that the length of the context chose among those of the files.
    fn turned(&self, files: String) -> String {
        let numbers = self.ropes.iter().filter_map(|rope| match &rope.scaling {
            RopeScaling::Long { factors, magnitude } => Some(factors.iter().chain([magnitude])),
            _ => None,
        });
        let chosen: Vec<u8> = numbers.flatten().flat_map(|n| n.to_le_bytes()).collect();
        match chosen.is_empty() {
            true => files,
            false => digest::of_files([("files", files.as_bytes()), ("rope", &chosen)]),
        }
    }
}

/// The format that most of the numbers are in, of those that a file mixes.
fn mostly(decoder: &Decoder) -> &'static str {
    let mut numbers: Vec<(Option<Format>, usize)> = Vec::new();
    for weight in decoder.matrices() {
        let (format, count) = (weight.format(), weight.outputs() * weight.columns());
        match numbers.iter_mut().find(|(known, _)| *known == format) {
            Some((_, sum)) => *sum += count,
            None => numbers.push((format, count)),
        }
    }
    let most = numbers.into_iter().max_by_key(|(_, sum)| *sum);
    most.and_then(|(format, _)| format)
        .map_or("None", Format::name)
}
