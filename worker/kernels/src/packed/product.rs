//! The product of quantised rows with packed weights.
//!
//! Every output walks over the groups of its row in order, whether the row is alone or among
//! others: one integer sum a group, and then the one sequence of operations in f32 that
//! [`super::layout::Sums`] has for the format.
#![allow(
    unsafe_code,
    reason = "pieces write their own rectangles of several outputs"
)]

use std::ops::Range;

use super::Packed;
use super::activations::QuantizedRows;
use super::layout::{Sums, with_layout};
use super::stream::Streamed;
use super::tiles::Tiles;
use crate::pool::Disjoint;
use crate::simd::{LANES, Simd};
use crate::{Cpu, KernelClass};

/// The least bytes of weights in one piece of work. Below that, handing it out costs too much.
const PIECE_BYTES: usize = 32 << 10;
/// Rows of one piece of work: a few hundred keep an unpacked panel busy, and fit into the second
/// level cache a span at a time.
const PIECE_ROWS: usize = 256;
/// With no more rows than this, reading the weights takes longer than all the arithmetic.
const STREAMED_ROWS: usize = 16;

/// `output[r][o] = Σ input[r][k] · weight[o][k]`, with `input` rounded to eight bits: rows of
/// `weight.rows()` out.
///
/// # Panics
/// Where the lengths do not fit together.
pub fn matmul_packed(cpu: &Cpu, input: &QuantizedRows, weight: Packed<'_>, output: &mut [f32]) {
    matmul_packed_many(cpu, input, &mut [(weight, output)]);
}

/// The products of the same rows with several weights, shared out at once.
///
/// # Panics
/// Where the lengths do not fit together.
pub fn matmul_packed_many(
    cpu: &Cpu,
    input: &QuantizedRows,
    products: &mut [(Packed<'_>, &mut [f32])],
) {
    let weights: usize = products
        .iter()
        .map(|(weight, _)| weight.rows() * weight.columns())
        .sum();
    let mut pieces = 0;
    let parts: Vec<Part<'_>> = products
        .iter_mut()
        .map(|(weight, output)| {
            let part = Part::new((input, *weight), output, cpu.pool().threads(), pieces);
            pieces += part.pieces();
            part
        })
        .collect();
    let each = (input.rows() * weights).checked_div(pieces).unwrap_or(0);
    cpu.pool().run((pieces, each), &|index| {
        let part = parts.partition_point(|part| part.first_piece <= index) - 1;
        parts[part].compute(cpu.class(), index);
    });
}

/// One weight of several.
struct Part<'a> {
    input: &'a QuantizedRows,
    weight: Packed<'a>,
    target: Disjoint<'a, f32>,
    /// Pieces of the weights before it.
    first_piece: usize,
    /// Where the panels of its pieces end.
    ends: Vec<usize>,
}

/// A rectangle of the output of one weight.
pub(super) struct Piece<'a> {
    pub(super) input: &'a QuantizedRows,
    pub(super) weight: Packed<'a>,
    pub(super) target: &'a Disjoint<'a, f32>,
    pub(super) rows: Range<usize>,
    pub(super) panels: Range<usize>,
}

impl<'a> Part<'a> {
    fn new(
        (input, weight): (&'a QuantizedRows, Packed<'a>),
        output: &'a mut [f32],
        threads: usize,
        first_piece: usize,
    ) -> Self {
        assert!(
            input.columns() == weight.columns() && output.len() == input.rows() * weight.rows(),
            "{} rows of {} meet {} of {} and give {} numbers",
            input.rows(),
            input.columns(),
            weight.rows(),
            weight.columns(),
            output.len()
        );
        // Tiles are two panels wide.
        let step = if input.rows() <= STREAMED_ROWS { 1 } else { 2 };
        let least = (PIECE_BYTES / weight.shape().panel_bytes()).max(1);
        Self {
            input,
            weight,
            target: Disjoint::new(output),
            first_piece,
            ends: shares(weight.shape().panels(), (least, step), threads),
        }
    }

    fn pieces(&self) -> usize {
        self.ends.len() * self.input.rows().div_ceil(PIECE_ROWS)
    }

    fn compute(&self, class: KernelClass, index: usize) {
        let index = index - self.first_piece;
        let (down, across) = (index / self.ends.len(), index % self.ends.len());
        let first = across.checked_sub(1).map_or(0, |before| self.ends[before]);
        let row = down * PIECE_ROWS;
        let piece = Piece {
            input: self.input,
            weight: self.weight,
            target: &self.target,
            rows: row..self.input.rows().min(row + PIECE_ROWS),
            panels: first..self.ends[across],
        };
        with_layout!(self.weight.format(), L => if self.input.rows() <= STREAMED_ROWS {
            Streamed::compute::<L>(class, &piece)
        } else {
            Tiles::compute::<L>(class, &piece)
        });
    }
}

/// Where shares of so many panels end: long ones first, because memory is read fastest in one go,
/// and short ones at the end, so that all threads finish together.
fn shares(panels: usize, (least, step): (usize, usize), threads: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut done = 0;
    while done < panels {
        let share = ((panels - done) / (2 * threads)).max(least);
        done = panels.min(done + share.next_multiple_of(step));
        ends.push(done);
    }
    ends
}

impl Piece<'_> {
    /// The outputs of one panel for one row: sixteen, or fewer at the end.
    #[allow(
        clippy::mut_from_ref,
        reason = "giving several threads their own parts is what the target is for"
    )]
    pub(super) fn outputs(&self, row: usize, panel: usize) -> &mut [f32] {
        let outputs = self.weight.rows();
        let first = panel * LANES;
        let count = LANES.min(outputs - first);
        // SAFETY: rectangles of different pieces do not overlap, and a piece asks for one run
        // at a time.
        unsafe { self.target.run(row * outputs + first, count) }
    }
}

#[inline(always)]
pub(super) fn add_products<M: Sums, S: Simd>(
    simd: S,
    sums: S::Integers,
    codes: S::Codes,
    quad: S::Integers,
) -> S::Integers {
    if M::BYTES {
        simd.dot_bytes(sums, codes, quad)
    } else {
        simd.dot(sums, codes, quad)
    }
}
