//! One tensor as its file holds it, on its way to becoming a weight.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use weir_kernels::Cpu;
use weir_kernels::packed::{self, AlignedBytes, Format, PackedShape};

use crate::LoadError;
use crate::gguf::names::row_of;
use crate::mapped::Mapped;
use crate::tensor::{Plain, Tensor};
use crate::weight::PackedWeight;

/// How a file stores numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Plain(Plain),
    /// Some scales, then a few bits for each number.
    Blocks(Format),
}

impl Stored {
    fn row_bytes(self, columns: usize) -> usize {
        match self {
            Self::Plain(plain) => columns * plain.bytes(),
            Self::Blocks(format) => format.row_bytes(columns),
        }
    }
}

/// Rows of numbers in a mapped file.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) map: Arc<Mapped>,
    /// Whole rows.
    pub(crate) range: Range<usize>,
    pub(crate) stored: Stored,
    pub(crate) columns: usize,
    /// Rows of each head of so many dimensions lie in pairs; see [`row_of`].
    pub(crate) paired: Option<usize>,
}

/// No row.
const NONE: usize = usize::MAX;

impl Found {
    pub(crate) fn count(&self) -> usize {
        self.range.len() / self.row_bytes()
    }

    fn row_bytes(&self) -> usize {
        self.stored.row_bytes(self.columns)
    }

    /// Some of its rows.
    ///
    /// # Panics
    /// Where rows lie in pairs, which nobody fuses.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Self {
        assert!(self.paired.is_none(), "rows in pairs stay together");
        let (start, length) = (self.range.start, self.row_bytes());
        Self {
            range: start + rows.start * length..start + rows.end * length,
            ..self.clone()
        }
    }

    /// Whether it is stored as `other` is, byte for byte.
    pub(crate) fn holds_the_same(&self, other: &Self) -> bool {
        self.stored == other.stored
            && self.map[self.range.clone()] == other.map[other.range.clone()]
    }

    /// The bytes of a row, in the order of the hub.
    fn row(&self, row: usize) -> &[u8] {
        let place = self.paired.map_or(row, |head_dim| row_of(row, head_dim));
        &self.map[self.range.clone()][place * self.row_bytes()..][..self.row_bytes()]
    }

    fn read_row(&self, row: usize, to: &mut [f32]) {
        match self.stored {
            Stored::Plain(plain) => plain.read(self.row(row), to),
            Stored::Blocks(format) => packed::dequantise_row(format, self.row(row), to),
        }
    }

    /// All numbers, widened.
    ///
    /// # Errors
    /// Where one of them is not finite.
    pub(crate) fn to_vec(&self) -> Result<Vec<f32>, LoadError> {
        let mut numbers = vec![0.0; self.count() * self.columns];
        for (row, numbers) in numbers.chunks_exact_mut(self.columns).enumerate() {
            self.read_row(row, numbers);
            if !numbers.iter().all(|number| number.is_finite()) {
                return Err(self.not_finite(row));
            }
        }
        Ok(numbers)
    }

    /// What it is packed as: `wanted` where the file has full precision, else as the file has it.
    /// Nothing where it stays as it is: rows that are not whole blocks do.
    pub(crate) fn packed_shape(&self, wanted: Option<Format>) -> Option<PackedShape> {
        let format = match self.stored {
            Stored::Blocks(format) => format,
            Stored::Plain(_) => {
                wanted.filter(|wanted| self.columns.is_multiple_of(wanted.block_weights()))?
            }
        };
        Some(PackedShape::new(format, self.count(), self.columns))
    }

    /// By which it is told from every other of its model, whichever rows of a tensor it is.
    pub(crate) fn key(&self) -> String {
        format!("{}@{}", self.name, self.range.start)
    }

    /// In full precision, where it is mapped.
    ///
    /// # Errors
    /// Where a number is not finite.
    ///
    /// # Panics
    /// Where the file has it in blocks.
    pub(crate) fn keep(&self, cpu: &Cpu) -> Result<Tensor, LoadError> {
        let Stored::Plain(plain) = self.stored else {
            panic!("what lies in blocks is packed");
        };
        let tensor = match self.paired {
            None => Tensor::mapped(&self.map, self.range.clone(), plain, self.columns),
            Some(_) => {
                let rows: Vec<u8> = (0..self.count())
                    .flat_map(|row| self.row(row))
                    .copied()
                    .collect();
                Tensor::copied(&rows, plain, self.columns)
            }
        };
        match tensor.row_not_finite(cpu) {
            None => Ok(tensor),
            Some(row) => Err(self.not_finite(row)),
        }
    }

    /// Packed in a shape that is its own; a file in full precision is rounded to it.
    ///
    /// # Errors
    /// Where a number is not finite, or memory is short.
    pub(crate) fn pack(&self, cpu: &Cpu, shape: PackedShape) -> Result<PackedWeight, LoadError> {
        let format = shape.format();
        let mut bytes = AlignedBytes::zeros(shape.bytes()).map_err(|_| LoadError::Memory {
            what: "a packed weight",
            bytes: shape.bytes(),
        })?;
        let bad = AtomicUsize::new(NONE);
        let row = |row: usize, blocks: &mut [u8]| {
            let is_finite = match self.stored {
                Stored::Blocks(format) => {
                    blocks.copy_from_slice(self.row(row));
                    packed::is_finite(format, blocks)
                }
                Stored::Plain(_) => {
                    let mut numbers = vec![0.0; self.columns];
                    self.read_row(row, &mut numbers);
                    packed::quantise_row(cpu.class(), format, &numbers, blocks);
                    numbers.iter().all(|number| number.is_finite())
                }
            };
            if !is_finite {
                bad.fetch_min(row, Ordering::Relaxed);
            }
        };
        packed::pack(cpu, shape, row, &mut bytes);
        // What was packed is not looked at again.
        self.map.give_back(self.range.clone());
        match bad.into_inner() {
            NONE => Ok(PackedWeight::new(shape, bytes)),
            row => Err(self.not_finite(row)),
        }
    }

    fn not_finite(&self, row: usize) -> LoadError {
        LoadError::NotFinite {
            tensor: self.name.clone(),
            row,
        }
    }
}
