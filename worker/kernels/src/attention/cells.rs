//! Cuts the positions that queries meet into cells, shares these among threads, and puts them
//! together again.
//!
//! Invariant: how a query is cut follows from its position and its window alone. A query that lies
//! within one cell is met as a whole, with the same outcome.

use std::ops::Range;

use super::meet::Group;
use super::products::accumulate;
use super::softmax::Softmax;
use super::{CELL, LARGEST_GROUP, PagedCache, Query, Scores};
use crate::Cpu;
use crate::exp::exp;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// The most numbers that cells are kept in, where one row does not need more: 4 MB. Rows beyond
/// that wait for their turn.
const MOST_NUMBERS: usize = 1 << 20;

/// Memory for what was met in cells; kept from call to call.
#[derive(Debug, Default)]
pub struct Partials(Vec<f32>);

/// One call of [`attend`](super::attend), whose lengths fit together.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) cpu: &'a Cpu,
    /// Query heads that share a head of the cache.
    pub(super) group: usize,
    pub(super) queries: &'a [f32],
    pub(super) scores: Scores,
    pub(super) rows: &'a [Query<'a>],
    pub(super) cache: PagedCache<'a>,
}

impl Call<'_> {
    pub(super) fn run(&self, output: &mut [f32], partials: &mut Partials) {
        let most = self.rows.iter().map(|row| self.cells(row).len()).max();
        let most = most.unwrap_or(1);
        if most == 1 {
            return self.whole(output);
        }
        let of_row = most * self.cache.heads * self.partial();
        let at_once = (MOST_NUMBERS / of_row).clamp(1, self.rows.len());
        if partials.0.len() < at_once * of_row {
            partials.0.resize(at_once * of_row, 0.0);
        }
        let width = self.cache.heads * self.piece();
        let rows = self.rows.chunks(at_once);
        let queries = self.queries.chunks(at_once * width);
        let outputs = output.chunks_mut(at_once * width);
        for ((rows, queries), output) in rows.zip(queries).zip(outputs) {
            let some = Call {
                rows,
                queries,
                ..*self
            };
            some.split(most, output, &mut partials.0);
        }
    }

    /// Every query in one piece.
    fn whole(&self, output: &mut [f32]) {
        let (piece, heads) = (self.piece(), self.cache.heads);
        let each = self.multiplications() / (self.rows.len() * heads);
        self.cpu
            .pool()
            .run_chunks(output, (piece, each), |index, output| {
                let (row, head) = (index / heads, index % heads);
                let positions = self.met(&self.rows[row]);
                let mut softmax = [Softmax::EMPTY; LARGEST_GROUP];
                self.meet((row, head), positions, (output, &mut softmax));
                divide(output, &softmax[..self.group]);
            });
    }

    /// Each cell of each query in a piece of its own, and then all cells of each query together.
    /// Pieces of the same cell follow one another, so that its keys and values are in the cache.
    fn split(&self, most: usize, output: &mut [f32], partials: &mut [f32]) {
        let (rows, heads) = (self.rows.len(), self.cache.heads);
        let (piece, partial) = (self.piece(), self.partial());
        let pieces = heads * most * rows;
        let each = self.multiplications() / pieces;
        let partials = &mut partials[..pieces * partial];
        let pool = self.cpu.pool();
        pool.run_chunks(partials, (partial, each), |index, partial| {
            let (of_head, row) = (index / rows, index % rows);
            let (head, cell) = (of_head / most, of_head % most);
            let Some(cell) = self.cells(&self.rows[row]).nth(cell) else {
                return;
            };
            let met = self.met(&self.rows[row]);
            let positions = met.start.max(cell * CELL)..met.end.min((cell + 1) * CELL);
            let mut softmax = [Softmax::EMPTY; LARGEST_GROUP];
            let (output, states) = partial.split_at_mut(piece);
            self.meet((row, head), positions, (output, &mut softmax));
            for (state, softmax) in states.chunks_exact_mut(2).zip(&softmax) {
                state.copy_from_slice(&[softmax.largest, softmax.sum]);
            }
        });
        let partials = &*partials;
        pool.run_chunks(output, (piece, most * piece), |index, output| {
            let (row, head) = (index / heads, index % heads);
            let cells = Cells {
                partials: &partials[(head * most * rows + row) * partial..],
                apart: rows * partial,
                count: self.cells(&self.rows[row]).len(),
                output,
                group: self.group,
            };
            dispatch(self.cpu.class(), cells);
        });
    }

    fn meet(
        &self,
        (row, head): (usize, usize),
        positions: Range<usize>,
        (output, softmax): (&mut [f32], &mut [Softmax]),
    ) {
        let piece = self.piece();
        let at = (row * self.cache.heads + head) * piece;
        let group = Group {
            queries: &self.queries[at..][..piece],
            scores: self.scores,
            row: self.rows[row],
            head,
            cache: self.cache,
            positions,
            output,
            softmax,
        };
        group.meet_all(self);
    }

    /// The positions that a row meets.
    fn met(&self, row: &Query<'_>) -> Range<usize> {
        self.scores.first(row.position)..row.position + 1
    }

    /// The cells in which these lie.
    fn cells(&self, row: &Query<'_>) -> Range<usize> {
        let met = self.met(row);
        met.start / CELL..met.end.div_ceil(CELL)
    }

    /// Numbers of the heads of a row that share a head of the cache.
    fn piece(&self) -> usize {
        self.group * self.cache.head_dim
    }

    /// Numbers of a piece that is not yet complete: each head's softmax follows the heads.
    fn partial(&self) -> usize {
        self.piece() + 2 * self.group
    }

    fn multiplications(&self) -> usize {
        let positions: usize = self.rows.iter().map(|row| self.met(row).len()).sum();
        2 * self.piece() * self.cache.heads * positions
    }
}

/// What some heads met in cells, to be put together.
struct Cells<'a> {
    partials: &'a [f32],
    /// From one cell to the next.
    apart: usize,
    count: usize,
    output: &'a mut [f32],
    group: usize,
}

impl Kernel for Cells<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (piece, group) = (self.output.len(), self.group);
        let dim = piece / group;
        let state = |cell: usize, head: usize| {
            let state = &self.partials[cell * self.apart + piece + 2 * head..][..2];
            Softmax {
                largest: state[0],
                sum: state[1],
            }
        };
        let mut softmax = [Softmax::EMPTY; LARGEST_GROUP];
        if self.count == 1 {
            self.output.copy_from_slice(&self.partials[..piece]);
            (0..group).for_each(|head| softmax[head] = state(0, head));
            return divide(self.output, &softmax[..group]);
        }
        self.output.fill(0.0);
        for (head, output) in self.output.chunks_exact_mut(dim).enumerate() {
            let largest = (0..self.count).map(|cell| state(cell, head).largest);
            let largest = largest.fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for cell in 0..self.count {
                let met = state(cell, head);
                let mut weight = [0.0; LANES];
                simd.store(exp(simd, simd.splat(met.largest - largest)), &mut weight);
                sum += met.sum * weight[0];
                let values = &self.partials[cell * self.apart + head * dim..][..dim];
                accumulate::<S, f32, 1>(simd, ([&weight[..1]], [1.0]), values, output);
            }
            softmax[head] = Softmax { largest, sum };
        }
        divide(self.output, &softmax[..group]);
    }
}

/// Of each head: the sum of the weighted values by the sum of the weights.
#[inline(always)]
fn divide(output: &mut [f32], softmax: &[Softmax]) {
    let dim = output.len() / softmax.len();
    for (output, softmax) in output.chunks_exact_mut(dim).zip(softmax) {
        for value in output {
            *value /= softmax.sum;
        }
    }
}
