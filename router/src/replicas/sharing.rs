//! The time of a replica, in equal parts for the answers that it has in hand: what an attempt there costs follows
//! from that. All parts together are the time in which it had any.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time of one replica; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Sharing(Arc<Mutex<Parts>>);

#[derive(Debug)]
struct Parts {
    /// What one answer has had that was there from the beginning, until `since`.
    each: Duration,
    since: Instant,
    /// So many are there since then.
    answers: u32,
}

/// What one attempt has of a replica's time: it grows until the attempt ends there.
#[derive(Clone, Debug)]
pub(crate) struct Share(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    of: Sharing,
    answers: u32,
    began: Duration,
    ended: OnceLock<Duration>,
}

impl Sharing {
    pub fn begin(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Parts {
            each: Duration::ZERO,
            since: now,
            answers: 0,
        })))
    }

    /// From now on so many answers are there, of all routers together.
    pub fn among(&self, answers: u32, now: Instant) {
        let mut parts = self.lock();
        parts.each = parts.each(now);
        parts.since = parts.since.max(now);
        parts.answers = answers;
    }

    /// The share of an attempt that begins now, with so many answers.
    pub fn share(&self, answers: u32) -> Share {
        Share(Arc::new(Taken {
            of: self.clone(),
            answers,
            began: self.each(),
            ended: OnceLock::new(),
        }))
    }

    fn each(&self) -> Duration {
        self.lock().each(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    fn each(&self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.since);
        self.each + passed.checked_div(self.answers).unwrap_or_default()
    }
}

impl Share {
    /// Until now, or until it ended.
    pub fn time(&self) -> Duration {
        let taken = &self.0;
        let until = taken.ended.get().copied();
        let until = until.unwrap_or_else(|| taken.of.each());
        until.saturating_sub(taken.began) * taken.answers
    }

    pub(super) fn end(&self) {
        self.0.ended.get_or_init(|| self.0.of.each());
    }

    pub fn answers(&self) -> u32 {
        self.0.answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_moment_is_shared_by_those_that_are_there_then_and_not_by_those_that_were_there_first()
     {
        let sharing = Sharing::begin(Instant::now());
        sharing.among(1, Instant::now());
        let first = sharing.share(1);
        advance(2 * SECOND).await;
        // One with three answers comes.
        sharing.among(4, Instant::now());
        let second = sharing.share(3);
        advance(4 * SECOND).await;
        first.end();
        sharing.among(3, Instant::now());
        advance(6 * SECOND).await;
        assert_eq!(first.time(), 3 * SECOND);
        assert_eq!(second.time(), 9 * SECOND);
        assert_eq!(first.time() + second.time(), 12 * SECOND, "all of it");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_in_which_a_replica_has_nothing_in_hand_is_in_no_share() {
        let sharing = Sharing::begin(Instant::now());
        advance(60 * SECOND).await;
        sharing.among(1, Instant::now());
        let share = sharing.share(1);
        advance(SECOND).await;
        share.end();
        sharing.among(0, Instant::now());
        advance(60 * SECOND).await;
        assert_eq!(share.time(), SECOND);
    }
}
