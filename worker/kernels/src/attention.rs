//! Attention over paged keys and values.
//!
//! A query meets the positions of its sequence in runs of sixteen, on a grid of absolute
//! positions, with the softmax kept up as it goes. So its result depends neither on how the
//! sequence was cut into chunks, nor on the size of blocks, nor on where they lie.

use std::ops::Range;

use crate::exp::{exp, tanh};
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
    /// It meets positions 0 to its own, or those within the window, which must have been written.
    pub position: usize,
    /// Entries of blocks that lie wholly before the window are not looked at.
    pub block_table: &'a [u32],
}

/// How a layer scores keys, and which it looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// What products of queries and keys are multiplied by.
    pub scale: f32,
    /// With a cap, a scaled score s becomes cap · tanh(s / cap).
    pub soft_cap: Option<f32>,
    /// How many positions a query meets at most, its own the last of them.
    pub window: Option<usize>,
}

impl Scores {
    /// Neither capped nor windowed.
    pub fn scaled(scale: f32) -> Self {
        Self {
            scale,
            soft_cap: None,
            window: None,
        }
    }

    /// The first position that a query at `position` meets.
    fn first(&self, position: usize) -> usize {
        let window = self.window.unwrap_or(usize::MAX);
        (position + 1).saturating_sub(window)
    }
}

/// Causal attention of each row of `queries` (all heads of one token) to its sequence. Query heads
/// share the heads of the cache in runs of equal length.
///
/// # Panics
/// Where the lengths do not fit together, a window is empty, or a block table is too short or
/// names no block.
pub fn attend(
    cpu: &Cpu,
    (queries, scores): (&[f32], Scores),
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
    assert!(
        scores.window != Some(0),
        "a query meets its own position at least"
    );
    let piece = group * cache.head_dim;
    let positions: usize = rows
        .iter()
        .map(|row| row.position + 1 - scores.first(row.position))
        .sum();
    let each = 2 * piece * positions / rows.len();
    cpu.pool()
        .run_chunks(output, (piece, each), |index, output| {
            let group = Group {
                queries: &queries[index * piece..][..piece],
                scores,
                row: rows[index / cache.heads],
                head: index % cache.heads,
                cache,
                output,
            };
            match cache.elements {
                Elements::F32(elements) => dispatch(cpu.class(), (group, elements)),
                Elements::Bf16(elements) => dispatch(cpu.class(), (group, elements)),
                Elements::F16(elements) => dispatch(cpu.class(), (group, elements)),
            }
        });
}

/// The query heads of one token that share one head of keys and values.
struct Group<'a> {
    queries: &'a [f32],
    scores: Scores,
    row: Query<'a>,
    head: usize,
    cache: PagedCache<'a>,
    output: &'a mut [f32],
}

/// The softmax so far: the largest score, and the sum of e^(score - largest).
#[derive(Clone, Copy)]
struct Softmax {
    largest: f32,
    sum: f32,
}

impl<T: Element> Kernel for (Group<'_>, &[T]) {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (group, elements) = self;
        let Group {
            row, scores, cache, ..
        } = group;
        let dim = cache.head_dim;
        let mut softmax = [Softmax {
            largest: f32::NEG_INFINITY,
            sum: 0.0,
        }; LARGEST_GROUP];
        group.output.fill(0.0);
        let first = scores.first(row.position);
        let mut run = first / RUN * RUN;
        while run <= row.position {
            // The part of the run that the query meets.
            let met = first.max(run) - run..RUN.min(row.position + 1 - run);
            let (keys, values) = place(&row, group.head, cache, run + met.start);
            let length = met.len() * dim;
            let (keys, values) = (&elements[keys..][..length], &elements[values..][..length]);
            let heads = group
                .queries
                .chunks_exact(dim)
                .zip(group.output.chunks_exact_mut(dim));
            for ((query, output), softmax) in heads.zip(&mut softmax) {
                let mut products = [0.0; RUN];
                for (product, key) in products[met.clone()].iter_mut().zip(keys.chunks_exact(dim)) {
                    *product = dot(simd, query, key) * scores.scale;
                }
                if let Some(cap) = scores.soft_cap {
                    products = capped(simd, &products, cap);
                }
                let (weights, shrink) = softmax.take(simd, products, &met);
                accumulate(simd, &weights[met.clone()], values, (output, shrink));
            }
            run += RUN;
        }
        for (output, softmax) in group.output.chunks_exact_mut(dim).zip(&softmax) {
            for value in output {
                *value /= softmax.sum;
            }
        }
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

#[inline(always)]
fn capped<S: Simd>(simd: S, scores: &[f32; RUN], cap: f32) -> [f32; RUN] {
    let cap = simd.splat(cap);
    let lanes = simd.mul(tanh(simd, simd.div(simd.load(scores), cap)), cap);
    let mut stored = [0.0; RUN];
    simd.store(lanes, &mut stored);
    stored
}

impl Softmax {
    /// Takes in the scores of a run, of which the query meets a part: their weights, nothing
    /// outside that part, and what everything before must be multiplied by.
    #[inline(always)]
    fn take<S: Simd>(
        &mut self,
        simd: S,
        mut scores: [f32; RUN],
        met: &Range<usize>,
    ) -> ([f32; RUN], f32) {
        let whole = met.len() == RUN;
        if !whole {
            keep(&mut scores, met, f32::NEG_INFINITY);
        }
        let lanes = simd.load(&scores);
        let largest = self.largest.max(simd.largest(lanes));
        let mut weights = [0.0; RUN];
        simd.store(
            exp(simd, simd.sub(lanes, simd.splat(largest))),
            &mut weights,
        );
        if !whole {
            // e to the power of negative infinity is a little more than nothing here.
            keep(&mut weights, met, 0.0);
        }
        let mut shrink = [0.0; RUN];
        simd.store(exp(simd, simd.splat(self.largest - largest)), &mut shrink);
        self.sum = self.sum * shrink[0] + simd.sum(simd.load(&weights));
        self.largest = largest;
        (weights, shrink[0])
    }
}

/// Puts `other` in the place of every number outside `part`.
#[inline(always)]
fn keep(numbers: &mut [f32; RUN], part: &Range<usize>, other: f32) {
    for (index, number) in numbers.iter_mut().enumerate() {
        if !part.contains(&index) {
            *number = other;
        }
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
