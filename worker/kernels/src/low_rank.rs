//! What adapters add to products: `output[r] += scale · up (down input[r])`, where `down` has few
//! rows, and each row of a batch has an adapter of its own, or none.
//!
//! A row's result is a function of that row and its adapter alone. Rows of one adapter are
//! computed together, and all adapters of a batch at once: two rounds of the pool, however many
//! they are.
#![allow(
    unsafe_code,
    reason = "pieces add to their own rectangles of several outputs"
)]

mod expand;
mod panels;

use self::expand::{Expansion, Piece};
pub use self::panels::Panels;
use crate::matmul::{Product, matmul_each};
use crate::pool::Disjoint;
use crate::simd::dispatch;
use crate::{Cpu, Elements, Matrix};

/// Rows of one piece of work, and panels of outputs. As many as make a piece worth handing out
/// where the rank is small, few enough that one adapter's outputs are shared by threads.
const PIECE_ROWS: usize = 32;
const PIECE_PANELS: usize = 4;

/// What one adapter adds to one product.
#[derive(Clone, Copy, Debug)]
pub struct LowRank<'a> {
    /// One row for each of the adapter's dimensions.
    pub down: Matrix<'a>,
    pub up: Panels<'a>,
    pub scale: f32,
}

/// Rows of a batch that have the same adapter, and what it adds to each of `N` products of them.
#[derive(Clone, Debug)]
pub struct Share<'a, const N: usize> {
    /// In ascending order.
    pub rows: &'a [u32],
    pub adds: [Option<LowRank<'a>>; N],
}

/// Memory that is kept from pass to pass.
#[derive(Debug, Default)]
pub struct LowRankScratch {
    /// The rows of all shares, one share after the other.
    gathered: Vec<f32>,
    /// What `down` made of them, for each share and product.
    middle: Vec<f32>,
}

/// Adds to `outputs`, which are the products of the rows of `input`, what the shares' adapters say.
///
/// # Panics
/// Where the lengths do not fit together, or a row has two adapters.
pub fn add_low_rank<const N: usize>(
    cpu: &Cpu,
    (input, columns): (&[f32], usize),
    shares: &[Share<'_, N>],
    outputs: [&mut [f32]; N],
    scratch: &mut LowRankScratch,
) {
    let rows = input.len() / columns;
    check_rows(shares, rows);
    gather((input, columns), shares, &mut scratch.gathered);
    shrink(cpu, columns, shares, scratch);
    let mut middle = &scratch.middle[..];
    let targets = outputs.map(|output| (output.len().checked_div(rows).unwrap_or(0), output));
    let targets = targets.map(|(width, output)| (width, Disjoint::new(output)));
    let mut work = Work::default();
    for share in shares {
        for (low_rank, (width, target)) in share.adds.iter().zip(&targets) {
            let Some(low_rank) = low_rank else {
                continue;
            };
            assert_eq!(low_rank.up.outputs(), *width, "an adapter fits its product");
            let (own, rest) = middle.split_at(share.rows.len() * low_rank.down.rows());
            middle = rest;
            work.push(Expansion {
                rows: share.rows,
                middle: own,
                up: low_rank.up,
                target,
            });
        }
    }
    work.run(cpu);
}

/// That each is there, and in one share only: pieces add to rows without asking one another.
fn check_rows<const N: usize>(shares: &[Share<'_, N>], rows: usize) {
    let mut is_taken = vec![false; rows];
    for row in shares.iter().flat_map(|share| share.rows) {
        let taken = std::mem::replace(&mut is_taken[*row as usize], true);
        assert!(!taken, "a row has one adapter");
    }
}

fn gather<const N: usize>(
    (input, columns): (&[f32], usize),
    shares: &[Share<'_, N>],
    to: &mut Vec<f32>,
) {
    to.clear();
    for row in shares.iter().flat_map(|share| share.rows) {
        to.extend_from_slice(&input[*row as usize * columns..][..columns]);
    }
}

/// The products with `down`, scaled.
fn shrink<const N: usize>(
    cpu: &Cpu,
    columns: usize,
    shares: &[Share<'_, N>],
    scratch: &mut LowRankScratch,
) {
    let sizes = shares.iter().flat_map(|share| {
        let adds = share.adds.iter().flatten();
        adds.map(|low_rank| share.rows.len() * low_rank.down.rows())
    });
    scratch.middle.resize(sizes.sum(), 0.0);
    let (mut gathered, mut middle) = (&scratch.gathered[..], &mut scratch.middle[..]);
    let mut products = Vec::new();
    for share in shares {
        let input;
        (input, gathered) = gathered.split_at(share.rows.len() * columns);
        for low_rank in share.adds.iter().flatten() {
            let output;
            (output, middle) = middle.split_at_mut(share.rows.len() * low_rank.down.rows());
            let weight = low_rank.down;
            products.push(Product {
                input,
                weight,
                output,
            });
        }
    }
    matmul_each(cpu, products);
    let mut middle = &mut scratch.middle[..];
    for share in shares {
        for low_rank in share.adds.iter().flatten() {
            let own;
            (own, middle) = middle.split_at_mut(share.rows.len() * low_rank.down.rows());
            own.iter_mut().for_each(|number| *number *= low_rank.scale);
        }
    }
}

/// All that is to be added, in pieces.
#[derive(Default)]
struct Work<'a> {
    expansions: Vec<Expansion<'a>>,
    /// The first piece of each.
    firsts: Vec<usize>,
    pieces: usize,
    multiplications: usize,
}

impl<'a> Work<'a> {
    fn push(&mut self, expansion: Expansion<'a>) {
        let (rows, up) = (expansion.rows.len(), expansion.up);
        self.firsts.push(self.pieces);
        self.pieces += rows.div_ceil(PIECE_ROWS) * up.count().div_ceil(PIECE_PANELS);
        self.multiplications += rows * up.outputs() * up.rank();
        self.expansions.push(expansion);
    }

    fn run(&self, cpu: &Cpu) {
        let each = self.multiplications.checked_div(self.pieces).unwrap_or(0);
        cpu.pool().run((self.pieces, each), &|index| {
            let of = self.firsts.partition_point(|first| *first <= index) - 1;
            let expansion = &self.expansions[of];
            let across = expansion.up.count().div_ceil(PIECE_PANELS);
            let index = index - self.firsts[of];
            let (row, panel) = (index / across * PIECE_ROWS, index % across * PIECE_PANELS);
            let rows = row..expansion.rows.len().min(row + PIECE_ROWS);
            let panels = panel..expansion.up.count().min(panel + PIECE_PANELS);
            let at = (rows, panels);
            match expansion.up.elements() {
                Elements::F32(up) => dispatch(cpu.class(), Piece::new(expansion, up, at)),
                Elements::Bf16(up) => dispatch(cpu.class(), Piece::new(expansion, up, at)),
                Elements::F16(up) => dispatch(cpu.class(), Piece::new(expansion, up, at)),
            }
        });
    }
}
