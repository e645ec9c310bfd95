//! Sixteen f32 lanes, spelled once per instruction set, so that each kernel is written once.
//!
//! A value of a `Simd` type is the proof that the processor can run it: only [`dispatch`] makes
//! one, after asking. Every kernel adds up in sixteen lanes and folds them by the same tree, so a
//! result depends on its inputs and on the class, and on nothing else.

pub(crate) mod dot;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use half::{bf16, f16};

use self::dot::Dot;
use crate::KernelClass;

/// How many lanes a vector has, whatever the registers of the machine are.
pub(crate) const LANES: usize = 16;

/// The few operations that kernels are made of. All are lane by lane but `sum` and `largest`.
pub(crate) trait Simd: Dot {
    type Vector: Copy;

    /// Whether the register file holds a tile of six by four vectors.
    const LARGE_TILE: bool;

    fn splat(self, value: f32) -> Self::Vector;
    fn load(self, from: &[f32; LANES]) -> Self::Vector;
    fn load_bf16(self, from: &[bf16; LANES]) -> Self::Vector;
    fn load_f16(self, from: &[f16; LANES]) -> Self::Vector;
    /// A 256th of each e4m3. What is not a number is read as 480: exponents of rows tell of that.
    fn load_e4m3(self, from: &[u8; LANES]) -> Self::Vector;
    fn load_u8(self, from: &[u8; LANES]) -> Self::Vector;
    /// Bytes as two's complement.
    fn load_i8(self, from: &[u8; LANES]) -> Self::Vector;
    /// Each rounded to the nearest.
    fn floats(self, integers: Self::Integers) -> Self::Vector;
    fn store(self, vector: Self::Vector, to: &mut [f32; LANES]);
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `b` where either is not a number; so is `min`.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`, rounded once where the machine can.
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `vector * 2^exponent` for whole exponents from -126 to 127.
    fn scale(self, vector: Self::Vector, exponent: Self::Vector) -> Self::Vector;
    /// All lanes added up: lane i and i + 8 first, then i + 4, i + 2, i + 1.
    fn sum(self, vector: Self::Vector) -> f32;
    /// The sum of each, to the bit.
    fn sums(self, vectors: [Self::Vector; 4]) -> [f32; 4];
    /// The largest lane.
    fn largest(self, vector: Self::Vector) -> f32;
}

/// A type that weights and caches are stored as.
pub(crate) trait Element: Copy + Sync {
    const ZERO: Self;
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::Vector;
}

impl Element for f32 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::Vector {
        simd.load(from)
    }
}

impl Element for bf16 {
    const ZERO: Self = bf16::ZERO;

    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::Vector {
        simd.load_bf16(from)
    }
}

impl Element for f16 {
    const ZERO: Self = f16::ZERO;

    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::Vector {
        simd.load_f16(from)
    }
}

/// An e4m3, of which a 256th is loaded.
impl Element for u8 {
    const ZERO: Self = 0;

    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::Vector {
        simd.load_e4m3(from)
    }
}

/// The last elements of a row, filled up with zeros: they add nothing to any sum.
#[inline(always)]
pub(crate) fn padded<T: Element, const N: usize>(tail: &[T]) -> [T; N] {
    let mut lanes = [T::ZERO; N];
    for (lane, value) in lanes.iter_mut().zip(tail) {
        *lane = *value;
    }
    lanes
}

/// A kernel as written once, for any instruction set.
pub(crate) trait Kernel {
    type Output;

    /// Implementations are `#[inline(always)]`, so that the body is compiled for the instruction
    /// set of the caller.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs a kernel with the instructions of `class`, or portably where the processor lacks them.
pub(crate) fn dispatch<K: Kernel>(class: KernelClass, kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    if class != KernelClass::Portable && class.is_available() {
        return x86::run(class, kernel);
    }
    let _ = class;
    kernel.run(portable::Portable)
}

/// Numbers in bf16 for two vectors, of which each lane takes two that are beside one another.
pub(crate) const PAIRS: usize = 2 * LANES;

/// What products of numbers in bf16 are made of, beside the vectors of `S`.
pub(crate) trait Pairs<S: Simd>: Copy {
    type Numbers: Copy;

    fn load(self, from: &[bf16; PAIRS]) -> Self::Numbers;
    /// Adds both products of each lane. Numbers too small for the exponent of a normal one are zero.
    fn dot(self, sum: S::Vector, a: Self::Numbers, b: Self::Numbers) -> S::Vector;
    /// Each rounded to the nearest.
    fn narrow(self, from: &[f32; LANES], to: &mut [bf16; LANES]);
}

/// A kernel that needs them.
pub(crate) trait PairKernel {
    /// As in [`Kernel`].
    fn run<S: Simd, P: Pairs<S>>(self, simd: S, pairs: P);
}

/// Runs a kernel on a class that has pairs.
pub(crate) fn dispatch_pairs<K: PairKernel>(class: KernelClass, kernel: K) {
    assert!(
        class.pairs() && class.is_available(),
        "kernel class {class} has no pairs here"
    );
    #[cfg(target_arch = "x86_64")]
    x86::run_pairs(kernel);
    #[cfg(not(target_arch = "x86_64"))]
    drop(kernel);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sums([[f32; LANES]; 4]);

    impl Kernel for Sums {
        type Output = ([f32; 4], [f32; 4]);

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Self::Output {
            let vectors = self.0.each_ref().map(|lanes| simd.load(lanes));
            (simd.sums(vectors), vectors.map(|vector| simd.sum(vector)))
        }
    }

    #[test]
    fn four_sums_at_once_are_those_one_by_one() {
        for class in KernelClass::ALL {
            let number = |at: usize| (at as f32 * 0.7).sin() * 10f32.powi(at as i32 % 5);
            let lanes = |of: usize| std::array::from_fn(|lane| number(of * LANES + lane));
            let (together, alone) = dispatch(class, Sums(std::array::from_fn(lanes)));
            assert_eq!(
                together.map(f32::to_bits),
                alone.map(f32::to_bits),
                "{class}"
            );
        }
    }
}
