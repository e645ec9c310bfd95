//! Whether something happens more often with the canary than it may, next to the stable revision: a test
//! that may be looked at whenever one likes.
//!
//! It is a bet against the canary. The wealth begins at 1, and each batch of asks, of both revisions over the
//! same time, multiplies it by
//!
//! ```text
//!   chance of what was counted, if the rates were those guessed from earlier batches
//!   -------------------------------------------------------------------------------
//!   the same, if they were the nearest pair of rates that is allowed
//! ```
//!
//! Where the canary keeps its bound, the wealth grows on average by nothing, whatever the rates are and
//! however they change from batch to batch. Beside the 1 it begins with it gets 1 more, a little with each
//! batch (`1/(n(n+1))`), so that a bet that was lost early does not hide for ever what comes late. So it ever
//! reaches `2/a` with a chance of at most `a` (Ville's inequality). Nobody has to say beforehand how many asks
//! there will be or how often one looks.
//!
//! Why it does not grow: let `s = (guess - near) / (near (1 - near))` of each revision. An ask whose chance
//! is `q` multiplies the wealth by `1 + s (q - near)` on average. The nearest pair is the one with the smallest
//! divergence, over all asks of the batch, from the guess, so that the sum of `s (q - near)` over these asks
//! is at most 0 for every allowed pair of rates; and a product of `1 + u` is at most `e` to the sum of the
//! `u`. This takes that asks fail independently of each other and nothing else; within a batch only the
//! averages must keep the bound.

use serde::{Deserialize, Serialize};

/// How much one batch may count, as a part of the way to a verdict: a burst that is over in one or two
/// batches fails no canary, however bad it was.
const PART_OF_ONE_BATCH: f64 = 1.0 / 3.0;
/// Guesses are made from the last thousand asks of the canary, more or less, so that one that goes bad late is
/// seen to.
const REMEMBERED: u64 = 1000;
/// Halvings of an interval: a float has no more places.
const HALVINGS: u32 = 52;

/// What is allowed: the canary's rate is at most `times` the stable revision's, and `plus`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// At least 1.
    pub times: f64,
    pub plus: f64,
}

/// How many of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub of: u64,
    pub hits: u64,
}

impl Tally {
    pub fn new(hits: u64, of: u64) -> Self {
        Self {
            of,
            hits: hits.min(of),
        }
    }

    /// The share of hits; 0 of nothing.
    pub fn share(self) -> f64 {
        self.hits as f64 / self.of.max(1) as f64
    }

    /// The same, never quite 0 or 1 (Krichevsky and Trofimov).
    fn guess(self) -> f64 {
        (self.hits as f64 + 0.5) / (self.of as f64 + 1.0)
    }

    fn add(&mut self, other: Self) {
        self.of = self.of.saturating_add(other.of);
        self.hits = self.hits.saturating_add(other.hits);
    }

    fn halve(&mut self) {
        *self = Self::new(self.hits / 2, self.of / 2);
    }
}

/// The same of both revisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Both<T> {
    pub stable: T,
    pub canary: T,
}

/// The logarithm of the wealth that is a verdict, where one that is false may have this chance.
pub fn enough(chance: f64) -> f64 {
    (2.0 / chance).ln()
}

/// The bet so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The logarithm of the wealth.
    wealth: f64,
    batches: u64,
    /// Of late: what guesses are made from.
    pub seen: Both<Tally>,
}

impl Rate {
    /// Takes one batch in. Where one revision had no asks there is nothing to compare.
    pub fn observe(&mut self, bound: Bound, batch: Both<Tally>, enough: f64) {
        if batch.stable.of == 0 || batch.canary.of == 0 {
            return;
        }
        self.batches += 1;
        let count = self.batches as f64;
        self.wealth = (self.wealth.exp() + 1.0 / (count * (count + 1.0))).ln();
        let guess = Both {
            stable: self.seen.stable.guess(),
            canary: self.seen.canary.guess(),
        };
        if let Some(near) = nearest(bound, guess, batch) {
            let gain = gain(guess.stable, near.stable, batch.stable)
                + gain(guess.canary, near.canary, batch.canary);
            self.wealth += gain.min(enough * PART_OF_ONE_BATCH);
        }
        self.seen.stable.add(batch.stable);
        self.seen.canary.add(batch.canary);
        if self.seen.canary.of >= REMEMBERED {
            self.seen.stable.halve();
            self.seen.canary.halve();
        }
    }

    /// Whether the wealth is that of a verdict.
    pub fn is_over(&self, enough: f64) -> bool {
        self.wealth >= enough
    }

    /// How far on the way to a verdict, from 0 to 1.
    pub fn way(&self, enough: f64) -> f64 {
        (self.wealth / enough).clamp(0.0, 1.0)
    }
}

/// How much the logarithm of the wealth grows by what was counted.
fn gain(guess: f64, near: f64, counted: Tally) -> f64 {
    let misses = (counted.of - counted.hits) as f64;
    counted.hits as f64 * (guess / near).ln() + misses * ((1.0 - guess) / (1.0 - near)).ln()
}

/// The pair of allowed rates with the smallest divergence from the guess, each rate weighed by its asks.
/// Nothing where the guess is allowed itself: there is nothing to bet on.
fn nearest(bound: Bound, guess: Both<f64>, asks: Both<Tally>) -> Option<Both<f64>> {
    let canary = |stable: f64| bound.times * stable + bound.plus;
    if guess.canary <= canary(guess.stable) {
        return None;
    }
    let pull = |guess: f64, near: f64| (near - guess) / (near * (1.0 - near));
    let (of_stable, of_canary) = (asks.stable.of as f64, asks.canary.of as f64);
    // On the edge of what is allowed, between the guess of one rate and the guess of the other. The
    // divergence is convex there, so that its slope has one zero.
    let mut low = guess.stable;
    let mut high = (guess.canary - bound.plus) / bound.times;
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        let slope = of_canary * bound.times * pull(guess.canary, canary(middle))
            + of_stable * pull(guess.stable, middle);
        if slope < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(Both {
        stable: low,
        canary: canary(low),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENOUGH: f64 = 6.0;

    fn both(stable: (u64, u64), canary: (u64, u64)) -> Both<Tally> {
        Both {
            stable: Tally::new(stable.0, stable.1),
            canary: Tally::new(canary.0, canary.1),
        }
    }

    /// How much the wealth is multiplied by on average, if the rates are `truth`: over every way in which the
    /// batch may turn out.
    fn average(bound: Bound, guess: Both<f64>, truth: Both<f64>, of: Both<u64>) -> f64 {
        let asks = both((0, of.stable), (0, of.canary));
        let Some(near) = nearest(bound, guess, asks) else {
            return 1.0;
        };
        let side = |guess: f64, near: f64, truth: f64, of: u64| -> f64 {
            let ask = truth * guess / near + (1.0 - truth) * (1.0 - guess) / (1.0 - near);
            ask.powi(of as i32)
        };
        side(guess.stable, near.stable, truth.stable, of.stable)
            * side(guess.canary, near.canary, truth.canary, of.canary)
    }

    proptest! {
        #[test]
        fn whatever_allowed_rates_are_true_the_wealth_does_not_grow_on_average(
            (times, plus) in (1f64..2.0, 0f64..0.3),
            (guess_stable, guess_canary) in (0.001f64..0.999, 0.001f64..0.999),
            (stable, part) in (0f64..=1.0, 0f64..=1.0),
            (of_stable, of_canary) in (1u64..400, 1u64..100),
        ) {
            let bound = Bound { times, plus };
            let guess = Both { stable: guess_stable, canary: guess_canary };
            let truth = Both { stable, canary: (times * stable + plus).min(1.0) * part };
            let of = Both { stable: of_stable, canary: of_canary };
            let average = average(bound, guess, truth, of);
            prop_assert!(average <= 1.0 + 1e-6, "{average}");
        }
    }

    #[test]
    fn the_wealth_grows_where_the_canary_does_worse_than_it_may() {
        let bound = Bound {
            times: 1.0,
            plus: 0.01,
        };
        let mut rate = Rate::default();
        let mut batches = 0;
        while !rate.is_over(ENOUGH) {
            rate.observe(bound, both((2, 190), (1, 10)), ENOUGH);
            batches += 1;
            assert!(batches < 60, "{rate:?}");
        }
        assert!(batches > 3, "{batches}");
    }

    #[test]
    fn nothing_is_bet_while_the_canary_does_as_well_as_it_must() {
        let bound = Bound {
            times: 1.1,
            plus: 0.0,
        };
        let mut rate = Rate::default();
        for _ in 0..1000 {
            rate.observe(bound, both((20, 100), (21, 100)), ENOUGH);
        }
        assert!(rate.way(ENOUGH) < 0.2, "{rate:?}");
        assert!(rate.seen.canary.of < REMEMBERED);
    }

    #[test]
    fn one_batch_is_never_enough_however_bad_it_is() {
        let bound = Bound {
            times: 1.0,
            plus: 0.01,
        };
        let mut rate = Rate::default();
        rate.observe(bound, both((0, 1000), (0, 1000)), ENOUGH);
        // It was good for long, so that the first bad batch was not bet on.
        rate.observe(bound, both((0, 1000), (1000, 1000)), ENOUGH);
        let ways: Vec<f64> = (0..3)
            .map(|_| {
                rate.observe(bound, both((0, 1000), (1000, 1000)), ENOUGH);
                rate.way(ENOUGH)
            })
            .collect();
        assert!(ways[0] < 0.5 && ways[1] < 0.8, "{ways:?}");
        assert!(rate.is_over(ENOUGH), "{ways:?}");
    }

    #[test]
    fn what_was_lost_on_a_burst_does_not_hide_what_comes_late() {
        let bound = Bound {
            times: 1.0,
            plus: 0.01,
        };
        let mut rate = Rate::default();
        let good = both((10, 1000), (1, 100));
        let bad = both((10, 1000), (30, 100));
        let batches = [vec![good; 50], vec![bad; 2], vec![good; 50]].concat();
        for batch in batches {
            rate.observe(bound, batch, ENOUGH);
            assert!(!rate.is_over(ENOUGH));
        }
        let mut late = 0;
        while !rate.is_over(ENOUGH) {
            rate.observe(bound, bad, ENOUGH);
            late += 1;
            assert!(late < 12, "{rate:?}");
        }
    }

    #[test]
    fn a_batch_without_asks_of_one_revision_changes_nothing() {
        let bound = Bound {
            times: 1.0,
            plus: 0.0,
        };
        let mut rate = Rate::default();
        rate.observe(bound, both((1, 10), (9, 10)), ENOUGH);
        let before = rate;
        rate.observe(bound, both((1, 10), (0, 0)), ENOUGH);
        rate.observe(bound, both((0, 0), (7, 7)), ENOUGH);
        assert_eq!(rate, before);
    }
}
