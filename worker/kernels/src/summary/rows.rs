//! The last of the head: logits as the model means them, and a summary of each row.
//!
//! Threads share runs of rows while the product's numbers are still in their caches. The product
//! itself is not cut where runs are, because that would tie its pieces to the vocabulary.
#![allow(unsafe_code, reason = "pieces write their own runs of one output")]

use super::{RUN, Running, Summary};
use crate::Cpu;
use crate::cap::cap_all;
use crate::pool::Disjoint;

/// What one logit costs, most of it for the exponential; the cap's tangent costs as much again.
const MULTIPLICATIONS: usize = 16;

/// What is done to the head's product before it is a logit.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    /// Logits are divided by it first.
    pub divisor: f32,
    /// Then each is pressed into (-cap, cap): `cap · tanh(logit / cap)`.
    pub cap: Option<f32>,
}

/// Finishes rows of `vocabulary` logits in place, and writes the summary of each: the one that
/// [`Summary::of`] has for it, to the bit.
///
/// # Panics
/// Where the logits are not whole rows.
pub fn finish_rows(
    cpu: &Cpu,
    (logits, vocabulary): (&mut [f32], usize),
    finish: Finish,
    summaries: &mut Vec<Summary>,
) {
    assert!(
        vocabulary > 0 && logits.len().is_multiple_of(vocabulary),
        "logits are whole rows"
    );
    let runs = vocabulary.div_ceil(RUN);
    let mut sums = vec![Running::NOTHING; logits.len() / vocabulary * runs];
    let pieces = (sums.len(), RUN.min(vocabulary) * MULTIPLICATIONS);
    let all_logits = Disjoint::new(logits);
    let all_sums = Disjoint::new(&mut sums);
    cpu.pool().run(pieces, &|index| {
        let (row, start) = (index / runs, index % runs * RUN);
        let length = RUN.min(vocabulary - start);
        // SAFETY: runs of different indices do not overlap, and each index is called once.
        let run = unsafe { all_logits.run(row * vocabulary + start, length) };
        finish.apply(cpu, run);
        // SAFETY: as above.
        let sums = unsafe { all_sums.run(index, 1) };
        sums[0] = Running::of(cpu.class(), run);
    });
    summaries.clear();
    let rows = logits.chunks_exact(vocabulary);
    let rows = rows.zip(sums.chunks_exact(runs));
    summaries.extend(rows.map(|(row, runs)| Summary::joined(row, runs.iter().copied())));
}

impl Finish {
    fn apply(self, cpu: &Cpu, logits: &mut [f32]) {
        if self.divisor != 1.0 {
            let divided = logits.iter_mut();
            divided.for_each(|logit| *logit /= self.divisor);
        }
        if let Some(cap) = self.cap {
            cap_all(cpu.class(), logits, cap);
        }
    }
}
