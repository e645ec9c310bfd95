//! The wide half of what an adapter adds: each output has one sum, over the adapter's dimensions in
//! their order, which is added to what is there, whatever rows are computed beside.
#![allow(
    unsafe_code,
    reason = "pieces add to their own rectangles of several outputs"
)]

use std::ops::Range;

use super::panels::{PANEL, Panels};
use crate::pool::Disjoint;
use crate::simd::{Element, Kernel, LANES, Simd, padded};

/// Vectors of a panel.
const VECTORS: usize = PANEL / LANES;

/// What one adapter adds to one output.
pub(super) struct Expansion<'a> {
    pub(super) rows: &'a [u32],
    /// One row of the adapter's dimensions for each of those.
    pub(super) middle: &'a [f32],
    pub(super) up: Panels<'a>,
    /// Rows of all the outputs.
    pub(super) target: &'a Disjoint<'a, f32>,
}

/// Some rows of an expansion by some panels.
pub(super) struct Piece<'a, T> {
    expansion: &'a Expansion<'a>,
    up: &'a [T],
    rows: Range<usize>,
    panels: Range<usize>,
}

impl<'a, T: Element> Piece<'a, T> {
    pub(super) fn new(
        expansion: &'a Expansion<'a>,
        up: &'a [T],
        (rows, panels): (Range<usize>, Range<usize>),
    ) -> Self {
        Self {
            expansion,
            up,
            rows,
            panels,
        }
    }

    /// Computes `R` rows of a panel.
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(&self, simd: S, row: usize, panel: usize) {
        let Expansion {
            rows,
            middle,
            up,
            target,
        } = self.expansion;
        let (rank, outputs) = (up.rank(), up.outputs());
        let (dimensions, _) = self.up[panel * PANEL * rank..][..PANEL * rank].as_chunks::<LANES>();
        let inputs: [&[f32]; R] = std::array::from_fn(|r| &middle[(row + r) * rank..][..rank]);
        let mut sums = [[simd.splat(0.0); VECTORS]; R];
        for dimension in 0..rank {
            // Loops, because a closure may be compiled by itself, without these instructions.
            for vector in 0..VECTORS {
                let up = T::load(simd, &dimensions[dimension * VECTORS + vector]);
                for r in 0..R {
                    let input = simd.splat(inputs[r][dimension]);
                    sums[r][vector] = simd.fma(input, up, sums[r][vector]);
                }
            }
        }
        let first = panel * PANEL;
        let width = PANEL.min(outputs - first);
        for (r, sums) in sums.into_iter().enumerate() {
            let start = rows[row + r] as usize * outputs + first;
            // SAFETY: a row is in one expansion of an output, and in one piece of it for a panel.
            let target = unsafe { target.run(start, width) };
            add(simd, sums, target);
        }
    }
}

#[inline(always)]
fn add<S: Simd>(simd: S, sums: [S::Vector; VECTORS], target: &mut [f32]) {
    for (sum, target) in sums.into_iter().zip(target.chunks_mut(LANES)) {
        match target.as_chunks_mut::<LANES>() {
            ([whole], _) => simd.store(simd.add(simd.load(whole), sum), whole),
            _ => {
                let mut lanes = [0.0; LANES];
                simd.store(simd.add(simd.load(&padded(target)), sum), &mut lanes);
                target.copy_from_slice(&lanes[..target.len()]);
            }
        }
    }
}

impl<T: Element> Kernel for Piece<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for panel in self.panels.clone() {
            let Range {
                start: mut row,
                end,
            } = self.rows;
            if S::LARGE_TILE {
                while row + 4 <= end {
                    self.tile::<S, 4>(simd, row, panel);
                    row += 4;
                }
            }
            while row < end {
                self.tile::<S, 1>(simd, row, panel);
                row += 1;
            }
        }
    }
}
