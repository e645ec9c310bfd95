//! A rectangle of a product.
//!
//! Each output has one accumulator of sixteen lanes that walks over k in order, in every tile
//! shape; that is all there is to batch invariance. Tiles differ only in how many accumulators
//! are in flight.
#![allow(
    unsafe_code,
    reason = "pieces write their own rectangles of one output, and read without a check per load"
)]

use half::bf16;

use crate::Cpu;
use crate::pool::Disjoint;
use crate::simd::{Element, Kernel, LANES, PAIRS, PairKernel, Pairs, Simd, padded};

/// Outputs and rows of one piece of work. Few enough that rows of an 8k model stay in the second
/// level cache while the outputs' weights stream by, enough that handing a piece out costs nothing.
const PIECE_OUTPUTS: usize = 32;
const PIECE_ROWS: usize = 96;

/// Bytes of a line of the processor's caches.
const LINE: usize = 64;
/// How many bytes ahead in each row of a weight lines are asked for: the processor does not see
/// by itself that eight short streams go on behind one another.
const AHEAD: usize = 1024;

/// Hands out the rectangles of a product to `compute`.
pub(super) fn share_out<I: Element, T: Element>(
    cpu: &Cpu,
    (input, weight): (&[I], &[T]),
    columns: usize,
    output: &mut [f32],
    compute: &(dyn Fn(Piece<'_, I, T>) + Sync),
) {
    let cut = Cut::new((input.len(), weight.len()), columns, output.len());
    let target = Disjoint::new(output);
    cpu.pool().run((cut.pieces(), cut.each()), &|index| {
        compute(cut.piece(index, (input, weight), &target));
    });
}

/// How a product is cut into rectangles.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    columns: usize,
    rows: usize,
    outputs: usize,
}

impl Cut {
    /// # Panics
    /// Where the lengths of input, weight and output do not fit together.
    pub(super) fn new((input, weight): (usize, usize), columns: usize, output: usize) -> Self {
        let (rows, outputs) = (input / columns, weight / columns);
        assert!(
            input == rows * columns && output == rows * outputs,
            "{input} inputs of rows of {columns} give {output} outputs of rows of {outputs}"
        );
        Self {
            columns,
            rows,
            outputs,
        }
    }

    fn across(self) -> usize {
        self.outputs.div_ceil(PIECE_OUTPUTS)
    }

    pub(super) fn pieces(self) -> usize {
        self.across() * self.rows.div_ceil(PIECE_ROWS)
    }

    /// How many multiplications a piece is.
    fn each(self) -> usize {
        let pieces = self.pieces();
        self.multiplications().checked_div(pieces).unwrap_or(0)
    }

    /// How many multiplications all pieces are.
    pub(super) fn multiplications(self) -> usize {
        self.rows * self.outputs * self.columns
    }

    pub(super) fn piece<'a, I, T>(
        self,
        index: usize,
        (input, weight): (&'a [I], &'a [T]),
        target: &'a Disjoint<'a, f32>,
    ) -> Piece<'a, I, T> {
        let (down, across) = (index / self.across(), index % self.across());
        Piece {
            input,
            weight,
            columns: self.columns,
            rows: (down * PIECE_ROWS, self.rows.min((down + 1) * PIECE_ROWS)),
            outputs: (
                across * PIECE_OUTPUTS,
                self.outputs.min((across + 1) * PIECE_OUTPUTS),
            ),
            stride: self.outputs,
            target,
        }
    }
}

/// A rectangle of the output: `rows` and `outputs` are first and end.
pub(super) struct Piece<'a, I, T> {
    input: &'a [I],
    weight: &'a [T],
    columns: usize,
    rows: (usize, usize),
    outputs: (usize, usize),
    stride: usize,
    target: &'a Disjoint<'a, f32>,
}

/// How a run of `RUN` inputs meets as many weights.
trait Meet<S: Simd, I, T, const RUN: usize>: Copy {
    type Input: Copy;
    type Weight: Copy;

    fn input(self, simd: S, from: &[I; RUN]) -> Self::Input;
    fn weight(self, simd: S, from: &[T; RUN]) -> Self::Weight;
    fn add(self, simd: S, sum: S::Vector, input: Self::Input, weight: Self::Weight) -> S::Vector;
}

/// As numbers in f32, one for each lane.
#[derive(Clone, Copy)]
struct Wide;

impl<S: Simd, T: Element> Meet<S, f32, T, LANES> for Wide {
    type Input = S::Vector;
    type Weight = S::Vector;

    #[inline(always)]
    fn input(self, simd: S, from: &[f32; LANES]) -> S::Vector {
        simd.load(from)
    }

    #[inline(always)]
    fn weight(self, simd: S, from: &[T; LANES]) -> S::Vector {
        T::load(simd, from)
    }

    #[inline(always)]
    fn add(self, simd: S, sum: S::Vector, input: S::Vector, weight: S::Vector) -> S::Vector {
        simd.fma(input, weight, sum)
    }
}

/// As they are, two for each lane.
#[derive(Clone, Copy)]
struct Narrow<P>(P);

impl<S: Simd, P: Pairs<S>> Meet<S, bf16, bf16, PAIRS> for Narrow<P> {
    type Input = P::Numbers;
    type Weight = P::Numbers;

    #[inline(always)]
    fn input(self, _: S, from: &[bf16; PAIRS]) -> P::Numbers {
        self.0.load(from)
    }

    #[inline(always)]
    fn weight(self, _: S, from: &[bf16; PAIRS]) -> P::Numbers {
        self.0.load(from)
    }

    #[inline(always)]
    fn add(self, _: S, sum: S::Vector, input: P::Numbers, weight: P::Numbers) -> S::Vector {
        self.0.dot(sum, input, weight)
    }
}

impl<I: Element, T: Element> Piece<'_, I, T> {
    /// Computes `R` rows by `O` outputs.
    #[inline(always)]
    fn tile<S: Simd, M: Meet<S, I, T, RUN>, const RUN: usize, const R: usize, const O: usize>(
        &self,
        (simd, meet): (S, M),
        row: usize,
        output: usize,
    ) {
        let steps = self.columns / RUN;
        let inputs: [&[I]; R] =
            std::array::from_fn(|r| &self.input[(row + r) * self.columns..][..self.columns]);
        let weights: [&[T]; O] =
            std::array::from_fn(|o| &self.weight[(output + o) * self.columns..][..self.columns]);

        let mut sums = [[simd.splat(0.0); O]; R];
        let mut met = [meet.weight(simd, &padded(&[])); O];
        for step in 0..steps {
            if row == self.rows.0 {
                self.prefetch::<S, RUN, O>(simd, &weights, step);
            }
            // Loops, because a closure may be compiled by itself, without these instructions.
            for o in 0..O {
                // SAFETY: rows have `columns` numbers, which are at least `steps` runs.
                met[o] = meet.weight(simd, unsafe { nth(weights[o], step) });
            }
            for r in 0..R {
                // SAFETY: as above.
                let input = meet.input(simd, unsafe { nth(inputs[r], step) });
                for o in 0..O {
                    sums[r][o] = meet.add(simd, sums[r][o], input, met[o]);
                }
            }
        }
        let done = steps * RUN;
        if done < self.columns {
            for o in 0..O {
                met[o] = meet.weight(simd, &padded(&weights[o][done..]));
            }
            for r in 0..R {
                let input = meet.input(simd, &padded(&inputs[r][done..]));
                for o in 0..O {
                    sums[r][o] = meet.add(simd, sums[r][o], input, met[o]);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            // SAFETY: rectangles of different pieces do not overlap, nor do tiles of one piece.
            let target = unsafe { self.target.run((row + r) * self.stride + output, O) };
            if O == 4 {
                // The other tiles have no four; that is known when they are compiled.
                let four = [sums[0], sums[1 % O], sums[2 % O], sums[3 % O]];
                target.copy_from_slice(&simd.sums(four)[..O.min(4)]);
                continue;
            }
            for (to, sum) in target.iter_mut().zip(sums) {
                *to = simd.sum(sum);
            }
        }
    }

    /// Asks for what will be met a little later: further on in these rows of the weight or, near
    /// their end, at the beginning of the rows after them.
    #[inline(always)]
    fn prefetch<S: Simd, const RUN: usize, const O: usize>(
        &self,
        simd: S,
        weights: &[&[T]; O],
        step: usize,
    ) {
        if !step.is_multiple_of(const { LINE / size_of::<[T; RUN]>() }) {
            return;
        }
        let mut ahead = step * RUN + const { AHEAD / size_of::<T>() };
        if ahead >= self.columns {
            ahead += (O - 1) * self.columns;
        }
        for weight in weights {
            simd.prefetch(weight.as_ptr().wrapping_add(ahead).cast());
        }
    }

    /// Computes `O` outputs for every row of the piece.
    #[inline(always)]
    fn column<S: Simd, M: Meet<S, I, T, RUN>, const RUN: usize, const O: usize>(
        &self,
        by: (S, M),
        output: usize,
    ) {
        let (mut row, end) = self.rows;
        if S::LARGE_TILE {
            // With four outputs as many sums as the registers hold beside what they are made of.
            while row + 6 <= end {
                self.tile::<S, M, RUN, 6, O>(by, row, output);
                row += 6;
            }
            while row + 4 <= end {
                self.tile::<S, M, RUN, 4, O>(by, row, output);
                row += 4;
            }
        }
        while row + 2 <= end {
            self.tile::<S, M, RUN, 2, O>(by, row, output);
            row += 2;
        }
        if row < end {
            self.tile::<S, M, RUN, 1, O>(by, row, output);
        }
    }

    #[inline(always)]
    fn compute<S: Simd, M: Meet<S, I, T, RUN>, const RUN: usize>(self, by: (S, M)) {
        let (mut output, end) = self.outputs;
        // One row is a walk over memory: many rows of weights at once keep more loads in flight.
        if self.rows.1 - self.rows.0 == 1 {
            while output + 8 <= end {
                self.tile::<S, M, RUN, 1, 8>(by, self.rows.0, output);
                output += 8;
            }
        }
        while output + 4 <= end {
            self.column::<S, M, RUN, 4>(by, output);
            output += 4;
        }
        while output < end {
            self.column::<S, M, RUN, 1>(by, output);
            output += 1;
        }
    }
}

impl<T: Element> Kernel for Piece<'_, f32, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.compute((simd, Wide));
    }
}

impl PairKernel for Piece<'_, bf16, bf16> {
    #[inline(always)]
    fn run<S: Simd, P: Pairs<S>>(self, simd: S, pairs: P) {
        self.compute((simd, Narrow(pairs)));
    }
}

/// The `step`th run of a row. Were it checked, every load would be followed by a branch, and the
/// sums would live on the stack.
///
/// # Safety
/// The row has more runs than `step`.
#[inline(always)]
unsafe fn nth<T, const RUN: usize>(row: &[T], step: usize) -> &[T; RUN] {
    // SAFETY: the caller promises that the run is within the row.
    unsafe { &*row.as_ptr().add(step * RUN).cast() }
}
