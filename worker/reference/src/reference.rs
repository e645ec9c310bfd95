//! A model that candle computes: one sequence, forgotten on demand.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::ReferenceError;
use crate::config::Config;
use crate::families::Family;
use crate::gguf::GgufFile;
use crate::lacking::lacking;
use crate::sequence::Sequence;
use crate::tensors::Tensors;

/// How a reference is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The longest sequence.
    pub tokens: usize,
    /// Opens it whatever it is known to lack, to show that it does. May panic in candle where the
    /// shapes of tensors are not what its model takes for granted.
    pub in_spite_of_gaps: bool,
}

impl Options {
    /// For a sequence of so many tokens.
    pub fn new(tokens: usize) -> Self {
        Self {
            tokens,
            in_spite_of_gaps: false,
        }
    }
}

/// A model that candle computes, and how far its sequence has come.
pub struct Reference {
    sequence: Box<dyn Sequence>,
    position: usize,
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Reference")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Reference {
    /// Opens a folder as Hugging Face lays it out, to be computed in f32, or a GGUF file, which is
    /// computed as candle does it: with activations rounded where weights are packed.
    ///
    /// # Errors
    /// Names what candle does not have, or does otherwise; or the file that is not as it should be.
    pub fn open(path: &Path, options: &Options) -> Result<Self, ReferenceError> {
        match weir_model::gguf_at(path).map_err(ReferenceError::Find)? {
            Some(file) => Self::of_gguf(&file, options),
            None => Self::of_folder(path, options),
        }
    }

    fn of_folder(folder: &Path, options: &Options) -> Result<Self, ReferenceError> {
        let config = Config::read(folder)?;
        let family = Family::of(&config.architecture)?;
        let refuse = |lacks: Vec<String>| match lacks.is_empty() || options.in_spite_of_gaps {
            true => Ok(()),
            false => Err(ReferenceError::Lacks {
                family: family.name(),
                lacks,
            }),
        };
        refuse(lacking(family, &config, options.tokens))?;
        let tensors = Tensors::read(folder, config.is_wrapped, family.is_tied(&config))?;
        let weights = VarBuilder::from_backend(Box::new(tensors.clone()), DType::F32, Device::Cpu);
        let sequence = family.build(&config, weights, options.tokens);
        let sequence = sequence.map_err(|source| ReferenceError::Build {
            family: family.name(),
            source,
        })?;
        refuse(left(&tensors.left()))?;
        Ok(Self {
            sequence,
            position: 0,
        })
    }

    fn of_gguf(file: &Path, options: &Options) -> Result<Self, ReferenceError> {
        let file = GgufFile::open(file)?;
        let family = file.family();
        let lacks = file.lacking(options.tokens);
        if !lacks.is_empty() && !options.in_spite_of_gaps {
            return Err(ReferenceError::Lacks { family, lacks });
        }
        let sequence = file.build(options.tokens);
        Ok(Self {
            sequence: sequence.map_err(|source| ReferenceError::Build { family, source })?,
            position: 0,
        })
    }

    /// The logits after the last of these tokens, which are read at once and follow those before.
    ///
    /// # Errors
    /// Says where candle failed.
    pub fn read(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ReferenceError> {
        let position = self.position;
        let logits = self.forward(tokens);
        let logits = logits.map_err(|source| ReferenceError::Forward { position, source })?;
        self.position += tokens.len();
        Ok(logits)
    }

    fn forward(&mut self, tokens: &[u32]) -> candle_core::Result<Vec<f32>> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        let logits = self.sequence.forward(&input, self.position)?;
        logits.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
    }

    /// The logits after each of these tokens, read one by one.
    ///
    /// # Errors
    /// Says where candle failed.
    pub fn follow(&mut self, tokens: &[u32]) -> Result<Vec<Vec<f32>>, ReferenceError> {
        tokens.iter().map(|token| self.read(&[*token])).collect()
    }

    /// The likeliest tokens after these, one by one.
    ///
    /// # Errors
    /// Says where candle failed.
    pub fn greedy(&mut self, prompt: &[u32], count: usize) -> Result<Vec<u32>, ReferenceError> {
        let mut logits = self.follow(prompt)?.pop().unwrap_or_default();
        let mut written = Vec::with_capacity(count);
        while written.len() < count {
            let best = crate::apart::best(&logits);
            written.push(best);
            logits = self.read(&[best])?;
        }
        Ok(written)
    }

    /// Forgets the sequence.
    ///
    /// # Errors
    /// Where candle cannot.
    pub fn clear(&mut self) -> Result<(), ReferenceError> {
        let position = std::mem::take(&mut self.position);
        let cleared = self.sequence.clear();
        cleared.map_err(|source| ReferenceError::Forward { position, source })
    }
}

fn left(names: &[String]) -> Vec<String> {
    let first = names.first().into_iter();
    first
        .map(|first| format!("does not take {first} and {} others", names.len() - 1))
        .collect()
}
