//! Products of few rows, at the speed at which memory gives the weights: each panel is unpacked in
//! registers as it comes by, and up to eight rows meet it at once.

use std::marker::PhantomData;

use super::activations::QuantizedGroup;
use super::format::GROUP;
use super::layout::{Codes, Layout, QUADS, Scales, Sums, codes};
use super::panel::{LINE, Panel};
use super::product::{Piece, add_products};
use crate::KernelClass;
use crate::simd::dot::Line;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// How many bytes ahead of the lines in use lines are asked for. Without asking, half the bandwidth
/// was reached; 2 KiB ahead gives less than this, and 8 KiB no more that could be told from noise.
const AHEAD: usize = 4096;

/// A piece with few rows.
pub(super) struct Streamed<'a, L> {
    piece: &'a Piece<'a>,
    layout: PhantomData<L>,
}

impl Streamed<'_, ()> {
    /// Computes a piece.
    pub(super) fn compute<L: Layout>(class: KernelClass, piece: &Piece<'_>) {
        let layout = PhantomData::<L>;
        dispatch(class, Streamed { piece, layout });
    }
}

impl<L: Layout> Kernel for Streamed<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for panel in self.piece.panels.clone() {
            let mut row = self.piece.rows.start;
            // After the first of these the panel is in a cache.
            while row < self.piece.rows.end {
                row += match self.piece.rows.end - row {
                    1 => self.rows::<S, 1>(simd, panel, row),
                    2 => self.rows::<S, 2>(simd, panel, row),
                    5.. if S::LARGE_TILE => self.rows::<S, 8>(simd, panel, row),
                    _ => self.rows::<S, 4>(simd, panel, row),
                };
            }
        }
    }
}

impl<L: Layout> Streamed<'_, L> {
    /// Computes one panel for `R` rows, or as many as are left, and says how many.
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(&self, simd: S, panel: usize, row: usize) -> usize {
        let piece = self.piece;
        let count = R.min(piece.rows.end - row);
        // Where rows are missing, the last is computed again and forgotten.
        let rows: [&[QuantizedGroup]; R] =
            std::array::from_fn(|r| piece.input.row(row + r.min(count - 1)));
        let sums = panel_by_rows::<L, S, R>(
            simd,
            Panel::of(&piece.weight.shape(), piece.weight.bytes(), panel),
            rows,
        );
        for (r, sum) in sums.into_iter().take(count).enumerate() {
            let mut outputs = [0.0; LANES];
            simd.store(sum, &mut outputs);
            let target = piece.outputs(row + r, panel);
            target.copy_from_slice(&outputs[..target.len()]);
        }
        count
    }
}

/// Sixteen outputs of each row.
#[inline(always)]
fn panel_by_rows<L: Layout, S: Simd, const R: usize>(
    simd: S,
    panel: Panel<'_>,
    rows: [&[QuantizedGroup]; R],
) -> [S::Vector; R] {
    let groups = const { L::FORMAT.block_weights() / GROUP };
    let rows = rows.map(|row| &row[..rows[0].len()]);
    let mut lines = panel.lines.chunks_exact(L::FORMAT.lines());
    let heads = panel.heads.chunks_exact(L::FORMAT.head_bytes());
    let mut sums = [simd.splat(0.0); R];
    for (head, first) in heads.zip((0..rows[0].len()).step_by(groups)) {
        panel.prefetch_head(simd, head);
        for (group, lines) in (0..groups).zip(&mut lines) {
            panel.prefetch_lines(simd, lines);
            let scales = L::scales(simd, head, group);
            let codes = codes(simd, L::FORMAT, lines);
            let activations: [&QuantizedGroup; R] =
                std::array::from_fn(|r| &rows[r][first + group]);
            add_group::<L::Sums, S, R>(simd, &mut sums, (codes, scales), activations);
        }
    }
    sums
}

#[inline(always)]
fn add_group<M: Sums, S: Simd, const R: usize>(
    simd: S,
    so_far: &mut [S::Vector; R],
    (codes, scales): (Codes<S>, Scales<S>),
    activations: [&QuantizedGroup; R],
) {
    let mut sums = [[simd.integers(0); 2]; R];
    for (sums, activations) in sums.iter_mut().zip(activations) {
        for (half, sum) in sums.iter_mut().enumerate() {
            *sum = simd.integers(M::start::<S>(activations, half));
        }
    }
    for (quad, codes) in codes.into_iter().enumerate() {
        let half = if M::HALVES { quad / (QUADS / 2) } else { 0 };
        for (sums, activations) in sums.iter_mut().zip(activations) {
            let values = simd.quad(&activations.codes[quad]);
            sums[half] = add_products::<M, S>(simd, sums[half], codes, values);
        }
    }
    for r in 0..R {
        so_far[r] = M::add(simd, so_far[r], (sums[r], scales), activations[r]);
    }
}

impl Panel<'_> {
    /// Asks for the same head of the next panel.
    #[inline(always)]
    fn prefetch_head<S: Simd>(&self, simd: S, head: &[u8]) {
        let panel_bytes = self.heads.len() + self.lines.len() * LINE;
        for at in (0..head.len()).step_by(LINE) {
            simd.prefetch(head.as_ptr().wrapping_add(panel_bytes + at));
        }
    }

    /// Asks for the lines that come so far after these, which may be the next panel's.
    #[inline(always)]
    fn prefetch_lines<S: Simd>(&self, simd: S, lines: &[Line]) {
        let end = self.lines.as_ptr_range().end.cast::<u8>();
        let mut ahead = lines.as_ptr().cast::<u8>().wrapping_add(AHEAD);
        if ahead >= end {
            ahead = ahead.wrapping_add(self.heads.len());
        }
        for at in 0..lines.len() {
            simd.prefetch(ahead.wrapping_add(at * LINE));
        }
    }
}
