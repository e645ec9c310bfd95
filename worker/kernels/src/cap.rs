//! The soft cap of logits.

use crate::Cpu;
use crate::exp::tanh;
use crate::simd::{Kernel, LANES, Simd, dispatch, padded};

/// Numbers of one piece of work; whole vectors, so that pieces do not change what is a tail.
const PIECE: usize = 256 * LANES;

/// What one number costs, most of it for the tangent.
const MULTIPLICATIONS: usize = 16;

/// `values[i] = cap · tanh(values[i] / cap)`.
pub fn soft_cap(cpu: &Cpu, values: &mut [f32], cap: f32) {
    cpu.pool()
        .run_chunks(values, (PIECE, PIECE * MULTIPLICATIONS), |_, values| {
            dispatch(cpu.class(), Capped { values, cap });
        });
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
