//! Where things lie in a panel of sixteen rows.
//!
//! First the heads, one per block of a row: each number in f16 for sixteen rows, then each byte
//! with scales for sixteen rows. Then, from a 64-byte boundary on, the lines of each group of 32
//! columns: of 8-bit codes a line per quad; else the fifth bits (a line) or the fifth and sixth
//! (two), and four lines of nibbles, quad q low and quad q + 4 high.

use super::format::{Format, GROUP};
use crate::simd::LANES;
use crate::simd::dot::Line;

/// Bytes of a line of the processor's caches, and of codes.
pub(crate) const LINE: usize = size_of::<Line>();

/// What a packed weight is, and how many bytes it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackedShape {
    format: Format,
    rows: usize,
    columns: usize,
}

impl PackedShape {
    /// # Panics
    /// Where a row is not whole blocks.
    pub fn new(format: Format, rows: usize, columns: usize) -> Self {
        // Asks whether it is whole.
        format.row_bytes(columns);
        Self {
            format,
            rows,
            columns,
        }
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// What it takes when packed: as much as in a file, but that rows are filled up to sixteens
    /// and scales to a boundary.
    pub fn bytes(&self) -> usize {
        self.panels() * self.panel_bytes()
    }

    /// What it takes in a file.
    pub fn block_bytes(&self) -> usize {
        self.rows * self.format.row_bytes(self.columns)
    }

    pub(crate) fn panels(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    pub(crate) fn panel_bytes(&self) -> usize {
        self.heads_bytes() + self.groups() * self.format.lines() * LINE
    }

    pub(crate) fn groups(&self) -> usize {
        self.columns / GROUP
    }

    /// With what fills them up to a boundary.
    fn heads_bytes(&self) -> usize {
        let blocks = self.columns / self.format.block_weights();
        (blocks * self.format.head_bytes()).next_multiple_of(LINE)
    }
}

impl Format {
    /// Bytes of the headers of sixteen blocks side by side.
    pub(crate) const fn head_bytes(self) -> usize {
        LANES * self.header_bytes()
    }

    /// Lines of a group of sixteen rows.
    pub(crate) const fn lines(self) -> usize {
        self.bits()
    }
}

/// A panel as products read it.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) heads: &'a [u8],
    pub(crate) lines: &'a [Line],
}

impl<'a> Panel<'a> {
    /// The `index`th of a weight.
    pub(crate) fn of(shape: &PackedShape, bytes: &'a [u8], index: usize) -> Self {
        let panel = &bytes[index * shape.panel_bytes()..][..shape.panel_bytes()];
        let (heads, lines) = panel.split_at(shape.heads_bytes());
        Self {
            heads,
            lines: lines.as_chunks().0,
        }
    }
}

/// A panel as packing writes it.
pub(super) struct PanelMut<'a> {
    pub(super) heads: &'a mut [u8],
    pub(super) lines: &'a mut [Line],
}

impl<'a> PanelMut<'a> {
    pub(super) fn of(shape: &PackedShape, panel: &'a mut [u8]) -> Self {
        let (heads, lines) = panel.split_at_mut(shape.heads_bytes());
        Self {
            heads,
            lines: lines.as_chunks_mut().0,
        }
    }
}
