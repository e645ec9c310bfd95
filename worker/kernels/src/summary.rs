//! How sure the model was: one pass over a row of logits, in runs that are joined in order.
//!
//! Where runs begin depends on the vocabulary alone, so that a row's summary is the same to the bit
//! whoever computes its runs, and beside whichever rows.

mod rows;

pub use self::rows::{Finish, finish_rows};

use crate::KernelClass;
use crate::exp::exp;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Logits looked at between two checks of the maximum: they stay in the first level cache.
const BLOCK: usize = 32 * LANES;

/// Logits that are summed up by one thread in one go. Long enough that joining costs nothing, short
/// enough that a vocabulary is work for many threads and a run stays in the fast caches.
const RUN: usize = 16 * BLOCK;

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
        Self::joined(
            logits,
            logits.chunks(RUN).map(|run| Running::of(class, run)),
        )
    }

    /// The log-probability of a token that has this logit.
    pub fn logprob(&self, logit: f32) -> f32 {
        logit - self.log_sum_exp
    }

    /// How much likelier the best token is than the second, in log-probability.
    pub fn margin(&self) -> f32 {
        self.best_logit - self.second_logit
    }

    /// From the runs of a row, in order.
    fn joined(logits: &[f32], runs: impl Iterator<Item = Running>) -> Self {
        let mut all = Running::NOTHING;
        for (index, run) in runs.enumerate() {
            all.join(index * RUN, &run);
        }
        let mut block = logits.iter().skip(all.block).take(BLOCK);
        // Nowhere only where no logit is a number.
        let within = block
            .position(|logit| *logit == all.best_logit)
            .unwrap_or(0);
        let log_mass = all.mass.ln();
        Self {
            best: (all.block + within) as u32,
            best_logit: all.best_logit,
            second_logit: all.second_logit,
            log_sum_exp: (f64::from(all.best_logit) + log_mass) as f32,
            entropy: (log_mass - all.moment / all.mass).max(0.0) as f32,
        }
    }
}

/// Sums relative to the largest logit so far, and the two largest.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// Where the block begins that the largest was first seen in. Which of its logits that was is
    /// looked up once, at the end.
    block: usize,
    best_logit: f32,
    second_logit: f32,
    /// Σ e^d, where d = logit - best_logit.
    mass: f64,
    /// Σ d · e^d.
    moment: f64,
}

impl Running {
    const NOTHING: Self = Self {
        block: 0,
        best_logit: f32::NEG_INFINITY,
        second_logit: f32::NEG_INFINITY,
        mass: 0.0,
        moment: 0.0,
    };

    fn of(class: KernelClass, run: &[f32]) -> Self {
        dispatch(class, Pass(run))
    }

    #[inline(always)]
    fn take<S: Simd>(&mut self, simd: S, start: usize, block: &[f32]) {
        let (steps, tail) = block.as_chunks::<LANES>();
        let mut last = [f32::NEG_INFINITY; LANES];
        last[..tail.len()].copy_from_slice(tail);

        let mut largest = simd.splat(f32::NEG_INFINITY);
        let mut second = largest;
        for step in steps.iter().chain(std::iter::once(&last)) {
            let lanes = simd.load(step);
            second = simd.max(simd.min(lanes, largest), second);
            largest = simd.max(lanes, largest);
        }
        if simd.largest(largest) > self.second_logit {
            self.rank(simd, start, (largest, second));
        }
        // Nothing but impossible tokens so far.
        if self.best_logit == f32::NEG_INFINITY {
            return;
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

    /// Takes the two largest of a block that changes them, from the two largest of each lane.
    #[inline(always)]
    fn rank<S: Simd>(&mut self, simd: S, start: usize, (first, second): (S::Vector, S::Vector)) {
        let mut two = [[0.0; LANES]; 2];
        simd.store(first, &mut two[0]);
        simd.store(second, &mut two[1]);
        for logit in two.into_iter().flatten() {
            if logit > self.best_logit {
                self.sink(logit);
                self.second_logit = self.best_logit;
                self.best_logit = logit;
                self.block = start;
            } else if logit > self.second_logit {
                self.second_logit = logit;
            }
        }
    }

    /// The sums relative to a logit that is larger than the largest so far.
    fn sink(&mut self, below: f32) {
        if self.mass > 0.0 {
            let fall = f64::from(self.best_logit) - f64::from(below);
            let shrink = fall.exp();
            self.moment = shrink * (self.moment + fall * self.mass);
            self.mass *= shrink;
        }
    }

    /// Adds the run that begins at `start`, after those before it.
    fn join(&mut self, start: usize, run: &Self) {
        let mut run = *run;
        if run.best_logit > self.best_logit {
            self.sink(run.best_logit);
            self.second_logit = self.best_logit.max(run.second_logit);
            self.best_logit = run.best_logit;
            self.block = start + run.block;
        } else {
            run.sink(self.best_logit);
            self.second_logit = self.second_logit.max(run.best_logit);
        }
        self.mass += run.mass;
        self.moment += run.moment;
    }
}

struct Pass<'a>(&'a [f32]);

impl Kernel for Pass<'_> {
    type Output = Running;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Running {
        let mut running = Running::NOTHING;
        for (index, block) in self.0.chunks(BLOCK).enumerate() {
            running.take(simd, index * BLOCK, block);
        }
        running
    }
}
