//! The time of a replica, in equal parts for the sequences that it has in hand: what an attempt there costs follows
//! from that. All parts together are the time in which it had any.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time of one replica; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Sharing(Arc<Mutex<Parts>>);

#[derive(Debug)]
struct Parts {
    /// What one sequence has had that was there from the beginning, until `since`.
    each: Duration,
    since: Instant,
    /// So many are there since then.
    sequences: u32,
}

/// What one attempt has of a replica's time: it grows until the attempt ends there.
#[derive(Clone, Debug)]
pub(crate) struct Share(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    of: Sharing,
    sequences: u32,
    began: Duration,
    ended: OnceLock<Duration>,
}

/// What one attempt has of the time of each replica that it was at, also of those it was at in vain; clones are
/// the same.
#[derive(Clone, Debug)]
pub(crate) struct Shares(Arc<Mutex<Vec<Share>>>);

impl Sharing {
    pub fn begin(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Parts {
            each: Duration::ZERO,
            since: now,
            sequences: 0,
        })))
    }

    /// From now on so many sequences are there, of all routers together.
    pub fn among(&self, sequences: u32, now: Instant) {
        let mut parts = self.lock();
        parts.each = parts.each(now);
        parts.since = parts.since.max(now);
        parts.sequences = sequences;
    }

    /// The share of an attempt that begins now, with so many sequences.
    pub fn share(&self, sequences: u32) -> Share {
        Share(Arc::new(Taken {
            of: self.clone(),
            sequences,
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
        self.each + passed.checked_div(self.sequences).unwrap_or_default()
    }
}

impl Share {
    /// Until now, or until it ended.
    pub fn time(&self) -> Duration {
        let taken = &self.0;
        let until = taken.ended.get().copied();
        let until = until.unwrap_or_else(|| taken.of.each());
        until.saturating_sub(taken.began) * taken.sequences
    }

    pub(super) fn end(&self) {
        self.0.ended.get_or_init(|| self.0.of.each());
    }

    pub fn sequences(&self) -> u32 {
        self.0.sequences
    }
}

impl Shares {
    pub fn begin(first: Share) -> Self {
        Self(Arc::new(Mutex::new(vec![first])))
    }

    pub fn add(&self, share: Share) {
        self.lock().push(share);
    }

    pub fn time(&self) -> Duration {
        self.lock().iter().map(Share::time).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Share>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        // One with three sequences comes.
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
