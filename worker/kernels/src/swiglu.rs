//! The gated activation of a feed-forward layer.

use crate::Cpu;
use crate::exp::exp;
use crate::simd::{Kernel, LANES, Simd, dispatch, padded};

/// Numbers of one piece of work; whole vectors, so that pieces do not change what is a tail.
const PIECE: usize = 256 * LANES;

/// What one number costs, most of it for the exponential.
const MULTIPLICATIONS: usize = 16;

/// `gate[i] = silu(gate[i]) · up[i]`, where silu(x) = x / (1 + e^-x).
///
/// # Panics
/// Where the two are not of one length.
pub fn silu_times(cpu: &Cpu, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "each gate opens for one value");
    cpu.pool()
        .run_chunks(gate, (PIECE, PIECE * MULTIPLICATIONS), |index, gate| {
            let up = &up[index * PIECE..][..gate.len()];
            dispatch(cpu.class(), SiluTimes { gate, up });
        });
}

struct SiluTimes<'a> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Kernel for SiluTimes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (gates, gate_tail) = self.gate.as_chunks_mut::<LANES>();
        let (ups, up_tail) = self.up.as_chunks::<LANES>();
        for (gate, up) in gates.iter_mut().zip(ups) {
            let value = silu_times_lanes(simd, simd.load(gate), simd.load(up));
            simd.store(value, gate);
        }
        if !gate_tail.is_empty() {
            let gate = simd.load(&padded(gate_tail));
            let value = silu_times_lanes(simd, gate, simd.load(&padded(up_tail)));
            let mut lanes = [0.0; LANES];
            simd.store(value, &mut lanes);
            gate_tail.copy_from_slice(&lanes[..gate_tail.len()]);
        }
    }
}

#[inline(always)]
fn silu_times_lanes<S: Simd>(simd: S, gate: S::Vector, up: S::Vector) -> S::Vector {
    let decay = exp(simd, simd.sub(simd.splat(0.0), gate));
    simd.mul(simd.div(gate, simd.add(simd.splat(1.0), decay)), up)
}
