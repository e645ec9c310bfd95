//! The product of packed rows with a weight.
//!
//! Each output has one accumulator of sixteen lanes that walks over k in order, in every tile
//! shape; that is all there is to batch invariance. Tiles differ only in how many accumulators
//! are in flight.
#![allow(
    unsafe_code,
    reason = "pieces write their own rectangles of one output, and read without a check per load"
)]

use crate::pool::Disjoint;
use crate::simd::{Element, Kernel, LANES, Simd, dispatch, padded};
use crate::{Cpu, Elements, KernelClass};

/// Outputs and rows of one piece of work. Few enough that rows of an 8k model stay in the second
/// level cache while the outputs' weights stream by, enough that handing a piece out costs nothing.
const PIECE_OUTPUTS: usize = 32;
const PIECE_ROWS: usize = 64;

/// Bytes of a line of the processor's caches.
const LINE: usize = 64;
/// How many bytes ahead in each row of a weight lines are asked for: the processor does not see
/// by itself that eight short streams go on behind one another.
const AHEAD: usize = 1024;

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
    match weight.elements {
        Elements::F32(values) => product(cpu, input, (values, weight.columns), output),
        Elements::Bf16(values) => product(cpu, input, (values, weight.columns), output),
        Elements::F16(values) => product(cpu, input, (values, weight.columns), output),
    }
}

fn product<T: Element>(
    cpu: &Cpu,
    input: &[f32],
    (weight, columns): (&[T], usize),
    output: &mut [f32],
) {
    let outputs = weight.len() / columns;
    let rows = input.len() / columns;
    assert!(
        input.len() == rows * columns && output.len() == rows * outputs,
        "{} inputs of rows of {columns} give {} outputs of rows of {outputs}",
        input.len(),
        output.len()
    );
    let across = outputs.div_ceil(PIECE_OUTPUTS);
    let down = rows.div_ceil(PIECE_ROWS);
    let target = Disjoint::new(output);
    let piece = |index: usize| {
        let (down, across) = (index / across, index % across);
        Piece {
            input,
            weight,
            columns,
            rows: (down * PIECE_ROWS, rows.min((down + 1) * PIECE_ROWS)),
            outputs: (
                across * PIECE_OUTPUTS,
                outputs.min((across + 1) * PIECE_OUTPUTS),
            ),
            stride: outputs,
            target: &target,
        }
        .compute(cpu.class());
    };
    let pieces = across * down;
    let each = (rows * weight.len()).checked_div(pieces).unwrap_or(0);
    cpu.pool().run((pieces, each), &piece);
}

/// A rectangle of the output: `rows` and `outputs` are first and end.
struct Piece<'a, T> {
    input: &'a [f32],
    weight: &'a [T],
    columns: usize,
    rows: (usize, usize),
    outputs: (usize, usize),
    stride: usize,
    target: &'a Disjoint<'a, f32>,
}

impl<T: Element> Piece<'_, T> {
    fn compute(self, class: KernelClass) {
        dispatch(class, self);
    }

    /// Computes `R` rows by `O` outputs.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const O: usize>(&self, simd: S, row: usize, output: usize) {
        let steps = self.columns / LANES;
        let inputs: [&[f32]; R] =
            std::array::from_fn(|r| &self.input[(row + r) * self.columns..][..self.columns]);
        let weights: [&[T]; O] =
            std::array::from_fn(|o| &self.weight[(output + o) * self.columns..][..self.columns]);

        let mut sums = [[simd.splat(0.0); O]; R];
        let mut lanes = [simd.splat(0.0); O];
        for step in 0..steps {
            if row == self.rows.0 {
                self.prefetch(simd, &weights, step);
            }
            for o in 0..O {
                lanes[o] = T::load(simd, nth(weights[o], step));
            }
            for r in 0..R {
                let input = simd.load(nth(inputs[r], step));
                for o in 0..O {
                    sums[r][o] = simd.fma(input, lanes[o], sums[r][o]);
                }
            }
        }
        if steps * LANES < self.columns {
            for o in 0..O {
                lanes[o] = T::load(simd, &padded(&weights[o][steps * LANES..]));
            }
            for r in 0..R {
                let input = simd.load(&padded(&inputs[r][steps * LANES..]));
                for o in 0..O {
                    sums[r][o] = simd.fma(input, lanes[o], sums[r][o]);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            // SAFETY: rectangles of different pieces do not overlap, nor do tiles of one piece.
            let target = unsafe { self.target.run((row + r) * self.stride + output, O) };
            for (to, sum) in target.iter_mut().zip(sums) {
                *to = simd.sum(sum);
            }
        }
    }

    /// Asks for what will be met a little later: further on in these rows of the weight or, near
    /// their end, at the beginning of the rows after them.
    #[inline(always)]
    fn prefetch<S: Simd, const O: usize>(&self, simd: S, weights: &[&[T]; O], step: usize) {
        if !step.is_multiple_of(const { LINE / size_of::<[T; LANES]>() }) {
            return;
        }
        let mut ahead = step * LANES + const { AHEAD / size_of::<T>() };
        if ahead >= self.columns {
            ahead += (O - 1) * self.columns;
        }
        for weight in weights {
            simd.prefetch(weight.as_ptr().wrapping_add(ahead).cast());
        }
    }

    /// Computes `O` outputs for every row of the piece.
    #[inline(always)]
    fn column<S: Simd, const O: usize>(&self, simd: S, output: usize) {
        let (mut row, end) = self.rows;
        if S::LARGE_TILE {
            while row + 4 <= end {
                self.tile::<S, 4, O>(simd, row, output);
                row += 4;
            }
        }
        while row + 2 <= end {
            self.tile::<S, 2, O>(simd, row, output);
            row += 2;
        }
        if row < end {
            self.tile::<S, 1, O>(simd, row, output);
        }
    }
}

/// The `step`th run of sixteen, of a row that is known to have that many.
#[inline(always)]
fn nth<T>(row: &[T], step: usize) -> &[T; LANES] {
    // SAFETY: `tile` counts steps by the length of the row. Checked here, every load would be
    // followed by a branch, and the sums would live on the stack.
    unsafe { &*row.as_ptr().add(step * LANES).cast() }
}

impl<T: Element> Kernel for Piece<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (mut output, end) = self.outputs;
        // One row is a walk over memory: many rows of weights at once keep more loads in flight.
        if self.rows.1 - self.rows.0 == 1 {
            while output + 8 <= end {
                self.tile::<S, 1, 8>(simd, self.rows.0, output);
                output += 8;
            }
        }
        while output + 4 <= end {
            self.column::<S, 4>(simd, output);
            output += 4;
        }
        while output < end {
            self.column::<S, 1>(simd, output);
            output += 1;
        }
    }
}
