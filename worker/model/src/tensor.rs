//! Numbers in full precision, used where the file is mapped.

use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use weir_kernels::{Cpu, Elements, Matrix, first_not_finite};

use crate::mapped::Mapped;

/// A matrix in full precision, mapped where its file allows it.
#[derive(Debug)]
pub(crate) struct Tensor {
    columns: usize,
    numbers: Numbers,
}

#[derive(Debug)]
enum Numbers {
    /// Bytes of a file, aligned for their type.
    Mapped {
        map: Arc<Mapped>,
        range: Range<usize>,
        plain: Plain,
    },
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

/// The types of numbers that are used as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    F32,
    Bf16,
    F16,
}

impl Plain {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::Bf16 | Self::F16 => size_of::<u16>(),
        }
    }

    /// Widens numbers as a file has them.
    pub(crate) fn read(self, bytes: &[u8], to: &mut [f32]) {
        match self {
            Self::F32 => widen::<f32>(bytes, to),
            Self::Bf16 => widen::<bf16>(bytes, to),
            Self::F16 => widen::<f16>(bytes, to),
        }
    }
}

impl Tensor {
    /// Numbers that lie in a file, in its order; copied where they do not lie on a boundary.
    pub(crate) fn mapped(
        map: &Arc<Mapped>,
        range: Range<usize>,
        plain: Plain,
        columns: usize,
    ) -> Self {
        let bytes = &map[range.clone()];
        let is_aligned = match plain {
            Plain::F32 => aligned::<f32>(bytes).is_some(),
            Plain::Bf16 => aligned::<bf16>(bytes).is_some(),
            Plain::F16 => aligned::<f16>(bytes).is_some(),
        };
        if !is_aligned {
            return Self::copied(bytes, plain, columns);
        }
        let map = Arc::clone(map);
        let numbers = Numbers::Mapped { map, range, plain };
        Self { columns, numbers }
    }

    /// A copy of numbers as a file has them.
    pub(crate) fn copied(bytes: &[u8], plain: Plain, columns: usize) -> Self {
        let numbers = match plain {
            Plain::F32 => Numbers::F32(copied(bytes)),
            Plain::Bf16 => Numbers::Bf16(copied(bytes)),
            Plain::F16 => Numbers::F16(copied(bytes)),
        };
        Self { columns, numbers }
    }

    pub(crate) fn plain(&self) -> Plain {
        match &self.numbers {
            Numbers::Mapped { plain, .. } => *plain,
            Numbers::F32(_) => Plain::F32,
            Numbers::Bf16(_) => Plain::Bf16,
            Numbers::F16(_) => Plain::F16,
        }
    }

    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.numbers, Numbers::Mapped { .. })
    }

    pub(crate) fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.elements(), self.columns)
    }

    /// The first row with a number that is not finite.
    pub(crate) fn row_not_finite(&self, cpu: &Cpu) -> Option<usize> {
        first_not_finite(cpu, self.elements()).map(|at| at / self.columns)
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.elements().len() * self.plain().bytes()
    }

    pub(crate) fn elements(&self) -> Elements<'_> {
        match &self.numbers {
            Numbers::Mapped { map, range, plain } => {
                let bytes = &map[range.clone()];
                match plain {
                    Plain::F32 => Elements::F32(aligned(bytes).expect(ALIGNED)),
                    Plain::Bf16 => Elements::Bf16(aligned(bytes).expect(ALIGNED)),
                    Plain::F16 => Elements::F16(aligned(bytes).expect(ALIGNED)),
                }
            }
            Numbers::F32(values) => Elements::F32(values),
            Numbers::Bf16(values) => Elements::Bf16(values),
            Numbers::F16(values) => Elements::F16(values),
        }
    }
}

const ALIGNED: &str = "a tensor that is not aligned was copied";

trait Number: Copy {
    fn from_le(bytes: &[u8]) -> Self;
    fn widened(self) -> f32;
}

impl Number for f32 {
    fn from_le(bytes: &[u8]) -> Self {
        Self::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    fn widened(self) -> f32 {
        self
    }
}

impl Number for bf16 {
    fn from_le(bytes: &[u8]) -> Self {
        Self::from_le_bytes([bytes[0], bytes[1]])
    }

    fn widened(self) -> f32 {
        self.to_f32()
    }
}

impl Number for f16 {
    fn from_le(bytes: &[u8]) -> Self {
        Self::from_le_bytes([bytes[0], bytes[1]])
    }

    fn widened(self) -> f32 {
        self.to_f32()
    }
}

/// The bytes as numbers, where they lie on a boundary of the type.
fn aligned<T: Number>(bytes: &[u8]) -> Option<&[T]> {
    #[allow(unsafe_code, reason = "the numbers of a mapped file are used in place")]
    // SAFETY: only f32, bf16 and f16 are `Number`, and any bits are a value of each.
    let (before, numbers, after) = unsafe { bytes.align_to::<T>() };
    (before.is_empty() && after.is_empty()).then_some(numbers)
}

fn copied<T: Number>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(T::from_le).collect()
}

fn widen<T: Number>(bytes: &[u8], to: &mut [f32]) {
    for (bytes, to) in bytes.chunks_exact(size_of::<T>()).zip(to) {
        *to = T::from_le(bytes).widened();
    }
}
