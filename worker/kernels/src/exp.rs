//! The exponential function, sixteen at a time.
//!
//! Our own and not the platform's, so that a class computes the same everywhere it runs.

use crate::simd::Simd;

/// e to the power of each lane, within 3 units in the last place; arguments are clamped to
/// [-87, 88], so that the result is always finite and positive.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    // Adding and subtracting this rounds to a whole number, because nothing smaller fits in the
    // mantissa beside it.
    let whole = simd.splat(12_582_912.0);
    let x = simd.min(simd.max(x, simd.splat(-87.0)), simd.splat(88.0));
    let scaled = simd.mul(x, simd.splat(std::f32::consts::LOG2_E));
    let exponent = simd.sub(simd.add(scaled, whole), whole);
    // ln 2 in two parts: the first has trailing zeros, so that its product is exact.
    let r = simd.fma(exponent, simd.splat(-0.693_359_4), x);
    let r = simd.fma(exponent, simd.splat(2.121_944_4e-4), r);
    // A minimax polynomial for (e^r - 1 - r) / r² on [-ln 2 / 2, ln 2 / 2] (Cephes).
    let mut p = simd.splat(1.987_569_1e-4);
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        0.166_666_65,
        0.5,
    ] {
        p = simd.fma(p, r, simd.splat(coefficient));
    }
    let value = simd.add(simd.fma(p, simd.mul(r, r), r), simd.splat(1.0));
    simd.scale(value, exponent)
}
