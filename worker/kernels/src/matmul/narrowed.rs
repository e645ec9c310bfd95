//! Inputs rounded to bf16, once for all the weights that they meet.

use half::bf16;

use crate::Cpu;
use crate::simd::{LANES, PairKernel, Pairs, Simd, dispatch_pairs, padded};

/// How many numbers one piece of work rounds.
const PIECE: usize = 4096;

/// Rows of numbers. The memory is kept from call to call.
#[derive(Debug, Default)]
pub struct NarrowedRows {
    numbers: Vec<bf16>,
}

impl NarrowedRows {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in `input`, in the place of what was before.
    pub(super) fn set(&mut self, cpu: &Cpu, input: &[f32]) {
        self.numbers.resize(input.len(), bf16::ZERO);
        cpu.pool()
            .run_chunks(&mut self.numbers, (PIECE, PIECE), |index, to| {
                let from = &input[index * PIECE..][..to.len()];
                dispatch_pairs(cpu.class(), Piece { from, to });
            });
    }

    pub(super) fn numbers(&self) -> &[bf16] {
        &self.numbers
    }
}

struct Piece<'a> {
    from: &'a [f32],
    to: &'a mut [bf16],
}

impl PairKernel for Piece<'_> {
    #[inline(always)]
    fn run<S: Simd, P: Pairs<S>>(self, _: S, pairs: P) {
        let (from, last) = self.from.as_chunks::<LANES>();
        let (to, last_to) = self.to.as_chunks_mut::<LANES>();
        for (from, to) in from.iter().zip(to) {
            pairs.narrow(from, to);
        }
        let mut narrow = [bf16::ZERO; LANES];
        pairs.narrow(&padded(last), &mut narrow);
        last_to.copy_from_slice(&narrow[..last.len()]);
    }
}
