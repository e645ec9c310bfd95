//! The heads of one token that share one head of keys and values meet some positions.

use std::ops::Range;

use super::cells::Call;
use super::products::{HEADS, accumulate, products, widen};
use super::rows::{Rows, Scaled};
use super::softmax::{Softmax, capped};
use super::{PagedCache, Query, RUN, Scores, Stored};
use crate::Elements;
use crate::simd::{Kernel, Simd, dispatch};

/// What is met, and where the outcome goes.
pub(super) struct Group<'a> {
    pub(super) queries: &'a [f32],
    pub(super) scores: Scores,
    pub(super) row: Query<'a>,
    pub(super) head: usize,
    pub(super) cache: PagedCache<'a>,
    /// Not empty; the first need not begin a run.
    pub(super) positions: Range<usize>,
    /// The sum of the values, each times its weight: of each head, one after the other.
    pub(super) output: &'a mut [f32],
    /// Of each head.
    pub(super) softmax: &'a mut [Softmax],
}

impl Group<'_> {
    pub(super) fn meet_all(self, call: &Call<'_>) {
        let class = call.cpu.class();
        match self.cache.stored {
            Stored::Plain(Elements::F32(rows)) => dispatch(class, (self, rows)),
            Stored::Plain(Elements::Bf16(rows)) => dispatch(class, (self, rows)),
            Stored::Plain(Elements::F16(rows)) => dispatch(class, (self, rows)),
            Stored::E4m3 { numbers, exponents } => {
                dispatch(class, (self, Scaled(numbers, exponents)));
            }
        }
    }
}

/// A part of a run of positions: their keys and values, and where in the run they are.
struct Met<'a, R: Rows<'a>> {
    rows: R,
    keys: &'a [R::Number],
    values: &'a [R::Number],
    part: Range<usize>,
    /// The rows with which the whole run's keys and values begin.
    firsts: (usize, usize),
}

impl<'a, R: Rows<'a>> Kernel for (Group<'_>, R) {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (mut group, rows) = self;
        let heads = group.queries.len() / group.cache.head_dim;
        let Range { start, end } = group.positions;
        group.output.fill(0.0);
        // Read once, and not by every round of heads.
        let mut wide = match R::ARE_DEAR && heads > HEADS {
            true => vec![0.0; 2 * RUN * group.cache.head_dim],
            false => Vec::new(),
        };
        for run in (start / RUN * RUN..end).step_by(RUN) {
            let met = group.met(rows, run);
            if run + RUN < end {
                group.met(rows, run + RUN).prefetch(simd);
            }
            match wide.is_empty() {
                true => group.meet_heads(simd, &met),
                false => group.meet_heads(simd, &met.widened(simd, &mut wide)),
            }
        }
    }
}

impl Group<'_> {
    /// What is met of the run that begins at a position.
    #[inline(always)]
    fn met<'a, R: Rows<'a>>(&self, rows: R, run: usize) -> Met<'a, R> {
        let part = self.positions.start.max(run) - run..RUN.min(self.positions.end - run);
        let firsts = place(&self.row, self.head, self.cache, run);
        let dim = self.cache.head_dim;
        let of = |first: usize| &rows.numbers()[(first + part.start) * dim..][..part.len() * dim];
        Met {
            rows,
            keys: of(firsts.0),
            values: of(firsts.1),
            part,
            firsts,
        }
    }

    /// Takes what is met into all heads of queries.
    #[inline(always)]
    fn meet_heads<'a, S: Simd, R: Rows<'a>>(&mut self, simd: S, met: &Met<'a, R>) {
        let heads = self.queries.len() / self.cache.head_dim;
        let mut head = 0;
        while head < heads {
            head += match heads - head {
                HEADS.. => self.meet::<S, R, HEADS>(simd, met, head),
                2.. => self.meet::<S, R, 2>(simd, met, head),
                _ => self.meet::<S, R, 1>(simd, met, head),
            };
        }
    }

    /// Takes what is met into `H` heads of queries, and says how many.
    #[inline(always)]
    fn meet<'a, S: Simd, R: Rows<'a>, const H: usize>(
        &mut self,
        simd: S,
        met: &Met<'a, R>,
        head: usize,
    ) -> usize {
        let dim = self.cache.head_dim;
        let heads = head * dim..(head + H) * dim;
        let keys = (met.keys, met.part.start);
        let mut products = products::<S, R::Number, H>(simd, &self.queries[heads.clone()], keys);
        let mut weights = [[0.0; RUN]; H];
        let mut shrinks = [0.0; H];
        for h in 0..H {
            met.rows.scale(met.firsts.0, &mut products[h]);
            let mut scores = products[h].map(|product| product * self.scores.scale);
            if let Some(cap) = self.scores.soft_cap {
                scores = capped(simd, &scores, cap);
            }
            (weights[h], shrinks[h]) = self.softmax[head + h].take(simd, scores, &met.part);
            met.rows.scale(met.firsts.1, &mut weights[h]);
        }
        let weights = weights.each_ref().map(|weights| &weights[met.part.clone()]);
        let output = &mut self.output[heads];
        accumulate::<S, R::Number, H>(simd, (weights, shrinks), met.values, output);
        H
    }
}

impl<'a, R: Rows<'a>> Met<'a, R> {
    /// The same in plain numbers, which are written to `wide`.
    #[inline(always)]
    fn widened<'w, S: Simd>(&self, simd: S, wide: &'w mut [f32]) -> Met<'w, &'w [f32]> {
        let (keys, values) = wide.split_at_mut(wide.len() / 2);
        let dim = keys.len() / RUN;
        for (numbers, first, wide) in [
            (self.keys, self.firsts.0, &mut *keys),
            (self.values, self.firsts.1, &mut *values),
        ] {
            let mut scales = [1.0; RUN];
            self.rows.scale(first, &mut scales);
            let scales = &scales[self.part.clone()];
            let rows = numbers.chunks_exact(dim).zip(wide.chunks_exact_mut(dim));
            for ((row, wide), scale) in rows.zip(scales) {
                widen(simd, row, simd.splat(*scale), wide);
            }
        }
        Met {
            rows: &[],
            keys: &keys[..self.keys.len()],
            values: &values[..self.values.len()],
            part: self.part.clone(),
            firsts: self.firsts,
        }
    }

    /// Asks for what will be met: the processor cannot know where its block lies.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S) {
        prefetch(simd, self.keys);
        prefetch(simd, self.values);
        self.rows.prefetch(simd, self.firsts.0);
        self.rows.prefetch(simd, self.firsts.1);
    }
}

#[inline(always)]
fn prefetch<S: Simd, T>(simd: S, elements: &[T]) {
    const LINE: usize = 64;
    let start = elements.as_ptr().cast::<u8>();
    for at in (0..size_of_val(elements)).step_by(LINE) {
        simd.prefetch(start.wrapping_add(at));
    }
}

/// The rows of the key and of the value of one position.
#[inline(always)]
fn place(row: &Query<'_>, head: usize, cache: PagedCache<'_>, position: usize) -> (usize, usize) {
    let PagedCache {
        block_tokens,
        heads,
        ..
    } = cache;
    let block = row.block_table[position / block_tokens] as usize;
    let key = (block * 2 * heads + head) * block_tokens + position % block_tokens;
    (key, key + heads * block_tokens)
}
