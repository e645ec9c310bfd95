//! The heads of one token that share one head of keys and values meet some positions.

use std::ops::Range;

use super::cells::Call;
use super::products::{HEADS, accumulate, products};
use super::softmax::{Softmax, capped};
use super::{PagedCache, Query, RUN, Scores};
use crate::Elements;
use crate::simd::{Element, Kernel, Simd, dispatch};

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
        match self.cache.elements {
            Elements::F32(elements) => dispatch(class, (self, elements)),
            Elements::Bf16(elements) => dispatch(class, (self, elements)),
            Elements::F16(elements) => dispatch(class, (self, elements)),
        }
    }
}

/// A part of a run of positions: their keys and values, and where in the run they are.
struct Met<'a, T> {
    keys: &'a [T],
    values: &'a [T],
    part: Range<usize>,
}

impl<T: Element> Kernel for (Group<'_>, &[T]) {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (mut group, elements) = self;
        let heads = group.queries.len() / group.cache.head_dim;
        let Range { start, end } = group.positions;
        group.output.fill(0.0);
        for run in (start / RUN * RUN..end).step_by(RUN) {
            let met = group.met(elements, run);
            if run + RUN < end {
                let next = group.met(elements, run + RUN);
                prefetch(simd, next.keys);
                prefetch(simd, next.values);
            }
            let mut head = 0;
            while head < heads {
                head += match heads - head {
                    HEADS.. => group.meet::<S, T, HEADS>(simd, &met, head),
                    2.. => group.meet::<S, T, 2>(simd, &met, head),
                    _ => group.meet::<S, T, 1>(simd, &met, head),
                };
            }
        }
    }
}

impl Group<'_> {
    /// What is met of the run that begins at a position.
    #[inline(always)]
    fn met<'a, T>(&self, elements: &'a [T], run: usize) -> Met<'a, T> {
        let part = self.positions.start.max(run) - run..RUN.min(self.positions.end - run);
        let (keys, values) = place(&self.row, self.head, self.cache, run + part.start);
        let length = part.len() * self.cache.head_dim;
        Met {
            keys: &elements[keys..][..length],
            values: &elements[values..][..length],
            part,
        }
    }

    /// Takes what is met into `H` heads of queries, and says how many.
    #[inline(always)]
    fn meet<S: Simd, T: Element, const H: usize>(
        &mut self,
        simd: S,
        met: &Met<'_, T>,
        head: usize,
    ) -> usize {
        let dim = self.cache.head_dim;
        let heads = head * dim..(head + H) * dim;
        let keys = (met.keys, met.part.start);
        let products = products::<S, T, H>(simd, &self.queries[heads.clone()], keys);
        let mut weights = [[0.0; RUN]; H];
        let mut shrinks = [0.0; H];
        for h in 0..H {
            let mut scores = products[h].map(|product| product * self.scores.scale);
            if let Some(cap) = self.scores.soft_cap {
                scores = capped(simd, &scores, cap);
            }
            (weights[h], shrinks[h]) = self.softmax[head + h].take(simd, scores, &met.part);
        }
        let weights = weights.each_ref().map(|weights| &weights[met.part.clone()]);
        let output = &mut self.output[heads];
        accumulate::<S, T, H>(simd, (weights, shrinks), met.values, output);
        H
    }
}

/// Asks for what the next run meets: the processor cannot know where its block lies.
#[inline(always)]
fn prefetch<S: Simd, T>(simd: S, elements: &[T]) {
    const LINE: usize = 64;
    let start = elements.as_ptr().cast::<u8>();
    for at in (0..size_of_val(elements)).step_by(LINE) {
        simd.prefetch(start.wrapping_add(at));
    }
}

/// Where the key and where the value of one position begin.
#[inline(always)]
fn place(row: &Query<'_>, head: usize, cache: PagedCache<'_>, position: usize) -> (usize, usize) {
    let PagedCache {
        block_tokens,
        heads,
        head_dim,
        ..
    } = cache;
    let block = row.block_table[position / block_tokens] as usize;
    let whole_head = block_tokens * head_dim;
    let key = (block * 2 * heads + head) * whole_head + position % block_tokens * head_dim;
    (key, key + heads * whole_head)
}
