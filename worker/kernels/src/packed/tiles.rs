//! Products of many rows: panels are unpacked to bytes, two at a time and a span of columns at a
//! time, and every row meets them while they are in the first level cache.

use std::ops::Range;

use super::activations::QuantizedGroup;
use super::format::GROUP;
use super::layout::{Layout, QUADS, Sums, codes};
use super::panel::Panel;
use super::product::{Piece, add_products};
use crate::KernelClass;
use crate::simd::dot::Line;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Groups of a span; whole blocks of any format. Two panels of it take 20 KiB.
const SPAN: usize = 16;

/// A span of a panel, as bytes and in f32.
#[repr(C, align(64))]
struct Unpacked {
    codes: [[Line; QUADS]; SPAN],
    scales: [[[f32; LANES]; 2]; SPAN],
}

impl Unpacked {
    const EMPTY: Self = Self {
        codes: [[[0; 4 * LANES]; QUADS]; SPAN],
        scales: [[[0.0; LANES]; 2]; SPAN],
    };
}

/// Rows of a piece against a span of two panels.
pub(super) struct Tiles<'a, M> {
    piece: &'a Piece<'a>,
    unpacked: &'a [Unpacked; 2],
    /// The second is the first again where a piece has an odd number.
    panels: [usize; 2],
    span: Range<usize>,
    sums: std::marker::PhantomData<M>,
}

impl Tiles<'_, ()> {
    /// Computes a piece.
    pub(super) fn compute<L: Layout>(class: KernelClass, piece: &Piece<'_>) {
        let groups = piece.input.columns() / GROUP;
        let mut unpacked = [Unpacked::EMPTY; 2];
        for first in piece.panels.clone().step_by(2) {
            let panels = [first, (first + 1).min(piece.panels.end - 1)];
            for start in (0..groups).step_by(SPAN) {
                let span = start..groups.min(start + SPAN);
                for (to, panel) in unpacked.iter_mut().zip(panels) {
                    let unpack = Unpack::<L> {
                        panel: Panel::of(&piece.weight.shape(), piece.weight.bytes(), panel),
                        span: span.clone(),
                        to,
                        layout: std::marker::PhantomData,
                    };
                    dispatch(class, unpack);
                }
                let tiles = Tiles::<L::Sums> {
                    piece,
                    unpacked: &unpacked,
                    panels,
                    span,
                    sums: std::marker::PhantomData,
                };
                dispatch(class, tiles);
            }
        }
    }
}

struct Unpack<'a, L> {
    panel: Panel<'a>,
    span: Range<usize>,
    to: &'a mut Unpacked,
    layout: std::marker::PhantomData<L>,
}

impl<L: Layout> Kernel for Unpack<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let groups = const { L::FORMAT.block_weights() / GROUP };
        let lines = &self.panel.lines[self.span.start * L::FORMAT.lines()..];
        let lines = lines.chunks_exact(L::FORMAT.lines());
        let places = self.to.codes.iter_mut().zip(&mut self.to.scales);
        for ((group, (to_codes, to_scales)), lines) in self.span.zip(places).zip(lines) {
            let head = &self.panel.heads[group / groups * L::FORMAT.head_bytes()..];
            for (scales, to) in L::scales(simd, head, group % groups)
                .into_iter()
                .zip(to_scales)
            {
                simd.store(scales, to);
            }
            for (codes, to) in codes(simd, L::FORMAT, lines).into_iter().zip(to_codes) {
                simd.write(codes, to);
            }
        }
    }
}

impl<M: Sums> Kernel for Tiles<'_, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Range {
            start: mut row,
            end,
        } = self.piece.rows;
        // As many as the register file holds sums for: integers and f32 of two panels.
        if S::LARGE_TILE && !M::HALVES {
            while row + 6 <= end {
                self.tile::<S, 6>(simd, row);
                row += 6;
            }
        }
        if S::LARGE_TILE {
            while row + 4 <= end {
                self.tile::<S, 4>(simd, row);
                row += 4;
            }
        }
        while row + 2 <= end {
            self.tile::<S, 2>(simd, row);
            row += 2;
        }
        if row < end {
            self.tile::<S, 1>(simd, row);
        }
    }
}

impl<M: Sums> Tiles<'_, M> {
    /// `R` rows by two panels.
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(&self, simd: S, row: usize) {
        let count = self.span.len();
        let inputs: [&[QuantizedGroup]; R] =
            std::array::from_fn(|r| &self.piece.input.row(row + r)[self.span.clone()][..count]);
        let [left, right] = self.unpacked;
        let left = left.codes[..count].iter().zip(&left.scales);
        let right = right.codes[..count].iter().zip(&right.scales);
        let mut sums = [[simd.splat(0.0); 2]; R];
        if self.span.start > 0 {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (sum, panel) in sums.iter_mut().zip(self.panels) {
                    *sum = self.load(simd, row + r, panel);
                }
            }
        }
        for (group, (left, right)) in left.zip(right).enumerate() {
            let activations: [&QuantizedGroup; R] = std::array::from_fn(|r| &inputs[r][group]);
            let lines = [left.0, right.0];
            let first = dots::<M, S, R>(simd, lines, activations, 0);
            let second = if M::HALVES {
                dots::<M, S, R>(simd, lines, activations, 1)
            } else {
                first
            };
            for r in 0..R {
                for (panel, scales) in [left.1, right.1].into_iter().enumerate() {
                    let scales = [simd.load(&scales[0]), simd.load(&scales[1])];
                    let dots = [first[r][panel], second[r][panel]];
                    sums[r][panel] = M::add(simd, sums[r][panel], (dots, scales), activations[r]);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (sum, panel) in sums.into_iter().zip(self.panels) {
                self.store(simd, sum, row + r, panel);
            }
        }
    }

    /// What the spans before came to.
    #[inline(always)]
    fn load<S: Simd>(&self, simd: S, row: usize, panel: usize) -> S::Vector {
        let outputs = self.piece.outputs(row, panel);
        match outputs.first_chunk() {
            Some(sixteen) => simd.load(sixteen),
            None => simd.load(&crate::simd::padded(outputs)),
        }
    }

    #[inline(always)]
    fn store<S: Simd>(&self, simd: S, sum: S::Vector, row: usize, panel: usize) {
        let outputs = self.piece.outputs(row, panel);
        match outputs.first_chunk_mut() {
            Some(sixteen) => simd.store(sum, sixteen),
            None => {
                let mut lanes = [0.0; LANES];
                simd.store(sum, &mut lanes);
                outputs.copy_from_slice(&lanes[..outputs.len()]);
            }
        }
    }
}

/// The integer sums of a group, or of the `half` of it that is summed by itself.
#[inline(always)]
fn dots<M: Sums, S: Simd, const R: usize>(
    simd: S,
    lines: [&[Line; QUADS]; 2],
    activations: [&QuantizedGroup; R],
    half: usize,
) -> [[S::Integers; 2]; R] {
    let mut sums = [[simd.integers(0); 2]; R];
    for r in 0..R {
        sums[r] = [simd.integers(M::start::<S>(activations[r], half)); 2];
    }
    let quads = if M::HALVES {
        half * QUADS / 2..(half + 1) * QUADS / 2
    } else {
        0..QUADS
    };
    for quad in quads {
        let codes = [simd.codes(&lines[0][quad]), simd.codes(&lines[1][quad])];
        for r in 0..R {
            let values = simd.quad(&activations[r].codes[quad]);
            for panel in 0..2 {
                sums[r][panel] = add_products::<M, S>(simd, sums[r][panel], codes[panel], values);
            }
        }
    }
    sums
}
