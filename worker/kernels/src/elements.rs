//! Borrowed numbers as they are stored.

use std::ops::Range;

use half::{bf16, f16};

/// A slice of one of the types that weights and caches are stored as.
#[derive(Clone, Copy, Debug)]
pub enum Elements<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
}

impl<'a> Elements<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
            Self::F16(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of them.
    ///
    /// # Panics
    /// Where there are not that many.
    pub fn range(&self, range: Range<usize>) -> Elements<'a> {
        match self {
            Self::F32(values) => Elements::F32(&values[range]),
            Self::Bf16(values) => Elements::Bf16(&values[range]),
            Self::F16(values) => Elements::F16(&values[range]),
        }
    }

    /// All of them, widened.
    pub fn to_vec(&self) -> Vec<f32> {
        match self {
            Self::F32(values) => values.to_vec(),
            Self::Bf16(values) => values.iter().map(|value| value.to_f32()).collect(),
            Self::F16(values) => values.iter().map(|value| value.to_f32()).collect(),
        }
    }
}
