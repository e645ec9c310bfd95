//! Attention over paged keys and values.
//!
//! A query meets the positions of its sequence in runs of sixteen, on a grid of absolute
//! positions, with the softmax kept up as it goes. So its result depends neither on how the
//! sequence was cut into chunks, nor on the size of blocks, nor on where they lie.

mod products;
mod softmax;

use std::ops::Range;

use self::products::{HEADS, accumulate, products};
use self::softmax::{Softmax, capped};
use crate::simd::{Element, Kernel, LANES, Simd, dispatch};
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
        let (dim, position) = (group.cache.head_dim, group.row.position);
        let heads = group.queries.len() / dim;
        let mut softmax = [Softmax::EMPTY; LARGEST_GROUP];
        group.output.fill(0.0);
        let first = group.scores.first(position);
        let mut run = first / RUN * RUN;
        while run <= position {
            let met = group.met(elements, run, first);
            if run + RUN <= position {
                let next = group.met(elements, run + RUN, first);
                prefetch(simd, next.keys);
                prefetch(simd, next.values);
            }
            let mut head = 0;
            while head < heads {
                head += match heads - head {
                    HEADS.. => group.meet::<S, T, HEADS>(simd, &met, &mut softmax, head),
                    2.. => group.meet::<S, T, 2>(simd, &met, &mut softmax, head),
                    _ => group.meet::<S, T, 1>(simd, &met, &mut softmax, head),
                };
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

impl Group<'_> {
    /// What the query meets of the run that begins at a position.
    #[inline(always)]
    fn met<'a, T>(&self, elements: &'a [T], run: usize, first: usize) -> Met<'a, T> {
        let part = first.max(run) - run..RUN.min(self.row.position + 1 - run);
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
        softmax: &mut [Softmax; LARGEST_GROUP],
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
            (weights[h], shrinks[h]) = softmax[head + h].take(simd, scores, &met.part);
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
