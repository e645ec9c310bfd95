//! The softmax of scores that come in runs.

use std::ops::Range;

use super::RUN;
use crate::exp::{exp, tanh};
use crate::simd::Simd;

/// The softmax so far: the largest score, and the sum of e^(score - largest).
#[derive(Clone, Copy)]
pub(super) struct Softmax {
    pub(super) largest: f32,
    pub(super) sum: f32,
}

impl Softmax {
    /// Of no scores.
    pub(super) const EMPTY: Self = Self {
        largest: f32::NEG_INFINITY,
        sum: 0.0,
    };

    /// Takes in the scores of a run, of which the query meets a part: their weights, nothing
    /// outside that part, and what everything before must be multiplied by.
    #[inline(always)]
    pub(super) fn take<S: Simd>(
        &mut self,
        simd: S,
        mut scores: [f32; RUN],
        met: &Range<usize>,
    ) -> ([f32; RUN], f32) {
        let whole = met.len() == RUN;
        if !whole {
            keep(&mut scores, met, f32::NEG_INFINITY);
        }
        let lanes = simd.load(&scores);
        let largest = self.largest.max(simd.largest(lanes));
        let mut weights = [0.0; RUN];
        simd.store(
            exp(simd, simd.sub(lanes, simd.splat(largest))),
            &mut weights,
        );
        if !whole {
            // e to the power of negative infinity is a little more than nothing here.
            keep(&mut weights, met, 0.0);
        }
        let mut shrink = [1.0; RUN];
        if largest != self.largest {
            simd.store(exp(simd, simd.splat(self.largest - largest)), &mut shrink);
        }
        self.sum = self.sum * shrink[0] + simd.sum(simd.load(&weights));
        self.largest = largest;
        (weights, shrink[0])
    }
}

/// Puts `other` in the place of every number outside `part`.
#[inline(always)]
fn keep(numbers: &mut [f32; RUN], part: &Range<usize>, other: f32) {
    for (index, number) in numbers.iter_mut().enumerate() {
        if !part.contains(&index) {
            *number = other;
        }
    }
}

/// Scores that are at most `cap` in size.
#[inline(always)]
pub(super) fn capped<S: Simd>(simd: S, scores: &[f32; RUN], cap: f32) -> [f32; RUN] {
    let cap = simd.splat(cap);
    let lanes = simd.mul(tanh(simd, simd.div(simd.load(scores), cap)), cap);
    let mut stored = [0.0; RUN];
    simd.store(lanes, &mut stored);
    stored
}
