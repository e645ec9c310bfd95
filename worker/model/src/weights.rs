//! The tensors of a model, from whichever kind of file, each asked for by the hub's name.
//!
//! What nobody asked for is refused at the end.

use std::sync::Arc;

use weir_kernels::Cpu;
use weir_kernels::packed::Format;

use crate::LoadError;
use crate::found::Found;
use crate::gguf::tensors::GgufTensors;
use crate::hub::HubTensors;
use crate::mapped::Mapped;
use crate::weight::Weight;

/// Tensors that have not been taken yet.
#[derive(Debug)]
pub(crate) enum Source {
    Hub(HubTensors),
    Gguf(GgufTensors),
}

/// What weights are rounded to when they are read in full precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rounding {
    pub(crate) projections: Option<Format>,
    /// Of the embedding and of the head, which suffer most.
    pub(crate) vocabulary: Option<Format>,
}

/// A source, and what has been made of it.
pub(crate) struct Weights<'a> {
    source: Source,
    cpu: &'a Cpu,
    rounding: Rounding,
    parameters: u64,
    bytes: u64,
}

impl<'a> Weights<'a> {
    pub(crate) fn new(source: Source, cpu: &'a Cpu, rounding: Rounding) -> Self {
        Self {
            source,
            cpu,
            rounding,
            parameters: 0,
            bytes: 0,
        }
    }

    /// How many numbers were taken.
    pub(crate) fn parameters(&self) -> u64 {
        self.parameters
    }

    /// What they take in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Found, LoadError> {
        let found = match &mut self.source {
            Source::Hub(source) => source.take(name, shape)?,
            Source::Gguf(source) => source.take(name, shape)?,
        };
        self.parameters += shape.iter().product::<usize>() as u64;
        Ok(found)
    }

    /// A vector of so many numbers, in full precision.
    pub(crate) fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>, LoadError> {
        let numbers = self.take(name, &[length])?.to_vec()?;
        self.bytes += size_of_val(&numbers[..]) as u64;
        Ok(numbers)
    }

    /// The embedding or the head.
    pub(crate) fn vocabulary(
        &mut self,
        name: &str,
        shape: [usize; 2],
    ) -> Result<Weight, LoadError> {
        let found = self.take(name, &shape)?;
        self.made(found, self.rounding.vocabulary)
    }

    /// What was found, as a layer uses it.
    pub(crate) fn projection(&mut self, found: Found) -> Result<Weight, LoadError> {
        self.made(found, self.rounding.projections)
    }

    fn made(&mut self, found: Found, rounding: Option<Format>) -> Result<Weight, LoadError> {
        let weight = found.into_weight(self.cpu, rounding)?;
        self.bytes += weight.bytes() as u64;
        Ok(weight)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        match &self.source {
            Source::Hub(source) => source.has(name),
            Source::Gguf(source) => source.has(name),
        }
    }

    /// Skips a tensor that changes nothing, where it is there.
    pub(crate) fn skip(&mut self, name: &str) {
        match &mut self.source {
            Source::Hub(source) => source.skip(|found| found == name),
            Source::Gguf(source) => source.skip(name),
        }
    }

    /// Skips tensors that belong to what is not served.
    pub(crate) fn skip_all(&mut self, is_skipped: impl Fn(&str) -> bool) {
        if let Source::Hub(source) = &mut self.source {
            source.skip(is_skipped);
        }
    }

    /// # Errors
    /// Names a tensor that was neither taken nor skipped.
    pub(crate) fn finish(self) -> Result<(), LoadError> {
        let left = match &self.source {
            Source::Hub(source) => source.first_left(),
            Source::Gguf(source) => source.first_left(),
        };
        match left {
            Some(tensor) => Err(LoadError::TensorUnexpected {
                tensor: tensor.to_owned(),
            }),
            None => Ok(()),
        }
    }
}

impl Source {
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Hub(source) => source.count(),
            Self::Gguf(source) => source.gguf().tensor_names().count(),
        }
    }

    /// What the tensors take in their files.
    pub(crate) fn weight_bytes(&self) -> u64 {
        match self {
            Self::Hub(source) => source.weight_bytes(),
            Self::Gguf(source) => source.gguf().weight_bytes(),
        }
    }

    /// The files that the tensors lie in, in order.
    pub(crate) fn files(&self) -> &[Arc<Mapped>] {
        match self {
            Self::Hub(source) => source.files(),
            Self::Gguf(source) => source.gguf().files(),
        }
    }
}
