//! What may be had in a minute, refilled as time goes by. Pure: the time is an argument.
//!
//! - It begins full, and never holds more than a minute's worth.
//! - Another worth rescales what is left, and adds nothing to it.
//! - More than its worth is given by a full bucket, which owes the rest: over time nobody gets more.

use std::time::Duration;

use tokio::time::Instant;

const MINUTE_SECONDS: f64 = 60.0;
/// Of a minute's worth: less than this is missing by rounding alone.
const ROUNDING: f64 = 1e-9;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bucket {
    /// Below zero it owes.
    left: f64,
    /// Of a minute; more than zero.
    worth: f64,
    /// When `left` was so.
    at: Instant,
}

impl Bucket {
    pub fn full(worth: f64, now: Instant) -> Self {
        Self {
            left: worth,
            worth,
            at: now,
        }
    }

    /// Brings it to `now`, from when on a minute is worth `worth`.
    pub fn turn(&mut self, worth: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let refilled = self.left + self.worth * passed / MINUTE_SECONDS;
        self.left = refilled.min(self.worth) * (worth / self.worth);
        self.worth = worth;
        // Whoever looked at the clock first may come last.
        self.at = self.at.max(now);
    }

    /// Nothing where it owes.
    pub fn left(&self) -> f64 {
        self.left.max(0.0)
    }

    pub fn worth(&self) -> f64 {
        self.worth
    }

    /// How long until it holds `amount`, or is full where that is more than its worth.
    pub fn wait(&self, amount: f64) -> Duration {
        let missing = (amount.min(self.worth) - self.left) / self.worth;
        match missing > ROUNDING {
            true => Duration::from_secs_f64(missing * MINUTE_SECONDS),
            false => Duration::ZERO,
        }
    }

    pub fn is_full(&self) -> bool {
        self.wait(self.worth).is_zero()
    }

    pub fn take(&mut self, amount: f64) {
        self.left -= amount;
    }

    /// Gives back, or takes where `amount` is below zero.
    pub fn give(&mut self, amount: f64) {
        self.left = (self.left + amount).min(self.worth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_minutes_worth_is_there_at_once_and_comes_back_as_time_goes_by() {
        let now = Instant::now();
        let mut bucket = Bucket::full(60.0, now);
        for _ in 0..60 {
            assert_eq!(bucket.wait(1.0), Duration::ZERO);
            bucket.take(1.0);
        }
        assert_eq!(bucket.wait(1.0), SECOND);
        assert_eq!(bucket.wait(30.0), 30 * SECOND);
        bucket.turn(60.0, now + SECOND);
        assert_eq!(bucket.wait(1.0), Duration::ZERO);
        bucket.turn(60.0, now + 3600 * SECOND);
        assert_eq!(bucket.left(), 60.0, "no more than a minute's worth");
    }

    #[test]
    fn a_clock_that_is_read_out_of_order_refills_nothing_twice() {
        let now = Instant::now();
        let mut bucket = Bucket::full(60.0, now);
        bucket.take(60.0);
        bucket.turn(60.0, now + SECOND);
        bucket.turn(60.0, now);
        bucket.turn(60.0, now + SECOND);
        assert_eq!(bucket.left(), 1.0);
    }

    #[test]
    fn another_worth_rescales_what_is_left_and_refills_nothing() {
        let now = Instant::now();
        let mut bucket = Bucket::full(60.0, now);
        bucket.take(60.0);
        for worth in [30.0, 60.0, 10.0, 60.0] {
            bucket.turn(worth, now);
            assert_eq!(bucket.left(), 0.0);
        }
        bucket.give(30.0);
        bucket.turn(20.0, now);
        assert_eq!(bucket.left(), 10.0);
    }

    #[test]
    fn more_than_its_worth_is_given_by_a_full_bucket_which_then_owes_it() {
        let now = Instant::now();
        let mut bucket = Bucket::full(10.0, now);
        assert_eq!(bucket.wait(25.0), Duration::ZERO);
        bucket.take(25.0);
        assert_eq!((bucket.left(), bucket.wait(25.0)), (0.0, 150 * SECOND));
        bucket.turn(10.0, now + 149 * SECOND);
        assert!(!bucket.is_full());
        bucket.turn(10.0, now + 150 * SECOND);
        assert!(bucket.is_full());
    }

    #[test]
    fn what_is_given_back_does_not_make_it_overflow() {
        let mut bucket = Bucket::full(10.0, Instant::now());
        bucket.take(4.0);
        bucket.give(9.0);
        assert_eq!(bucket.left(), 10.0);
        bucket.give(-12.0);
        assert_eq!(bucket.left(), 0.0);
    }
}
