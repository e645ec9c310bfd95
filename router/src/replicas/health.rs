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
    out_until: Option<Instant>,
}

impl Health {
    pub fn answered(&mut self) {
        *self = Self::default();
    }

    /// Counts a failure, if it is one of the replica and not of what was asked.
    pub fn failed(&mut self, failure: &Failure, now: Instant) {
        let pause = match failure {
            Failure::Silent { .. } => PAUSE_OF_SILENT,
            Failure::Connect { .. } | Failure::Lost { .. } | Failure::Broken { .. } => {
                let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10));
                doubled.min(LONGEST_PAUSE)
            }
            _ => return,
        };
        self.failures += 1;
        self.out_until = Some(now + pause);
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

    #[test]
    fn each_failure_leaves_a_replica_alone_for_longer_until_it_answers() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            health.failed(&lost(), now);
            assert!(health.is_out(now + pause * SECOND - SECOND / 2), "{pause}");
            now += pause * SECOND;
            assert!(!health.is_out(now), "{pause}");
        }
        health.failed(&lost(), now);
        health.answered();
        assert!(!health.is_out(now));
        health.failed(&lost(), now);
        assert!(!health.is_out(now + SECOND), "it begins anew");
    }

    #[test]
    fn silence_counts_for_long_and_what_the_ask_is_to_blame_for_not_at_all() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.failed(&Failure::TooLong { tier: "t".into() }, now);
        assert_eq!(health, Health::default());
        health.failed(&Failure::Silent { tier: "t".into() }, now);
        assert!(health.is_out(now + 29 * SECOND));
    }
}
