//! The exponential function and the hyperbolic tangent, sixteen at a time.
//!
//! Our own and not the platform's, so that a class computes the same everywhere it runs.

use crate::simd::Simd;

/// e to the power of each lane, within 3 units in the last place; arguments are clamped to
/// [-87, 88], so that the result of a number is always finite and positive; what is not a number gives none.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let (fraction, exponent) = reduced(simd, x);
    simd.scale(simd.add(fraction, simd.splat(1.0)), exponent)
}

/// The hyperbolic tangent of each lane, within 1e-6 of itself: small arguments keep their digits.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    // With t = e^2x - 1, this is t / (t + 2), and t is known without subtracting near zero.
    let (fraction, exponent) = reduced(simd, simd.add(x, x));
    let one = simd.splat(1.0);
    let power = simd.scale(one, exponent);
    let t = simd.fma(fraction, power, simd.sub(power, one));
    simd.div(t, simd.add(t, simd.splat(2.0)))
}

/// (f, n) with e^x = (1 + f) · 2^n, for x clamped to [-87, 88].
#[inline(always)]
fn reduced<S: Simd>(simd: S, x: S::Vector) -> (S::Vector, S::Vector) {
    // Adding and subtracting this rounds to a whole number, because nothing smaller fits in the
    // mantissa beside it.
    let whole = simd.splat(12_582_912.0);
    // The bounds come first: of what is not a number, and something, the second is taken.
    let x = simd.min(simd.splat(88.0), simd.max(simd.splat(-87.0), x));
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
    (simd.fma(p, simd.mul(r, r), r), exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KernelClass;
    use crate::simd::{Kernel, LANES, dispatch};

    struct Tanh([f32; LANES]);

    impl Kernel for Tanh {
        type Output = [f32; LANES];

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> [f32; LANES] {
            let mut stored = [0.0; LANES];
            simd.store(tanh(simd, simd.load(&self.0)), &mut stored);
            stored
        }
    }

    #[test]
    fn a_tangent_is_right_from_the_smallest_arguments_to_the_largest() {
        for class in KernelClass::ALL {
            for step in 0..2000 {
                let size = 1.01f32.powi(step - 1400);
                let ours = dispatch(class, Tanh([size, -size].repeat(8).try_into().unwrap()));
                let expected = f64::from(size).tanh();
                for (lane, sign) in ours.into_iter().zip([1.0, -1.0].repeat(8)) {
                    let apart = (f64::from(lane) - sign * expected).abs();
                    assert!(apart <= 1e-6 * expected, "{class}: tanh({size}) is {lane}");
                }
            }
        }
    }
}
