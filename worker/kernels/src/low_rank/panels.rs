//! The wide half of an adapter, laid out as it is read: a panel of outputs after the other, and in
//! each the numbers of those outputs dimension by dimension.

use crate::Elements;
use crate::simd::LANES;

/// Outputs of a panel. The last one is filled up with zeros.
pub(super) const PANEL: usize = 4 * LANES;

#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    elements: Elements<'a>,
    rank: usize,
    outputs: usize,
}

impl<'a> Panels<'a> {
    /// # Panics
    /// Where there are not as many numbers as [`Panels::of`] makes.
    pub fn new(elements: Elements<'a>, rank: usize, outputs: usize) -> Self {
        let panels = Self {
            elements,
            rank,
            outputs,
        };
        assert!(
            rank > 0 && elements.len() == Self::length(rank, outputs),
            "panels are whole"
        );
        panels
    }

    /// How many numbers panels of so many outputs are.
    pub fn length(rank: usize, outputs: usize) -> usize {
        outputs.div_ceil(PANEL) * PANEL * rank
    }

    /// Lays out `rows` of `rank` numbers, one row for each output.
    pub fn of<T: Copy + Default>(rows: &[T], rank: usize) -> Vec<T> {
        let outputs = rows.len() / rank;
        let mut laid = vec![T::default(); Self::length(rank, outputs)];
        for (output, row) in rows.chunks_exact(rank).enumerate() {
            let panel = &mut laid[output / PANEL * PANEL * rank..];
            for (dimension, number) in row.iter().enumerate() {
                panel[dimension * PANEL + output % PANEL] = *number;
            }
        }
        laid
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn elements(&self) -> Elements<'a> {
        self.elements
    }

    pub(super) fn count(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }
}
