//! How numbers are stored, and one tensor where its file is mapped.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::mapped::Mapped;

/// The types that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

impl TensorType {
    /// For refusals.
    pub const SERVED: &'static str =
        "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K";

    /// Neighbours in a row that are stored together.
    pub fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes that a block takes: its scales, then its quants.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 2 + 16,
            Self::Q4_1 => 2 + 2 + 16,
            Self::Q5_0 => 2 + 4 + 16,
            Self::Q5_1 => 2 + 2 + 4 + 16,
            Self::Q8_0 => 2 + 32,
            Self::Q4K => 2 + 2 + 12 + 128,
            Self::Q5K => 2 + 2 + 12 + 32 + 128,
            Self::Q6K => 128 + 64 + 16 + 2,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A type as a file numbers it, which may be one that is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Served(TensorType),
    Other(u32),
}

impl Stored {
    pub(super) fn of(number: u32) -> Self {
        Self::Served(match number {
            0 => TensorType::F32,
            1 => TensorType::F16,
            2 => TensorType::Q4_0,
            3 => TensorType::Q4_1,
            6 => TensorType::Q5_0,
            7 => TensorType::Q5_1,
            8 => TensorType::Q8_0,
            12 => TensorType::Q4K,
            13 => TensorType::Q5K,
            14 => TensorType::Q6K,
            30 => TensorType::Bf16,
            other => return Self::Other(other),
        })
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Served(served) => served.name(),
            Self::Other(number) => match number {
                4 => "Q4_2",
                5 => "Q4_3",
                9 => "Q8_1",
                10 => "Q2_K",
                11 => "Q3_K",
                15 => "Q8_K",
                16 => "IQ2_XXS",
                17 => "IQ2_XS",
                18 => "IQ3_XXS",
                19 => "IQ1_S",
                20 => "IQ4_NL",
                21 => "IQ3_S",
                22 => "IQ2_S",
                23 => "IQ4_XS",
                24 => "I8",
                25 => "I16",
                26 => "I32",
                27 => "I64",
                28 => "F64",
                29 => "IQ1_M",
                31 => "Q4_0_4_4",
                32 => "Q4_0_4_8",
                33 => "Q4_0_8_8",
                34 => "TQ1_0",
                35 => "TQ2_0",
                36 => "IQ4_NL_4_4",
                37 => "IQ4_NL_4_8",
                38 => "IQ4_NL_8_8",
                39 => "MXFP4",
                40 => "NVFP4",
                41 => "Q1_0",
                42 => "Q2_0",
                number => return write!(f, "type {number}, which has no name here"),
            },
        };
        f.write_str(name)
    }
}

/// One tensor. Cheap to clone: the bytes stay in the file.
#[derive(Clone, Debug)]
pub struct GgufTensor {
    /// Row-major: rows before columns. A file names them the other way round.
    pub shape: Vec<usize>,
    pub kind: TensorType,
    pub(super) map: Arc<Mapped>,
    pub(super) range: Range<usize>,
}

impl GgufTensor {
    /// Blocks of the type, row by row. They begin on a boundary of the file's alignment, which is
    /// a multiple of eight.
    pub fn bytes(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }

    /// The whole file and where in it the bytes are, for who keeps a file mapped.
    pub fn mapped(&self) -> (&Arc<Mapped>, Range<usize>) {
        (&self.map, self.range.clone())
    }

    /// Length of a row.
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// How many rows, over all dimensions but the last.
    pub fn rows(&self) -> usize {
        let columns = self.shape.len().saturating_sub(1);
        self.shape[..columns].iter().product()
    }

    /// The bytes of one row.
    pub fn row(&self, row: usize) -> &[u8] {
        let length = self.columns() / self.kind.block() * self.kind.block_bytes();
        &self.bytes()[row * length..(row + 1) * length]
    }
}
