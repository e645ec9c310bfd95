//! Attention over paged keys and values.
//!
//! A query meets the positions of its sequence in runs of sixteen, on a grid of absolute
//! positions, with the softmax kept up as it goes. So its result depends neither on how the
//! sequence was cut into chunks, nor on the size of blocks, nor on where they lie.

use crate::exp::exp;
use crate::simd::{Element, Kernel, LANES, Simd, dispatch, padded};
use crate::{Cpu, Elements};

/// The most query heads that may share one head of keys and values.
pub const LARGEST_GROUP: usize = 128;

/// Positions that meet a query at once: one vector of scores.
const RUN: usize = LANES;

/// One layer's keys and values: `[block][key or value][head][token of the block][dimension]`.
#[derive(Clone, Copy, Debug)]
pub struct PagedCache<'a> {
    pub elements: Elements<'a>,
    /// Tokens of a block, a multiple of 16.
    pub block_tokens: usize,
    pub heads: usize,
    pub head_dim: usize,
}

/// One row of queries: a token, and where to find its sequence.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// It meets positions 0 to its own, which must have been written.
    pub position: usize,
    pub block_table: &'a [u32],
}

/// Causal attention of each row of `queries` (all heads of one token) to its sequence; scores are
/// multiplied by `scale`. Query heads share the heads of the cache in runs of equal length.
///
/// # Panics
/// Where the lengths do not fit together, or a block table is too short or names no block.
pub fn attend(
    cpu: &Cpu,
    (queries, scale): (&[f32], f32),
    rows: &[Query<'_>],
    cache: PagedCache<'_>,
    output: &mut [f32],
) {
    if rows.is_empty() {
        return;
    }
    let width = queries.len() / rows.len();
    let group = width / (cache.heads * cache.head_dim);
    assert_eq!(queries.len(), output.len(), "each query has one output");
    assert_eq!(
        queries.len(),
        rows.len() * group * cache.heads * cache.head_dim,
        "rows of queries are whole groups of heads"
    );
    assert!(
        (1..=LARGEST_GROUP).contains(&group),
        "query heads share heads of the cache"
    );
    assert!(
        cache.block_tokens.is_multiple_of(RUN),
        "a run lies within one block"
    );
    let piece = group * cache.head_dim;
    let positions: usize = rows.iter().map(|row| row.position + 1).sum();
    let each = 2 * piece * positions / rows.len();
    cpu.pool()
        .run_chunks(output, (piece, each), |index, output| {
            let queries = &queries[index * piece..][..piece];
            let row = rows[index / cache.heads];
            let head = index % cache.heads;
            match cache.elements {
                Elements::F32(elements) => dispatch(
                    cpu.class(),
                    Group {
                        queries,
                        scale,
                        row,
                        head,
                        cache,
                        elements,
                        output,
                    },
                ),
                Elements::Bf16(elements) => dispatch(
                    cpu.class(),
                    Group {
                        queries,
                        scale,
                        row,
                        head,
                        cache,
                        elements,
                        output,
                    },
                ),
            }
        });
}

/// The query heads of one token that share one head of keys and values.
struct Group<'a, T> {
    queries: &'a [f32],
    scale: f32,
    row: Query<'a>,
    head: usize,
    cache: PagedCache<'a>,
    elements: &'a [T],
    output: &'a mut [f32],
}

/// The softmax so far: the largest score, and the sum of e^(score - largest).
#[derive(Clone, Copy)]
struct Softmax {
    largest: f32,
    sum: f32,
}

impl<T: Element> Kernel for Group<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let dim = self.cache.head_dim;
        let mut softmax = [Softmax {
            largest: f32::NEG_INFINITY,
            sum: 0.0,
        }; LARGEST_GROUP];
        self.output.fill(0.0);
        let mut first = 0;
        while first <= self.row.position {
            let count = RUN.min(self.row.position + 1 - first);
            let (keys, values) = self.run_at(first, count);
            let heads = self
                .queries
                .chunks_exact(dim)
                .zip(self.output.chunks_exact_mut(dim));
            for ((query, output), softmax) in heads.zip(&mut softmax) {
                let mut scores = [f32::NEG_INFINITY; RUN];
                for (score, key) in scores.iter_mut().zip(keys.chunks_exact(dim)) {
                    *score = dot(simd, query, key) * self.scale;
                }
                let (weights, shrink) = softmax.take(simd, &scores);
                accumulate(simd, &weights[..count], values, (output, shrink));
            }
            first += RUN;
        }
        for (output, softmax) in self.output.chunks_exact_mut(dim).zip(&softmax) {
            for value in output {
                *value /= softmax.sum;
            }
        }
    }
}

impl<'a, T> Group<'a, T> {
    /// The keys and the values of `count` positions from `first` on.
    #[inline(always)]
    fn run_at(&self, first: usize, count: usize) -> (&'a [T], &'a [T]) {
        let PagedCache {
            block_tokens,
            heads,
            head_dim,
            ..
        } = self.cache;
        let block = self.row.block_table[first / block_tokens] as usize;
        let head = block_tokens * head_dim;
        let start = (block * 2 * heads + self.head) * head + first % block_tokens * head_dim;
        let length = count * head_dim;
        (
            &self.elements[start..][..length],
            &self.elements[start + heads * head..][..length],
        )
    }
}

impl Softmax {
    /// Takes in a run of scores: their weights, and what everything before must be multiplied by.
    #[inline(always)]
    fn take<S: Simd>(&mut self, simd: S, scores: &[f32; RUN]) -> ([f32; RUN], f32) {
        let lanes = simd.load(scores);
        let largest = self.largest.max(simd.largest(lanes));
        let weights = exp(simd, simd.sub(lanes, simd.splat(largest)));
        let mut shrink = [0.0; RUN];
        simd.store(exp(simd, simd.splat(self.largest - largest)), &mut shrink);
        self.sum = self.sum * shrink[0] + simd.sum(weights);
        self.largest = largest;
        let mut stored = [0.0; RUN];
        simd.store(weights, &mut stored);
        (stored, shrink[0])
    }
}

#[inline(always)]
fn dot<S: Simd, T: Element>(simd: S, a: &[f32], b: &[T]) -> f32 {
    let (a_steps, a_tail) = a.as_chunks::<LANES>();
    let (b_steps, b_tail) = b.as_chunks::<LANES>();
    let mut sum = simd.splat(0.0);
    for (a, b) in a_steps.iter().zip(b_steps) {
        sum = simd.fma(simd.load(a), T::load(simd, b), sum);
    }
    if !a_tail.is_empty() {
        sum = simd.fma(
            simd.load(&padded(a_tail)),
            T::load(simd, &padded(b_tail)),
            sum,
        );
    }
    simd.sum(sum)
}

/// `output = output · shrink + Σ weights[j] · values[j]`, in order of j.
#[inline(always)]
fn accumulate<S: Simd, T: Element>(
    simd: S,
    weights: &[f32],
    values: &[T],
    (output, shrink): (&mut [f32], f32),
) {
    let dim = output.len();
    let (steps, tail) = output.as_chunks_mut::<LANES>();
    for (step, output) in steps.iter_mut().enumerate() {
        let mut sum = simd.mul(simd.load(output), simd.splat(shrink));
        for (weight, value) in weights.iter().zip(values.chunks_exact(dim)) {
            let lanes = &value.as_chunks::<LANES>().0[step];
            sum = simd.fma(simd.splat(*weight), T::load(simd, lanes), sum);
        }
        simd.store(sum, output);
    }
    if !tail.is_empty() {
        let start = dim - tail.len();
        let mut sum = simd.mul(simd.load(&padded(tail)), simd.splat(shrink));
        for (weight, value) in weights.iter().zip(values.chunks_exact(dim)) {
            sum = simd.fma(
                simd.splat(*weight),
                T::load(simd, &padded(&value[start..])),
                sum,
            );
        }
        let mut lanes = [0.0; LANES];
        simd.store(sum, &mut lanes);
        tail.copy_from_slice(&lanes[..tail.len()]);
    }
}
