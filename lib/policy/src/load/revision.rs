//! What came of attempts at one revision of a deployment, as a router counts it: sums since its run
//! began, so that a report that is lost, late or read twice changes nothing.
//!
//! Times and scores are counted in buckets that are the same everywhere, so that the reports of many
//! routers add up. Each step of times is a little less than 10 %, two of them are 20 %; scores are stepped
//! by their log-odds, because most of them lie near 1.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What came of attempts at one revision.
///
/// An attempt is counted once, when it is over, for the revision of the replica that it was at; so is a
/// question to a classifier. One that its client left, that no replica could have served (the request was at
/// fault), or that a replica handed back because it was told to go, is not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionLoad {
    pub asks: u64,
    /// Of those: how many the replica failed, by an error, a broken stream or no word in time. What went on
    /// at another replica failed here too.
    #[serde(default)]
    pub errors: u64,
    /// Of those: how many had an end that was judged, by a score or by a hard signal. What is asked again
    /// because all other tiers failed is not judged again.
    #[serde(default)]
    pub judged: u64,
    /// Of those that were judged: how many went up a tier, or would have, had they been held back.
    #[serde(default)]
    pub escalations: u64,
    /// From the attempt's begin to its first token, or to all of what comes as one, by [`latency_bucket`].
    #[serde(default, skip_serializing_if = "Buckets::is_empty")]
    pub first_token: Buckets,
    /// Of those that came to an end and had one, also where the answer counted whatever its score, by
    /// [`score_bucket`].
    #[serde(default, skip_serializing_if = "Buckets::is_empty")]
    pub scores: Buckets,
}

impl RevisionLoad {
    /// What was counted after `earlier`, a report of the same run; nothing where this is the earlier one.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            asks: self.asks.saturating_sub(earlier.asks),
            errors: self.errors.saturating_sub(earlier.errors),
            judged: self.judged.saturating_sub(earlier.judged),
            escalations: self.escalations.saturating_sub(earlier.escalations),
            first_token: self.first_token.since(&earlier.first_token),
            scores: self.scores.since(&earlier.scores),
        }
    }

    /// Adds what was counted elsewhere, or later.
    pub fn add(&mut self, other: &Self) {
        self.asks = self.asks.saturating_add(other.asks);
        self.errors = self.errors.saturating_add(other.errors);
        self.judged = self.judged.saturating_add(other.judged);
        self.escalations = self.escalations.saturating_add(other.escalations);
        self.first_token.add(&other.first_token);
        self.scores.add(&other.scores);
    }
}

/// How many numbers fell into each bucket, without those that none fell into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Buckets(BTreeMap<u8, u64>);

impl Buckets {
    /// Counts one number, by its bucket.
    pub fn count(&mut self, bucket: u8) {
        let count = self.0.entry(bucket).or_default();
        *count = count.saturating_add(1);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All numbers.
    pub fn total(&self) -> u64 {
        self.at_or_above(0)
    }

    /// Those in this bucket and in higher ones.
    pub fn at_or_above(&self, bucket: u8) -> u64 {
        self.0
            .range(bucket..)
            .fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Those in lower buckets.
    pub fn below(&self, bucket: u8) -> u64 {
        self.0
            .range(..bucket)
            .fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let later = self.0.iter().map(|(bucket, count)| {
            let before = earlier.0.get(bucket).copied().unwrap_or_default();
            (*bucket, count.saturating_sub(before))
        });
        Self(later.filter(|(_, count)| *count > 0).collect())
    }

    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            let sum = self.0.entry(*bucket).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// Keeps half of every count, so that newer numbers come to weigh more.
    pub fn halve(&mut self) {
        self.0.retain(|_, count| {
            *count /= 2;
            *count > 0
        });
    }
}

/// Two steps of this are 20 %, the increase that a guard allows by itself.
const LATENCY_STEP: f64 = 1.095_445_115_010_332_3;
/// From 97 s on, which no client waits for.
const LATENCY_LAST: u8 = 127;
/// Log-odds: 6 is 99.75 %.
const SCORE_ENDS: f64 = 6.0;
const SCORE_STEP: f64 = 0.4;
const SCORE_LAST: u8 = 31;

/// The bucket of a time: 0 is under a millisecond.
pub fn latency_bucket(time: Duration) -> u8 {
    let millis = time.as_secs_f64() * 1000.0;
    stepped(millis.ln() / LATENCY_STEP.ln(), LATENCY_LAST)
}

/// The shortest time of a bucket.
pub fn latency_edge(bucket: u8) -> Duration {
    match bucket {
        0 => Duration::ZERO,
        _ => Duration::from_secs_f64(LATENCY_STEP.powi(i32::from(bucket) - 1) / 1000.0),
    }
}

/// How many buckets up times are that are longer by this part, rounded up.
pub fn latency_steps(increase: f64) -> u8 {
    // What is a whole number of steps but for rounding is that number.
    let steps = (1.0 + increase).ln() / LATENCY_STEP.ln() - 1e-9;
    steps.ceil().clamp(0.0, f64::from(LATENCY_LAST)) as u8
}

/// The bucket of a score from 0 to 1.
pub fn score_bucket(score: f64) -> u8 {
    let odds = (score / (1.0 - score)).ln();
    stepped((odds + SCORE_ENDS) / SCORE_STEP, SCORE_LAST)
}

/// The lowest score of a bucket.
pub fn score_edge(bucket: u8) -> f64 {
    match bucket {
        0 => 0.0,
        _ => {
            let odds = f64::from(bucket - 1) * SCORE_STEP - SCORE_ENDS;
            1.0 / (1.0 + (-odds).exp())
        }
    }
}

/// Bucket 0 is all below the first edge, 1 begins at it. What is no number is in bucket 0.
fn stepped(steps: f64, last: u8) -> u8 {
    // A number that was made from an edge lies a hair beside it.
    ((steps + 1e-9).floor() + 1.0).clamp(0.0, f64::from(last)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_edge_begins_its_bucket() {
        for bucket in 1..=LATENCY_LAST {
            let edge = latency_edge(bucket);
            assert_eq!(latency_bucket(edge + Duration::from_nanos(1)), bucket);
            assert_eq!(latency_bucket(edge.mul_f64(0.999)), bucket - 1);
        }
        for bucket in 1..=SCORE_LAST {
            assert_eq!(score_bucket(score_edge(bucket)), bucket);
            assert_eq!(score_bucket(score_edge(bucket) - 1e-6), bucket - 1);
        }
        assert_eq!(latency_bucket(Duration::ZERO), 0);
        assert_eq!(latency_bucket(Duration::from_secs(4000)), LATENCY_LAST);
        assert_eq!([0.0, 1.0].map(score_bucket), [0, SCORE_LAST]);
        assert!(latency_edge(LATENCY_LAST) > Duration::from_secs(90));
    }

    #[test]
    fn twenty_per_cent_are_two_steps_and_what_is_between_steps_is_rounded_up() {
        let steps = [0.0, 0.05, 0.1, 0.2, 0.21, 0.44, 1.0, 10.0].map(latency_steps);
        assert_eq!(steps, [0, 1, 2, 2, 3, 4, 8, 27]);
    }

    proptest! {
        #[test]
        fn times_that_are_longer_by_an_increase_are_so_many_buckets_up_at_most(
            millis in 1f64..50_000.0,
            increase in 0f64..3.0,
        ) {
            let bucket = |millis: f64| latency_bucket(Duration::from_secs_f64(millis / 1000.0));
            let moved = bucket(millis * (1.0 + increase));
            prop_assert!(moved <= bucket(millis) + latency_steps(increase));
        }
    }

    #[test]
    fn what_was_counted_since_and_what_was_before_are_all() {
        let mut before = RevisionLoad {
            asks: 5,
            errors: 1,
            ..RevisionLoad::default()
        };
        before.first_token.count(7);
        let mut after = before.clone();
        after.asks = 9;
        after.judged = 2;
        after.first_token.count(7);
        after.first_token.count(9);
        let news = after.since(&before);
        assert_eq!((news.asks, news.errors, news.judged), (4, 0, 2));
        assert_eq!(news.first_token.total(), 2);
        assert_eq!(
            (news.first_token.below(9), news.first_token.at_or_above(9)),
            (1, 1)
        );
        assert_eq!(
            before.since(&after),
            RevisionLoad::default(),
            "an old report"
        );
        before.add(&news);
        assert_eq!(before, after);
    }

    #[test]
    fn a_count_survives_the_way_through_json_and_unknown_fields_do_no_harm() {
        let mut load = RevisionLoad {
            asks: 2,
            judged: 1,
            ..RevisionLoad::default()
        };
        load.first_token.count(41);
        load.scores.count(score_bucket(0.97));
        let json = serde_json::to_value(&load).unwrap();
        let expected = serde_json::json!({
            "asks": 2, "errors": 0, "judged": 1, "escalations": 0,
            "first_token": { "41": 1 }, "scores": { "24": 1 },
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<RevisionLoad>(json).unwrap(), load);
        let newer = r#"{"asks":2,"heat":9}"#;
        assert_eq!(serde_json::from_str::<RevisionLoad>(newer).unwrap().asks, 2);
    }

    #[test]
    fn half_of_what_was_counted_is_kept() {
        let mut buckets = Buckets::default();
        (0..5).for_each(|_| buckets.count(3));
        buckets.count(4);
        buckets.halve();
        assert_eq!((buckets.total(), buckets.at_or_above(4)), (2, 0));
    }
}
