//! Whether a replica is left alone for a while, by what came of asking it.

use std::time::Duration;

use tokio::time::Instant;

use crate::refusal::Failure;

/// After one failure, doubled with each that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Whoever takes an ask and falls silent costs each ask the whole of its patience.
const PAUSE_OF_SILENT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Health {
    /// One after the other.
    failures: u32,
    failed_at: Option<Instant>,
    out_until: Option<Instant>,
}

impl Health {
    /// An attempt that began at `began` was answered. What began before the last failure says nothing of what
    /// the replica has become since.
    pub fn answered(&mut self, began: Instant) {
        if !self.has_failed_since(began) {
            *self = Self::default();
        }
    }

    /// Counts the failure of an attempt that began at `began`, if it is one of the replica and not of what was
    /// asked. All that was under way when the replica failed fails for the same reason, and is one failure.
    pub fn failed(&mut self, failure: &Failure, (began, now): (Instant, Instant)) {
        if self.is_out(now) || self.has_failed_since(began) {
            return;
        }
        let pause = match failure {
            Failure::Silent { .. } => PAUSE_OF_SILENT,
            Failure::Connect { .. }
            | Failure::Lost { .. }
            | Failure::Leaving { .. }
            | Failure::Broken { .. } => {
                let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10));
                doubled.min(LONGEST_PAUSE)
            }
            _ => return,
        };
        self.failures += 1;
        self.failed_at = Some(now);
        self.out_until = Some(now + pause);
    }

    fn has_failed_since(&self, began: Instant) -> bool {
        self.failed_at.is_some_and(|failed| began <= failed)
    }

    pub fn is_out(&self, now: Instant) -> bool {
        self.out_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lost() -> Failure {
        Failure::Lost { tier: "t".into() }
    }

    fn fail(health: &mut Health, now: Instant) {
        health.failed(&lost(), (now, now));
    }

    #[test]
    fn each_failure_leaves_a_replica_alone_for_longer_until_it_answers() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            fail(&mut health, now);
            assert!(health.is_out(now + pause * SECOND - SECOND / 2), "{pause}");
            now += pause * SECOND;
            assert!(!health.is_out(now), "{pause}");
        }
        fail(&mut health, now);
        health.answered(now + SECOND);
        assert!(!health.is_out(now));
        fail(&mut health, now);
        assert!(!health.is_out(now + SECOND), "it begins anew");
    }

    #[test]
    fn all_that_a_crash_breaks_off_is_one_failure_whenever_it_is_noticed() {
        let (mut health, now) = (Health::default(), Instant::now());
        let began = now - SECOND;
        for noticed in [0, 100, 900, 5000, 20_000] {
            let noticed = now + Duration::from_millis(noticed);
            health.failed(&lost(), (began, noticed));
        }
        health.answered(began);
        assert!(
            health.is_out(now + SECOND / 2),
            "it was written before the crash"
        );
        assert!(!health.is_out(now + SECOND));
        fail(&mut health, now + 2 * SECOND);
        assert!(health.is_out(now + 3 * SECOND), "the second crash");
        assert!(!health.is_out(now + 4 * SECOND));
    }

    #[test]
    fn who_is_asked_although_it_is_out_is_not_out_for_longer() {
        let (mut health, now) = (Health::default(), Instant::now());
        fail(&mut health, now);
        for millis in 1..10 {
            fail(&mut health, now + Duration::from_millis(100 * millis));
        }
        assert!(!health.is_out(now + SECOND));
    }

    #[test]
    fn silence_counts_for_long_and_what_the_ask_is_to_blame_for_not_at_all() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.failed(&Failure::TooLong { tier: "t".into() }, (now, now));
        assert_eq!(health, Health::default());
        health.failed(&Failure::Silent { tier: "t".into() }, (now, now));
        assert!(health.is_out(now + 29 * SECOND));
    }
}
