//! The soft cap of logits.

use crate::KernelClass;
use crate::exp::tanh;
use crate::simd::{Kernel, LANES, Simd, dispatch, padded};

/// `values[i] = cap · tanh(values[i] / cap)`.
pub(crate) fn cap_all(class: KernelClass, values: &mut [f32], cap: f32) {
    dispatch(class, Capped { values, cap });
}

struct Capped<'a> {
    values: &'a mut [f32],
    cap: f32,
}

impl Kernel for Capped<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let cap = simd.splat(self.cap);
        let capped = |lanes| simd.mul(cap, tanh(simd, simd.div(lanes, cap)));
        let (steps, tail) = self.values.as_chunks_mut::<LANES>();
        for step in steps {
            simd.store(capped(simd.load(step)), step);
        }
        if !tail.is_empty() {
            let mut lanes = [0.0; LANES];
            simd.store(capped(simd.load(&padded(tail))), &mut lanes);
            tail.copy_from_slice(&lanes[..tail.len()]);
        }
    }
}
