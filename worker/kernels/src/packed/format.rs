//! The block formats of GGML that weights come in.

use std::fmt;

/// Inputs that one activation scale and one integer sum cover.
pub(crate) const GROUP: usize = 32;

/// How a run of weights is laid out in a file: some scales, then a few bits for each weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "the names that files and people use")]
pub enum Format {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl Format {
    pub const ALL: [Self; 8] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    /// Weights that share one block; a row is whole blocks.
    pub const fn block_weights(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => GROUP,
            Self::Q4_K | Self::Q5_K | Self::Q6_K => 256,
        }
    }

    /// What one block takes in a file.
    pub const fn block_bytes(self) -> usize {
        self.header_bytes() + self.block_weights() * self.bits() / 8
    }

    /// What a row of so many weights takes in a file.
    ///
    /// # Panics
    /// Where a row is not whole blocks.
    pub fn row_bytes(self, columns: usize) -> usize {
        assert!(
            columns.is_multiple_of(self.block_weights()),
            "a row of {self} is whole blocks of {}, not {columns} weights",
            self.block_weights()
        );
        columns / self.block_weights() * self.block_bytes()
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4_K => "Q4_K",
            Self::Q5_K => "Q5_K",
            Self::Q6_K => "Q6_K",
        }
    }

    /// Bits of the code of one weight.
    pub(crate) const fn bits(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q4_K => 4,
            Self::Q5_0 | Self::Q5_1 | Self::Q5_K => 5,
            Self::Q6_K => 6,
            Self::Q8_0 => 8,
        }
    }

    /// Numbers in f16 of a block: its scale, and what its minimum is scaled by.
    pub(crate) const fn halves(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 | Self::Q6_K => 1,
            Self::Q4_1 | Self::Q5_1 | Self::Q4_K | Self::Q5_K => 2,
        }
    }

    /// Bytes with the scales of the parts of a block.
    pub(crate) const fn scale_bytes(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 0,
            Self::Q4_K | Self::Q5_K => 12,
            Self::Q6_K => 16,
        }
    }

    /// All of a block but the codes.
    pub(crate) const fn header_bytes(self) -> usize {
        2 * self.halves() + self.scale_bytes()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
