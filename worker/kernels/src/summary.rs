//! How sure the model was: one fused pass over a row of logits.

use crate::KernelClass;
use crate::exp::exp;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Logits looked at between two checks of the maximum: they stay in the first level cache.
const BLOCK: usize = 32 * LANES;

/// What evidence needs to know of a row of logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The id with the largest logit; the lowest of those that tie.
    pub best: u32,
    pub best_logit: f32,
    /// The largest of the others; negative infinity in a vocabulary of one.
    pub second_logit: f32,
    /// ln Σ e^logit. Not finite where no logit is a number.
    pub log_sum_exp: f32,
    /// Of the distribution, in nats.
    pub entropy: f32,
}

impl Summary {
    /// The same for the same logits, on one kernel class. Logits of negative infinity are
    /// impossible tokens.
    pub fn of(class: KernelClass, logits: &[f32]) -> Self {
        dispatch(class, Pass(logits))
    }

    /// The log-probability of a token that has this logit.
    pub fn logprob(&self, logit: f32) -> f32 {
        logit - self.log_sum_exp
    }

    /// How much likelier the best token is than the second, in log-probability.
    pub fn margin(&self) -> f32 {
        self.best_logit - self.second_logit
    }
}

struct Pass<'a>(&'a [f32]);

/// Sums relative to the largest logit so far, and the two largest.
struct Running {
    best: usize,
    best_logit: f32,
    second_logit: f32,
    /// Σ e^d, where d = logit - best_logit.
    mass: f64,
    /// Σ d · e^d.
    moment: f64,
}

impl Kernel for Pass<'_> {
    type Output = Summary;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Summary {
        let mut running = Running {
            best: 0,
            best_logit: f32::NEG_INFINITY,
            second_logit: f32::NEG_INFINITY,
            mass: 0.0,
            moment: 0.0,
        };
        for (index, block) in self.0.chunks(BLOCK).enumerate() {
            running.take(simd, index * BLOCK, block);
        }
        let log_mass = running.mass.ln();
        Summary {
            best: running.best as u32,
            best_logit: running.best_logit,
            second_logit: running.second_logit,
            log_sum_exp: (f64::from(running.best_logit) + log_mass) as f32,
            entropy: (log_mass - running.moment / running.mass).max(0.0) as f32,
        }
    }
}

impl Running {
    #[inline(always)]
    fn take<S: Simd>(&mut self, simd: S, start: usize, block: &[f32]) {
        let (steps, tail) = block.as_chunks::<LANES>();
        let mut last = [f32::NEG_INFINITY; LANES];
        last[..tail.len()].copy_from_slice(tail);

        let mut largest = simd.load(&last);
        for step in steps {
            largest = simd.max(simd.load(step), largest);
        }
        let largest = simd.largest(largest);
        if largest > self.second_logit {
            self.rank(start, block, largest);
        }

        let best = simd.splat(self.best_logit);
        let mut mass = simd.splat(0.0);
        let mut moment = simd.splat(0.0);
        for lanes in steps.iter().chain(std::iter::once(&last)) {
            // What `exp` would clamp anyway; here it keeps 0 · ∞ out of the moment.
            let d = simd.max(simd.sub(simd.load(lanes), best), simd.splat(-87.0));
            let weight = exp(simd, d);
            mass = simd.add(mass, weight);
            moment = simd.fma(d, weight, moment);
        }
        self.mass += f64::from(simd.sum(mass));
        self.moment += f64::from(simd.sum(moment));
    }

    /// Finds the two largest again, in a block that changes them; few blocks do.
    fn rank(&mut self, start: usize, block: &[f32], largest: f32) {
        if largest > self.best_logit && self.mass > 0.0 {
            let fall = f64::from(self.best_logit) - f64::from(largest);
            let shrink = fall.exp();
            self.moment = shrink * (self.moment + fall * self.mass);
            self.mass *= shrink;
        }
        for (offset, &logit) in block.iter().enumerate() {
            if logit > self.best_logit {
                self.second_logit = self.best_logit;
                self.best_logit = logit;
                self.best = start + offset;
            } else if logit > self.second_logit {
                self.second_logit = logit;
            }
        }
    }
}
