//! The product of rows with weights as they are stored.

mod each;
mod narrowed;
mod piece;

pub(crate) use self::each::{Product, matmul_each};
pub use self::narrowed::NarrowedRows;
use self::piece::share_out;
use crate::simd::{dispatch, dispatch_pairs};
use crate::{Cpu, Elements};

/// A weight as it is stored: one row of `columns` numbers per output.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    elements: Elements<'a>,
    columns: usize,
}

impl<'a> Matrix<'a> {
    /// # Panics
    /// Where the elements are not whole rows.
    pub fn new(elements: Elements<'a>, columns: usize) -> Self {
        assert!(
            columns > 0 && elements.len().is_multiple_of(columns),
            "a matrix is whole rows"
        );
        Self { elements, columns }
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One per output.
    pub fn rows(&self) -> usize {
        self.elements.len() / self.columns
    }

    /// Writes one row as f32.
    ///
    /// # Panics
    /// Where there is no such row, or `to` has another length.
    pub fn copy_row(&self, row: usize, to: &mut [f32]) {
        let range = row * self.columns..(row + 1) * self.columns;
        match self.elements {
            Elements::F32(values) => to.copy_from_slice(&values[range]),
            Elements::Bf16(values) => widen(&values[range], to, |value| value.to_f32()),
            Elements::F16(values) => widen(&values[range], to, |value| value.to_f32()),
        }
    }
}

fn widen<T: Copy>(from: &[T], to: &mut [f32], wide: impl Fn(T) -> f32) {
    assert_eq!(to.len(), from.len(), "a row has one number per column");
    for (to, value) in to.iter_mut().zip(from) {
        *to = wide(*value);
    }
}

/// `output[r][o] = Σ input[r][k] · weight[o][k]`: rows of `weight.columns()` in, rows of
/// `weight.rows()` out.
///
/// # Panics
/// Where the lengths do not fit together.
pub fn matmul(cpu: &Cpu, input: &[f32], weight: Matrix<'_>, output: &mut [f32]) {
    let mut narrowed = NarrowedRows::new();
    matmul_many(cpu, (input, &mut narrowed), &mut [(weight, output)]);
}

/// The products of the same rows with several weights. `narrowed` is where they are rounded for
/// weights in bf16, on processors that multiply such numbers.
///
/// # Panics
/// Where the lengths do not fit together.
pub fn matmul_many(
    cpu: &Cpu,
    (input, narrowed): (&[f32], &mut NarrowedRows),
    products: &mut [(Matrix<'_>, &mut [f32])],
) {
    let class = cpu.class();
    let is_paired =
        |weight: &Matrix<'_>| class.pairs() && matches!(weight.elements, Elements::Bf16(_));
    if products.iter().any(|(weight, _)| is_paired(weight)) {
        narrowed.set(cpu, input);
    }
    for (weight, output) in products {
        let columns = weight.columns;
        match weight.elements {
            Elements::F32(values) => share_out(cpu, (input, values), columns, output, &|piece| {
                dispatch(class, piece);
            }),
            Elements::F16(values) => share_out(cpu, (input, values), columns, output, &|piece| {
                dispatch(class, piece);
            }),
            Elements::Bf16(values) if is_paired(weight) => {
                let input = narrowed.numbers();
                share_out(cpu, (input, values), columns, output, &|piece| {
                    dispatch_pairs(class, piece);
                });
            }
            Elements::Bf16(values) => share_out(cpu, (input, values), columns, output, &|piece| {
                dispatch(class, piece);
            }),
        }
    }
}
