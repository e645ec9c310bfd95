//! Root mean square normalisation.

use crate::Cpu;
use crate::simd::{Kernel, LANES, Simd, dispatch, padded};

/// Each row of `input`, divided by its root mean square (with `epsilon` under the root) and
/// multiplied by `weight`, goes to `output`. A row is as long as `weight`.
///
/// # Panics
/// Where the lengths do not fit together.
pub fn rms_norm(cpu: &Cpu, input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) {
    assert_eq!(input.len(), output.len(), "each number in gives one out");
    assert!(
        input.len().is_multiple_of(weight.len()),
        "rows are as long as the weight"
    );
    let width = weight.len();
    cpu.pool()
        .run_chunks(output, (width, 3 * width), |row, output| {
            let input = &input[row * width..][..width];
            let squares = dispatch(cpu.class(), SumOfSquares(input));
            let scale = 1.0 / (squares / input.len() as f32 + epsilon).sqrt();
            for ((to, value), weight) in output.iter_mut().zip(input).zip(weight) {
                *to = value * scale * weight;
            }
        });
}

struct SumOfSquares<'a>(&'a [f32]);

impl Kernel for SumOfSquares<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let (steps, tail) = self.0.as_chunks::<LANES>();
        let mut sum = simd.splat(0.0);
        for step in steps {
            let lanes = simd.load(step);
            sum = simd.fma(lanes, lanes, sum);
        }
        let lanes = simd.load(&padded(tail));
        simd.sum(simd.fma(lanes, lanes, sum))
    }
}
