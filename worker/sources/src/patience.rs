//! How long trouble that may pass is waited for.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::{SourceError, Trouble};

/// How long to wait, and for how long at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The longest time without one more byte, or without an answer.
    pub total: Duration,
    /// The wait after the first failure; it doubles from there.
    pub first: Duration,
    /// No wait is longer, unless the server asks for more.
    pub longest: Duration,
    /// How long a server may be silent before it counts as gone.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // Hubs limit by windows of five minutes: two of them.
            total: Duration::from_secs(600),
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            silence: Duration::from_secs(30),
        }
    }
}

/// One row of failures.
#[derive(Debug)]
pub(crate) struct Waiting {
    patience: Patience,
    since: Option<Instant>,
    failures: u32,
}

impl Waiting {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            patience,
            since: None,
            failures: 0,
        }
    }

    /// Something came: the next failure is the first of its row.
    pub(crate) fn progressed(&mut self) {
        self.since = None;
        self.failures = 0;
    }

    /// Waits after `trouble` with `address`, or gives up.
    pub(crate) async fn after(
        &mut self,
        trouble: Trouble,
        address: &str,
    ) -> Result<(), SourceError> {
        let (what, asked) = match trouble {
            Trouble::Final(error) => return Err(error),
            Trouble::Passing { what, after } => (what, after),
        };
        match self.next(Instant::now(), asked) {
            Some(wait) => {
                tracing::warn!(
                    address,
                    wait_ms = wait.as_millis() as u64,
                    "trying again: {what}"
                );
                sleep(wait).await;
                Ok(())
            }
            None => Err(SourceError::Unavailable {
                address: address.to_owned(),
                patience: self.patience.total,
                last: match asked {
                    Some(asked) => format!("{what}, and asks to wait {} s", asked.as_secs()),
                    None => what,
                },
            }),
        }
    }

    /// How long to wait after a failure at `now`; nothing where that is beyond patience.
    fn next(&mut self, now: Instant, asked: Option<Duration>) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let doubled = self.patience.first * 2u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        let wait = doubled
            .min(self.patience.longest)
            .max(asked.unwrap_or_default());
        (now - since + wait <= self.patience.total).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> Waiting {
        Waiting::new(Patience {
            total: Duration::from_secs(60),
            first: Duration::from_secs(1),
            longest: Duration::from_secs(8),
            ..Patience::default()
        })
    }

    #[test]
    fn waits_double_up_to_the_longest_and_end_with_patience() {
        let mut waiting = waiting();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        while let Some(wait) = waiting.next(now, None) {
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [1, 2, 4, 8, 8, 8, 8, 8, 8]);
    }

    #[test]
    fn progress_begins_a_new_row() {
        let mut waiting = waiting();
        let now = Instant::now();
        assert!(waiting.next(now, None).is_some());
        let later = now + Duration::from_secs(3600);
        waiting.progressed();
        assert_eq!(waiting.next(later, None), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_server_is_left_alone_for_as_long_as_it_asks_within_patience() {
        let now = Instant::now();
        let asked = |seconds| waiting().next(now, Some(Duration::from_secs(seconds)));
        assert_eq!(asked(0), Some(Duration::from_secs(1)));
        assert_eq!(asked(50), Some(Duration::from_secs(50)));
        assert_eq!(asked(61), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stays_away_is_given_up_with_its_last_words() {
        let mut waiting = waiting();
        let error = loop {
            let trouble = Trouble::passing("503 Service Unavailable");
            if let Err(error) = waiting.after(trouble, "hf://a/b").await {
                break error;
            }
        };
        assert_eq!(
            error.to_string(),
            "hf://a/b has not answered usefully for 60 s: 503 Service Unavailable"
        );
        assert!(!error.is_permanent());
    }
}
