//! What one may have at a time, and nobody waits for too long.

use std::time::Duration;

use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};

#[derive(Debug)]
pub(super) struct Turns<T> {
    what: Mutex<T>,
    longest: Duration,
}

/// Others come first, and that takes too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLate;

impl<T> Turns<T> {
    /// Whoever comes waits for its turn so long at most.
    pub(super) fn new(what: T, longest: Duration) -> Self {
        Self {
            what: Mutex::new(what),
            longest,
        }
    }

    /// Until the guard is dropped.
    pub(super) async fn next(&self) -> Result<MutexGuard<'_, T>, TooLate> {
        let turn = timeout(self.longest, self.what.lock()).await;
        turn.map_err(|_| TooLate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_too_long_for_a_turn_is_sent_away_and_the_next_has_one() {
        let turns = Turns::new((), Duration::from_millis(1));
        let held = turns.next().await.unwrap();
        // Without a limit nobody would ever be told.
        let waited = timeout(Duration::from_secs(60), turns.next()).await;
        assert_eq!(waited.expect("the wait ends").err(), Some(TooLate));
        drop(held);
        assert!(turns.next().await.is_ok());
    }
}
