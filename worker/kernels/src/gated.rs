//! The gated activations of a feed-forward layer.

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
    open::<Silu>(cpu, gate, up);
}

/// `gate[i] = gelu(gate[i]) · up[i]`, where gelu(x) = x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))).
///
/// # Panics
/// Where the two are not of one length.
pub fn gelu_tanh_times(cpu: &Cpu, gate: &mut [f32], up: &[f32]) {
    open::<GeluTanh>(cpu, gate, up);
}

/// x / (1 + e^-slope(x)), which both activations are.
trait Activation {
    fn slope<S: Simd>(simd: S, x: S::Vector) -> S::Vector;
}

struct Silu;

impl Activation for Silu {
    #[inline(always)]
    fn slope<S: Simd>(_: S, x: S::Vector) -> S::Vector {
        x
    }
}

struct GeluTanh;

impl Activation for GeluTanh {
    // 1/2 · (1 + tanh(u)) = 1 / (1 + e^-2u), without the cancellation.
    #[inline(always)]
    fn slope<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
        const TWICE_ROOT: f32 = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::SQRT_2;
        let square = simd.mul(x, x);
        let factor = simd.fma(
            square,
            simd.splat(TWICE_ROOT * 0.044_715),
            simd.splat(TWICE_ROOT),
        );
        simd.mul(x, factor)
    }
}

fn open<A: Activation>(cpu: &Cpu, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "each gate opens for one value");
    cpu.pool()
        .run_chunks(gate, (PIECE, PIECE * MULTIPLICATIONS), |index, gate| {
            let up = &up[index * PIECE..][..gate.len()];
            let gates = Gates::<A> {
                gate,
                up,
                activation: std::marker::PhantomData,
            };
            dispatch(cpu.class(), gates);
        });
}

struct Gates<'a, A> {
    gate: &'a mut [f32],
    up: &'a [f32],
    activation: std::marker::PhantomData<A>,
}

impl<A: Activation> Kernel for Gates<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (gates, gate_tail) = self.gate.as_chunks_mut::<LANES>();
        let (ups, up_tail) = self.up.as_chunks::<LANES>();
        for (gate, up) in gates.iter_mut().zip(ups) {
            let value = times::<A, S>(simd, simd.load(gate), simd.load(up));
            simd.store(value, gate);
        }
        if !gate_tail.is_empty() {
            let gate = simd.load(&padded(gate_tail));
            let value = times::<A, S>(simd, gate, simd.load(&padded(up_tail)));
            let mut lanes = [0.0; LANES];
            simd.store(value, &mut lanes);
            gate_tail.copy_from_slice(&lanes[..gate_tail.len()]);
        }
    }
}

#[inline(always)]
fn times<A: Activation, S: Simd>(simd: S, gate: S::Vector, up: S::Vector) -> S::Vector {
    let decay = exp(simd, simd.sub(simd.splat(0.0), A::slope(simd, gate)));
    simd.mul(simd.div(gate, simd.add(simd.splat(1.0), decay)), up)
}
