//! The tensors of a model, from whichever kind of file, each asked for by the hub's name.
//!
//! What nobody asked for is refused at the end.

use std::sync::Arc;

use weir_kernels::Cpu;
use weir_kernels::packed::Format;

use crate::LoadError;
use crate::found::{Found, Stored};
use crate::gguf::tensors::GgufTensors;
use crate::hub::HubTensors;
use crate::mapped::Mapped;
use crate::packed_cache::PackedFile;
use crate::report::{Clock, LoadReport};
use crate::tensor::Plain;
use crate::weight::{PackedWeight, Weight};

/// Tensors that have not been taken yet.
#[derive(Clone, Debug)]
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
    making: Making<'a>,
    rounding: Rounding,
    /// Whether the files have to hold what the spec has and nothing else.
    must_be_whole: bool,
    made: Made,
}

/// What tensors are taken for.
enum Making<'a> {
    /// To say what they would take. None of their numbers is read, so that vectors are zeros and
    /// matrices have no rows.
    Sizes,
    /// To be used.
    Weights {
        cpu: &'a Cpu,
        /// What an earlier start packed.
        earlier: Option<PackedFile>,
    },
}

/// What was made of a source.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// How many numbers were taken.
    pub(crate) parameters: u64,
    /// What they take in memory.
    pub(crate) bytes: u64,
    /// How each matrix is kept, where it is not packed.
    pub(crate) kept: Vec<Option<Plain>>,
    /// Every packed weight by its key.
    pub(crate) packed: Vec<(String, PackedWeight)>,
    /// The first weight that the earlier start should have packed and did not.
    pub(crate) lacking: Option<String>,
    pub(crate) report: LoadReport,
}

impl<'a> Weights<'a> {
    pub(crate) fn new(
        source: Source,
        cpu: &'a Cpu,
        (rounding, must_be_whole): (Rounding, bool),
        earlier: Option<PackedFile>,
    ) -> Self {
        Self {
            source,
            making: Making::Weights { cpu, earlier },
            rounding,
            must_be_whole,
            made: Made::default(),
        }
    }

    /// To find every tensor and to count what it would take.
    pub(crate) fn sizes(source: Source, rounding: Rounding, must_be_whole: bool) -> Self {
        Self {
            source,
            making: Making::Sizes,
            rounding,
            must_be_whole,
            made: Made::default(),
        }
    }

    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Found, LoadError> {
        let found = self.source.take(name, shape)?;
        self.made.parameters += shape.iter().product::<usize>() as u64;
        Ok(found)
    }

    /// A vector of so many numbers, in full precision.
    pub(crate) fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>, LoadError> {
        let clock = Clock::start();
        let found = self.take(name, &[length])?;
        let numbers = match self.making {
            Making::Sizes => vec![0.0; length],
            Making::Weights { .. } => found.to_vec()?,
        };
        clock.add_to(&mut self.made.report.phases.vectors);
        self.made.bytes += size_of_val(&numbers[..]) as u64;
        Ok(numbers)
    }

    /// The embedding or the head.
    pub(crate) fn vocabulary(&mut self, found: Found) -> Result<Weight, LoadError> {
        self.made(found, self.rounding.vocabulary)
    }

    /// Skips a tensor that is `first` a second time, where it is there. An earlier start that
    /// packed these files has compared the two.
    ///
    /// # Errors
    /// Where it holds other numbers.
    pub(crate) fn skip_second(&mut self, name: &str, first: &Found) -> Result<(), LoadError> {
        if !self.has(name) {
            return Ok(());
        }
        let second = self.source.take(name, &[first.count(), first.columns])?;
        let is_read = matches!(self.making, Making::Weights { earlier: None, .. });
        match self.must_be_whole && is_read && !second.holds_the_same(first) {
            false => Ok(()),
            true => Err(LoadError::HeadDiffers {
                head: second.name,
                embedding: first.name.clone(),
            }),
        }
    }

    /// What was found, as a layer uses it.
    pub(crate) fn projection(&mut self, found: Found) -> Result<Weight, LoadError> {
        self.made(found, self.rounding.projections)
    }

    fn made(&mut self, found: Found, rounding: Option<Format>) -> Result<Weight, LoadError> {
        let shape = found.packed_shape(rounding);
        self.made.kept.push(match (shape, found.stored) {
            (None, Stored::Plain(plain)) => Some(plain),
            _ => None,
        });
        self.made.bytes += match shape {
            Some(shape) => shape.bytes() as u64,
            None => found.range.len() as u64,
        };
        let (cpu, earlier) = match &self.making {
            Making::Sizes => return Ok(Weight::without_rows(found.columns)),
            Making::Weights { cpu, earlier } => (*cpu, earlier.as_ref()),
        };
        let Some(shape) = shape else {
            let clock = Clock::start();
            let tensor = found.keep(cpu)?;
            clock.add_to(&mut self.made.report.phases.check);
            return Ok(Weight::Plain(tensor));
        };
        let key = found.key();
        let weight = match earlier.map(|file| file.weight(&key, shape)) {
            Some(Some(weight)) => {
                self.made.report.mapped += 1;
                weight
            }
            missing => {
                if missing.is_some() {
                    self.made.lacking.get_or_insert_with(|| key.clone());
                }
                let clock = Clock::start();
                let weight = found.pack(cpu, shape)?;
                clock.add_to(&mut self.made.report.phases.pack);
                self.made.report.packed += 1;
                weight
            }
        };
        self.made.packed.push((key, weight.clone()));
        Ok(Weight::Packed(weight))
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

    /// What was made, where all was used or need not be.
    ///
    /// # Errors
    /// Names a tensor that was neither taken nor skipped.
    pub(crate) fn finish(self) -> Result<Made, LoadError> {
        let left = match &self.source {
            Source::Hub(source) => source.first_left(),
            Source::Gguf(source) => source.first_left(),
        };
        match left {
            Some(tensor) if self.must_be_whole => Err(LoadError::TensorUnexpected {
                tensor: tensor.to_owned(),
            }),
            _ => Ok(self.made),
        }
    }
}

impl Source {
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Found, LoadError> {
        match self {
            Self::Hub(source) => source.take(name, shape),
            Self::Gguf(source) => source.take(name, shape),
        }
    }

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
