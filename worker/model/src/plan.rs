//! What loading a model would take, known once its files are open and before a weight is read.

use std::path::Path;
use std::time::Duration;

use weir_kernels::Cpu;

use crate::groups::{BlockLayout, Groups};
use crate::kv::{KeyValueType, KvKind, Shape};
use crate::layers::sizes;
use crate::loading::Asked;
use crate::open::{Opened, open};
use crate::packed_cache::Weights;
use crate::quantization::Quantization;
use crate::report::Clock;
use crate::spec::DecoderSpec;
use crate::tensor::Plain;
use crate::weights::{Made, Source};
use crate::{LoadError, LoadOptions, Model};

/// A model whose files are open and whose tensors all have their place. It can be loaded.
#[derive(Debug)]
pub struct Plan {
    pub(crate) opened: Opened,
    pub(crate) options: LoadOptions,
    pub(crate) quantization: Quantization,
    pub(crate) context_tokens: u32,
    pub(crate) kv_kind: KvKind,
    pub(crate) opening: Duration,
    must_be_whole: bool,
    weight_bytes: u64,
}

impl Plan {
    /// Opens what [`Model::load`] would read.
    ///
    /// # Errors
    /// Names the file, key or tensor that is missing or that cannot be served.
    pub fn of(path: &Path, options: &LoadOptions) -> Result<Self, LoadError> {
        Self::changed(path, options, |_| true)
    }

    /// The same with a spec that is changed. `change` says whether every tensor must have its place
    /// all the same.
    pub(crate) fn changed(
        path: &Path,
        options: &LoadOptions,
        change: impl FnOnce(&mut DecoderSpec) -> bool,
    ) -> Result<Self, LoadError> {
        let clock = Clock::start();
        let mut opened = open(path, options.context_tokens)?;
        let must_be_whole = change(&mut opened.spec);
        let context_tokens = context(options.context_tokens, opened.spec.context_tokens)?;
        let (quantization, made) = fitting(options, &opened, must_be_whole)?;
        let mut opening = Duration::ZERO;
        clock.add_to(&mut opening);
        Ok(Self {
            kv_kind: kv_kind(&made.kept, options.key_value_type),
            opened,
            options: options.clone(),
            quantization,
            context_tokens,
            opening,
            must_be_whole,
            weight_bytes: made.bytes,
        })
    }

    /// Reads the weights.
    ///
    /// # Errors
    /// Names the tensor that cannot be served.
    pub fn load(self) -> Result<Model, LoadError> {
        Model::of(self)
    }

    /// What the weights will take in memory, those that stay mapped among them.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// How many tokens the embedding has rows for.
    pub fn vocabulary(&self) -> u32 {
        self.opened.spec.vocabulary as u32
    }

    /// The longest sequence that was asked for, or that the model was made for.
    pub fn context_tokens(&self) -> u32 {
        self.context_tokens
    }

    /// What key-value memory will consist of, in blocks of so many tokens.
    pub fn block_layout(&self, block_tokens: usize) -> BlockLayout {
        self.shape().layout(block_tokens)
    }

    /// What one block of each group will take, over all of the group's layers.
    pub fn block_bytes(&self, block_tokens: usize) -> Groups<usize> {
        self.shape().block_bytes(block_tokens)
    }

    fn shape(&self) -> Shape {
        Shape::new(&self.opened.spec, self.kv_kind)
    }

    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked {
            folder: self.options.packed_cache.as_deref(),
            weights: Weights {
                file_bytes: self.opened.digested.weight_bytes(),
                quantization: self.quantization,
            },
            must_be_whole: self.must_be_whole,
        }
    }

    pub(crate) fn cpu(&self) -> Cpu {
        Cpu::new(self.options.kernel_class, self.options.threads)
    }
}

/// How the weights are served in the memory that is there, and what they will be.
fn fitting(
    options: &LoadOptions,
    opened: &Opened,
    must_be_whole: bool,
) -> Result<(Quantization, Made), LoadError> {
    let asked = options.quantization;
    let is_gguf = matches!(opened.source, Source::Gguf(_));
    if let (true, Quantization::Q8 | Quantization::Q4) = (is_gguf, asked) {
        let asked = asked.name();
        return Err(LoadError::QuantizedAlready { asked });
    }
    let model = (&opened.spec, opened.layout, &opened.source);
    let sizes = |choice: &Quantization| {
        let made = sizes(model, choice.rounding(), must_be_whole)?;
        Ok((*choice, made))
    };
    // A file that keeps its own types takes the same whatever is chosen.
    let choices = match is_gguf {
        true => &[Quantization::None],
        false => asked.choices(),
    };
    let all = choices.iter().map(sizes);
    let all = all.collect::<Result<Vec<_>, LoadError>>()?;
    let available = options.memory_bytes.unwrap_or(u64::MAX);
    let least = all.iter().map(|(_, made)| made.bytes).min();
    let fits = |(_, made): &(Quantization, Made)| made.bytes <= available;
    all.into_iter().find(fits).ok_or(LoadError::TooLarge {
        needed: least.unwrap_or_default(),
        available,
        how: "give it more memory, or a quantization of fewer bits",
    })
}

/// Unless it was said: keys and values as precise as the weights are.
fn kv_kind(kept: &[Option<Plain>], asked: KeyValueType) -> KvKind {
    match asked {
        KeyValueType::F32 => KvKind::F32,
        KeyValueType::Bf16 => KvKind::Bf16,
        KeyValueType::F16 => KvKind::F16,
        KeyValueType::Fp8 => KvKind::Fp8,
        KeyValueType::Auto if kept.iter().all(|kept| *kept == Some(Plain::F32)) => KvKind::F32,
        KeyValueType::Auto if kept.contains(&Some(Plain::Bf16)) => KvKind::Bf16,
        KeyValueType::Auto => KvKind::F16,
    }
}

fn context(asked: Option<u32>, most: u32) -> Result<u32, LoadError> {
    match asked {
        Some(asked) if asked > most => Err(LoadError::Context { asked, most }),
        Some(asked) => Ok(asked),
        None => Ok(most),
    }
}
