//! Products of different rows with different weights, shared out together: a few rows each are
//! not worth waking other threads for, and all of them may be.

use super::Matrix;
use super::piece::Cut;
use crate::pool::Disjoint;
use crate::simd::dispatch;
use crate::{Cpu, Elements};

/// One product among several.
pub(crate) struct Product<'a> {
    pub(crate) input: &'a [f32],
    pub(crate) weight: Matrix<'a>,
    pub(crate) output: &'a mut [f32],
}

/// A product that is shared out.
struct Shared<'a> {
    input: &'a [f32],
    weight: Matrix<'a>,
    target: Disjoint<'a, f32>,
    cut: Cut,
    /// The first of its pieces among those of all products.
    first: usize,
}

/// Each row meets its weight in f32, also on processors that multiply numbers in bf16.
///
/// # Panics
/// Where the lengths do not fit together.
pub(crate) fn matmul_each(cpu: &Cpu, products: Vec<Product<'_>>) {
    let (mut pieces, mut multiplications) = (0, 0);
    let mut shared = Vec::with_capacity(products.len());
    for product in products {
        let Product {
            input,
            weight,
            output,
        } = product;
        let lengths = (input.len(), weight.elements.len());
        let cut = Cut::new(lengths, weight.columns, output.len());
        shared.push(Shared {
            input,
            weight,
            target: Disjoint::new(output),
            cut,
            first: pieces,
        });
        pieces += cut.pieces();
        multiplications += cut.multiplications();
    }
    let each = multiplications.checked_div(pieces).unwrap_or(0);
    cpu.pool().run((pieces, each), &|index| {
        let of = shared.partition_point(|shared| shared.first <= index) - 1;
        shared[of].compute(cpu, index - shared[of].first);
    });
}

impl Shared<'_> {
    fn compute(&self, cpu: &Cpu, piece: usize) {
        let (class, cut, target) = (cpu.class(), self.cut, &self.target);
        match self.weight.elements {
            Elements::F32(values) => {
                dispatch(class, cut.piece(piece, (self.input, values), target))
            }
            Elements::Bf16(values) => {
                dispatch(class, cut.piece(piece, (self.input, values), target));
            }
            Elements::F16(values) => {
                dispatch(class, cut.piece(piece, (self.input, values), target))
            }
        }
    }
}
