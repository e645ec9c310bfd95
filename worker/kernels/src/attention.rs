//! Attention over paged keys and values.
//!
//! A query meets the positions of its sequence in runs of sixteen, with the softmax kept up as it
//! goes, and in cells of many runs, each with a softmax of its own; the cells are put together in
//! the order of positions. Both lie on a grid of absolute positions. So its result depends neither
//! on how the sequence was cut into chunks, nor on how many threads share its cells, nor on the
//! size of blocks, nor on where they lie.

mod cells;
mod meet;
mod products;
mod rows;
mod softmax;

use self::cells::Call;
pub use self::cells::Partials;
use crate::simd::LANES;
use crate::{Cpu, Elements};

/// The most query heads that may share one head of keys and values.
pub const LARGEST_GROUP: usize = 128;

/// Positions that meet a query at once: one vector of scores.
const RUN: usize = LANES;

/// Positions of a cell, which one thread meets. Long enough that what is put together is nothing
/// beside what is read: less than a percent; short enough that a head's keys and values stay in
/// the cache of a core for all rows of a prompt, and that a few thousand positions are shared by
/// many threads.
const CELL: usize = 512;

/// One layer's keys and values: `[block][key or value][head][token of the block][dimension]`.
#[derive(Clone, Copy, Debug)]
pub struct PagedCache<'a> {
    pub stored: Stored<'a>,
    /// Tokens of a block, a multiple of 16.
    pub block_tokens: usize,
    pub heads: usize,
    pub head_dim: usize,
}

/// How keys and values are stored.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// Each by itself.
    Plain(Elements<'a>),
    /// In rows of one head's dimensions, as [`round_row`](crate::e4m3::round_row) makes them.
    E4m3 {
        numbers: &'a [u8],
        /// Of each row.
        exponents: &'a [u8],
    },
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
/// share the heads of the cache in runs of equal length. `partials` is what cells are kept in until
/// they are put together; its memory is kept from call to call.
///
/// # Panics
/// Where the lengths do not fit together, a window is empty, or a block table is too short or
/// names no block.
pub fn attend(
    cpu: &Cpu,
    (queries, scores): (&[f32], Scores),
    rows: &[Query<'_>],
    cache: PagedCache<'_>,
    (output, partials): (&mut [f32], &mut Partials),
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
    let call = Call {
        cpu,
        group,
        queries,
        scores,
        rows,
        cache,
    };
    call.run(output, partials);
}
