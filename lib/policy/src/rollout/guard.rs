//! What is held against a canary: five rates of its asks, each compared with the stable revision's over the
//! same time by the test of [`rate`].
//!
//! Times and scores are compared by rates as well, because nothing is known of how they are spread: by how
//! many first tokens took longer than the stable revision's median of late, and than what nine of ten of its
//! first tokens took at most; and by how many scores were below its median. A canary whose times are those
//! of the stable revision, each longer by the allowed increase at most, keeps that bound whatever times are
//! usual. What counts as slow or low is read from earlier batches, so that a batch is judged by nothing that
//! it brought itself.
//!
//! All five together fail a canary that keeps every bound with a chance of [`FALSE_ALARM`] at most, over the
//! whole rollout, however often one looks.

#[cfg(test)]
mod simulation;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_crds::value::duration_text;

use super::rate::{self, Both, Bound, Rate, Tally};
use crate::load::{Buckets, RevisionLoad, latency_edge, latency_steps, score_edge};

/// The chance that a canary which is as good as it must be is ever failed.
pub const FALSE_ALARM: f64 = 0.01;
/// A batch is closed after this at the earliest, so that a burst of a few seconds is one batch.
pub const BATCH: Duration = Duration::from_secs(5);
/// And when each revision had so many asks: of fewer, the rates of one batch say little of each other.
pub const BATCH_ASKS: u64 = 8;
/// What few escalate is not held against the canary by its parts: it may escalate half an ask of a hundred
/// more beside the increase.
const ESCALATIONS_PLUS: f64 = 0.005;
/// So much larger may the part of the canary's scores be that are below the stable revision's median.
const SCORES_PLUS: f64 = 0.1;
/// What is slow or low is read from the stable revision's last thousand or two.
const REMEMBERED: u64 = 2000;

/// One thing that is held against a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Signal {
    Errors,
    Escalations,
    /// Times to the first token, by the median.
    FirstToken,
    /// The same, by what nine of ten take at most.
    SlowFirstToken,
    Scores,
}

impl Signal {
    pub const ALL: [Self; 5] = [
        Self::Errors,
        Self::Escalations,
        Self::FirstToken,
        Self::SlowFirstToken,
        Self::Scores,
    ];

    /// The share of the stable revision's that is above, or below, what is slow or low.
    fn part(self) -> f64 {
        match self {
            Self::SlowFirstToken => 0.1,
            _ => 0.5,
        }
    }
}

/// What `rollout.guard` allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowed {
    pub error_rate: f64,
    pub latency_increase: f64,
    pub escalation_increase: f64,
}

/// The logarithm of the wealth at which a signal fails the canary: each has its part of the false alarms.
fn enough() -> f64 {
    rate::enough(FALSE_ALARM / Signal::ALL.len() as f64)
}

/// What is known of a canary so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Guard {
    /// Of the batch that is open.
    open: Both<RevisionLoad>,
    open_ms: u64,
    /// The stable revision's, of late.
    first_token: Buckets,
    scores: Buckets,
    rates: BTreeMap<Signal, Rate>,
    /// Where times and scores were cut last: the stable revision's bucket and the canary's.
    cuts: BTreeMap<Signal, (u8, u8)>,
}

/// Why a canary is failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub signal: Signal,
    /// The canary's share of late, and the stable revision's.
    pub canary: f64,
    pub stable: f64,
    /// Of so many of the canary's.
    pub of: u64,
    /// Where times and scores were cut: the stable revision's bucket and the canary's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<(u8, u8)>,
}

impl Failure {
    /// Whether hardly anything of the canary's can be used.
    pub fn is_useless(&self) -> bool {
        self.signal == Signal::Errors && self.canary >= 0.5
    }
}

impl Guard {
    /// Takes in what was counted since the last look, which is `passed` ago.
    pub fn observe(&mut self, allowed: &Allowed, news: &Both<RevisionLoad>, passed: Duration) {
        self.open.stable.add(&news.stable);
        self.open.canary.add(&news.canary);
        let open_ms = self.open_ms.saturating_add(passed.as_millis() as u64);
        self.open_ms = open_ms.min(BATCH.as_millis() as u64);
        // When a batch ends must not depend on what came of its asks.
        let has_enough = self.open.stable.asks.min(self.open.canary.asks) >= BATCH_ASKS;
        if has_enough && Duration::from_millis(self.open_ms) >= BATCH {
            self.close(allowed);
        }
    }

    fn close(&mut self, allowed: &Allowed) {
        let batch = std::mem::take(&mut self.open);
        self.open_ms = 0;
        for signal in Signal::ALL {
            let Some((bound, tallies)) = self.tallies(signal, allowed, &batch) else {
                continue;
            };
            let rate = self.rates.entry(signal).or_default();
            rate.observe(bound, tallies, enough());
        }
        remember(&mut self.first_token, &batch.stable.first_token);
        remember(&mut self.scores, &batch.stable.scores);
    }

    /// What the signal counts in the batch, and what is allowed. Nothing while it is not known what is slow
    /// or low.
    fn tallies(
        &mut self,
        signal: Signal,
        allowed: &Allowed,
        batch: &Both<RevisionLoad>,
    ) -> Option<(Bound, Both<Tally>)> {
        let (bound, cut) = match signal {
            Signal::Errors => (more(allowed.error_rate), (0, 0)),
            Signal::Escalations => {
                let times = 1.0 + allowed.escalation_increase;
                let plus = ESCALATIONS_PLUS;
                (Bound { times, plus }, (0, 0))
            }
            Signal::FirstToken | Signal::SlowFirstToken => {
                let slow = slow(&self.first_token, signal.part())?;
                let steps = latency_steps(allowed.latency_increase);
                (more(0.0), (slow, slow.saturating_add(steps)))
            }
            Signal::Scores => {
                let low = low(&self.scores, signal.part())?;
                (more(SCORES_PLUS), (low, low))
            }
        };
        self.cuts.insert(signal, cut);
        let tallies = Both {
            stable: tally(signal, &batch.stable, cut.0),
            canary: tally(signal, &batch.canary, cut.1),
        };
        Some((bound, tallies))
    }

    /// What fails the canary, if anything does.
    pub fn failure(&self) -> Option<Failure> {
        let mut rates = self.rates.iter();
        let (signal, rate) = rates.find(|(_, rate)| rate.is_over(enough()))?;
        Some(Failure {
            signal: *signal,
            canary: rate.seen.canary.share(),
            stable: rate.seen.stable.share(),
            of: rate.seen.canary.of,
            cut: self.cuts.get(signal).copied(),
        })
    }

    /// Of late, of each signal that was compared: the shares of both revisions, and how far it is on the way
    /// to a failure, from 0 to 1.
    pub fn shares(&self) -> impl Iterator<Item = (Signal, Both<f64>, f64)> + '_ {
        self.rates.iter().map(|(signal, rate)| {
            let shares = Both {
                stable: rate.seen.stable.share(),
                canary: rate.seen.canary.share(),
            };
            (*signal, shares, rate.way(enough()))
        })
    }
}

fn more(plus: f64) -> Bound {
    Bound { times: 1.0, plus }
}

fn tally(signal: Signal, load: &RevisionLoad, cut: u8) -> Tally {
    match signal {
        Signal::Errors => Tally::new(load.errors, load.asks),
        Signal::Escalations => Tally::new(load.escalations, load.judged),
        Signal::FirstToken | Signal::SlowFirstToken => {
            Tally::new(load.first_token.at_or_above(cut), load.first_token.total())
        }
        Signal::Scores => Tally::new(load.scores.below(cut), load.scores.total()),
    }
}

/// The lowest bucket that at most this part is in or above.
fn slow(times: &Buckets, part: f64) -> Option<u8> {
    let most = times.total() as f64 * part;
    let mut buckets = 0..=u8::MAX;
    let slow = buckets.find(|bucket| times.at_or_above(*bucket) as f64 <= most);
    slow.filter(|_| !times.is_empty())
}

/// The highest bucket that at most this part is below.
fn low(scores: &Buckets, part: f64) -> Option<u8> {
    let most = scores.total() as f64 * part;
    let mut buckets = (0..=score_last()).rev();
    let low = buckets.find(|bucket| scores.below(*bucket) as f64 <= most);
    low.filter(|_| !scores.is_empty())
}

fn score_last() -> u8 {
    crate::load::score_bucket(1.0)
}

fn remember(known: &mut Buckets, new: &Buckets) {
    known.add(new);
    while known.total() > REMEMBERED {
        known.halve();
    }
}

/// What is counted, as it stands before a share.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Errors => "failed attempts",
            Self::Escalations => "escalated asks",
            Self::FirstToken => "late first tokens",
            Self::SlowFirstToken => "very late first tokens",
            Self::Scores => "low scores",
        })
    }
}

/// Both numbers of each signal that was compared, the canary's first.
impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates = self.rates.iter();
        let compared = rates.filter(|(_, rate)| rate.seen.canary.of > 0);
        for (index, (signal, rate)) in compared.enumerate() {
            let (canary, stable) = (rate.seen.canary.share(), rate.seen.stable.share());
            let (canary, stable) = (percent(canary), percent(stable));
            let before = if index == 0 { "" } else { ", " };
            write!(f, "{before}{signal} {canary} and {stable}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (canary, stable) = (percent(self.canary), percent(self.stable));
        let cut = self.cut.unwrap_or_default();
        let time = |bucket| duration_text(latency_edge(bucket));
        match self.signal {
            Signal::Errors => write!(
                f,
                "{canary} of the canary's attempts failed and {stable} of the stable revision's"
            ),
            Signal::Escalations => write!(
                f,
                "{canary} of the canary's asks were escalated and {stable} of the stable revision's"
            ),
            Signal::FirstToken | Signal::SlowFirstToken => write!(
                f,
                "{canary} of the canary's first tokens took {} or more, and {stable} of the stable revision's \
                 took {} or more",
                time(cut.1),
                time(cut.0)
            ),
            Signal::Scores => write!(
                f,
                "{canary} of the canary's scores were below {:.2} and {stable} of the stable revision's",
                score_edge(cut.0)
            ),
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{latency_bucket, score_bucket};

    const ALLOWED: Allowed = Allowed {
        error_rate: 0.01,
        latency_increase: 0.2,
        escalation_increase: 0.1,
    };
    const SECOND: Duration = Duration::from_secs(1);

    /// So many asks, of which each so-manieth failed or went up; first tokens after `millis` and half as
    /// much again by turns.
    fn load(asks: u64, every: u64, millis: u64, score: f64) -> RevisionLoad {
        let mut load = RevisionLoad {
            asks,
            errors: asks / every,
            judged: asks,
            escalations: asks / every,
            ..RevisionLoad::default()
        };
        for ask in 0..asks {
            let millis = millis + millis / 2 * (ask % 2);
            load.first_token
                .count(latency_bucket(Duration::from_millis(millis)));
            load.scores
                .count(score_bucket(score - 0.1 * (ask % 2) as f64));
        }
        load
    }

    /// The guard after `seconds` of these.
    fn after(seconds: u32, stable: &RevisionLoad, canary: &RevisionLoad) -> Guard {
        let mut guard = Guard::default();
        let news = Both {
            stable: stable.clone(),
            canary: canary.clone(),
        };
        (0..seconds).for_each(|_| guard.observe(&ALLOWED, &news, SECOND));
        guard
    }

    fn failed(guard: &Guard) -> Option<(Signal, String)> {
        let failure = guard.failure()?;
        Some((failure.signal, failure.to_string()))
    }

    #[test]
    fn a_canary_that_is_as_the_stable_revision_is_never_failed() {
        let same = load(20, 10, 200, 0.9);
        let guard = after(3600, &same, &same);
        assert_eq!(failed(&guard), None);
        assert_eq!(
            guard.to_string(),
            "failed attempts 10.0 % and 10.0 %, escalated asks 10.0 % and 10.0 %, late first tokens 50.0 % and \
             50.0 %, very late first tokens 0.0 % and 0.0 %, low scores 50.0 % and 50.0 %"
        );
    }

    #[test]
    fn each_signal_fails_a_canary_that_is_worse_in_it_and_says_both_numbers() {
        let stable = load(20, 20, 200, 0.9);
        let mut worse = stable.clone();
        worse.errors = 3;
        let (signal, said) = failed(&after(300, &stable, &worse)).unwrap();
        assert_eq!(signal, Signal::Errors);
        assert_eq!(
            said,
            "15.0 % of the canary's attempts failed and 5.0 % of the stable revision's"
        );

        let mut worse = stable.clone();
        worse.escalations = 3;
        let (signal, said) = failed(&after(300, &stable, &worse)).unwrap();
        assert_eq!(signal, Signal::Escalations);
        assert!(
            said.starts_with("15.0 % of the canary's asks were escalated"),
            "{said}"
        );

        let slower = load(20, 20, 300, 0.9);
        let (signal, said) = failed(&after(300, &stable, &slower)).unwrap();
        assert_eq!(signal, Signal::FirstToken);
        let expected = "100.0 % of the canary's first tokens took 260ms or more, and 50.0 % of the stable \
                        revision's took 216ms or more";
        assert_eq!(said, expected);

        let lower = load(20, 20, 200, 0.75);
        let (signal, said) = failed(&after(300, &stable, &lower)).unwrap();
        assert_eq!(signal, Signal::Scores);
        assert_eq!(
            said,
            "100.0 % of the canary's scores were below 0.88 and 50.0 % of the stable revision's"
        );
    }

    #[test]
    fn a_few_first_tokens_that_are_much_slower_are_seen_where_the_median_is_not() {
        let stable = load(20, 20, 200, 0.9);
        let mut worse = load(16, 20, 200, 0.9);
        let bucket = |millis| latency_bucket(Duration::from_millis(millis));
        for millis in [200, 200, 5000, 5000] {
            worse.first_token.count(bucket(millis));
        }
        let (signal, _) = failed(&after(300, &stable, &worse)).unwrap();
        assert_eq!(signal, Signal::SlowFirstToken);
    }

    #[test]
    fn times_that_are_longer_by_what_is_allowed_fail_nobody() {
        let stable = load(20, 20, 200, 0.9);
        assert_eq!(failed(&after(3600, &stable, &load(20, 20, 239, 0.9))), None);
    }

    #[test]
    fn a_burst_of_a_few_seconds_fails_nobody_and_errors_that_go_on_do() {
        let (good, bad) = (load(20, 100, 200, 0.9), load(20, 1, 200, 0.9));
        let mut guard = after(60, &good, &good);
        let news = |canary: &RevisionLoad| Both {
            stable: good.clone(),
            canary: canary.clone(),
        };
        (0..9).for_each(|_| guard.observe(&ALLOWED, &news(&bad), SECOND));
        (0..60).for_each(|_| guard.observe(&ALLOWED, &news(&good), SECOND));
        assert_eq!(failed(&guard), None);
        (0..60).for_each(|_| guard.observe(&ALLOWED, &news(&bad), SECOND));
        assert_eq!(
            failed(&guard).map(|(signal, _)| signal),
            Some(Signal::Errors)
        );
    }

    #[test]
    fn a_batch_waits_for_asks_of_both_and_for_its_time() {
        let is_open = |guard: &Guard| guard.rates.is_empty();
        let (one, eight) = (load(1, 10, 200, 0.9), load(8, 10, 200, 0.9));
        assert!(is_open(&after(4, &eight, &eight)));
        assert!(!is_open(&after(5, &eight, &eight)));
        assert!(is_open(&after(7, &eight, &one)));
        assert!(!is_open(&after(8, &eight, &one)));
    }

    #[test]
    fn a_guard_that_was_written_and_read_goes_on_as_it_would_have() {
        let stable = load(20, 20, 200, 0.9);
        let mut worse = stable.clone();
        worse.errors = 2;
        let mut kept = after(33, &stable, &worse);
        let mut read: Guard = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
        let news = Both {
            stable,
            canary: worse,
        };
        for _ in 0..600 {
            kept.observe(&ALLOWED, &news, SECOND);
            read.observe(&ALLOWED, &news, SECOND);
            assert_eq!(kept.failure().is_some(), read.failure().is_some());
        }
        assert!(kept.failure().is_some());
        let bytes = serde_json::to_string(&kept).unwrap().len();
        assert!(bytes < 4000, "{bytes} bytes");
    }
}
