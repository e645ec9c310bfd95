//! Inputs of packed products, rounded to eight bits once for all the weights that they meet.

use super::format::GROUP;
use super::layout::QUADS;
use crate::Cpu;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// What rounding one number costs, in multiplications.
const EACH: usize = 8;

/// The largest size of a code; -128 would have no counterpart.
const LARGEST: f32 = 127.0;

/// Below this the inverse of a scale is no number any more. Such a group is zero.
const SMALLEST: f32 = 1e-36;

/// Rows of numbers in groups of 32, each with its own scale. The memory is kept from call to call.
///
/// A row's codes depend on that row alone. A row with a number that is not finite gives no numbers.
#[derive(Debug, Default)]
pub struct QuantizedRows {
    columns: usize,
    groups: Vec<QuantizedGroup>,
}

/// 32 numbers: each about its code times the scale. One cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct QuantizedGroup {
    pub(crate) codes: [[i8; 4]; QUADS],
    pub(crate) scale: f32,
    /// The sum of the codes, times the scale: what a minimum is multiplied by.
    pub(crate) scaled_sum: f32,
    pub(crate) starts: Starts,
}

/// Where integer sums start, so that codes of weights may be read as if they were not offset: the
/// sum of the activations' codes times minus the offset.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Starts {
    pub(crate) four_bits: i32,
    pub(crate) five_bits: i32,
    /// Of the first sixteen and of the others.
    pub(crate) six_bits: [i32; 2],
    pub(crate) eight_bits: i32,
}

impl QuantizedRows {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in rows of `columns` numbers, in the place of those before.
    ///
    /// # Panics
    /// Where the numbers are not whole rows, or a row is not whole groups of 32.
    pub fn set(&mut self, cpu: &Cpu, input: &[f32], columns: usize) {
        assert!(
            columns > 0 && columns.is_multiple_of(GROUP) && input.len().is_multiple_of(columns),
            "{} numbers are whole rows of {columns}, and a row is whole groups of {GROUP}",
            input.len()
        );
        self.columns = columns;
        self.groups
            .resize(input.len() / GROUP, QuantizedGroup::default());
        let length = columns / GROUP;
        cpu.pool()
            .run_chunks(&mut self.groups, (length, EACH * columns), |row, groups| {
                let input = &input[row * columns..][..columns];
                dispatch(cpu.class(), Row { input, groups });
            });
    }

    pub fn rows(&self) -> usize {
        (self.groups.len() * GROUP)
            .checked_div(self.columns)
            .unwrap_or(0)
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn row(&self, row: usize) -> &[QuantizedGroup] {
        let length = self.columns / GROUP;
        &self.groups[row * length..][..length]
    }
}

struct Row<'a> {
    input: &'a [f32],
    groups: &'a mut [QuantizedGroup],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // Stays zero unless a number is not finite.
        let mut broken = simd.splat(0.0);
        let halves = self.input.as_chunks::<LANES>().0;
        for (halves, group) in halves.as_chunks::<2>().0.iter().zip(&mut *self.groups) {
            for half in halves {
                broken = simd.fma(simd.load(half), simd.splat(0.0), broken);
            }
            *group = quantised(simd, halves);
        }
        if let Some(first) = self.groups.first_mut() {
            first.scale += simd.sum(broken);
        }
    }
}

#[inline(always)]
fn quantised<S: Simd>(simd: S, halves: &[[f32; LANES]; 2]) -> QuantizedGroup {
    let [low, high] = [simd.load(&halves[0]), simd.load(&halves[1])];
    let zero = simd.splat(0.0);
    let sizes = simd.max(
        simd.max(low, simd.sub(zero, low)),
        simd.max(high, simd.sub(zero, high)),
    );
    let largest = simd.largest(sizes);
    if largest < SMALLEST {
        return QuantizedGroup::default();
    }
    let scale = largest / LARGEST;
    // Adding this rounds to a whole number and leaves it in the lowest bits of the mantissa.
    let whole = simd.splat(12_582_912.0);
    let inverse = simd.splat(LARGEST / largest);
    let mut group = QuantizedGroup::default();
    let mut sums = [0; 2];
    for (half, lanes) in [low, high].into_iter().enumerate() {
        let rounded = simd.add(simd.mul(lanes, inverse), whole);
        let mut stored = [0.0; LANES];
        simd.store(rounded, &mut stored);
        let codes = &mut group.codes.as_flattened_mut()[half * LANES..];
        for (code, value) in codes.iter_mut().zip(stored) {
            *code = value.to_bits() as i8;
        }
        // Whole numbers below 2^24, so that adding them rounds nothing.
        sums[half] = simd.sum(simd.sub(rounded, whole)) as i32;
    }
    let sum = sums[0] + sums[1];
    group.scale = scale;
    group.scaled_sum = scale * sum as f32;
    group.starts = Starts {
        four_bits: -8 * sum,
        five_bits: -16 * sum,
        six_bits: sums.map(|sum| -32 * sum),
        eight_bits: -128 * sum,
    };
    group
}
