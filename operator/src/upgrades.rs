//! Whose turn it is: deployments whose revision is of an older operator are replaced a few at a time.
//!
//! A leader that begins gives no turns for a while, in which it learns which deployments have one. A turn ends
//! with its rollout, and where that waits for people or asks that may never come.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// A deployment, by namespace and name.
type Of = (String, String);

/// So long the passes of a leader that begins may take to find what goes on.
const LEARNING: Duration = Duration::from_secs(15);

/// The deployments whose turn it is. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Upgrades(Arc<Mutex<Turns>>);

#[derive(Debug, Default)]
struct Turns {
    began: Option<Instant>,
    taken: BTreeSet<Of>,
}

impl Upgrades {
    /// Another time of leading begins.
    pub fn begin_term(&self, now: Instant) {
        *self.lock() = Turns {
            began: Some(now),
            taken: BTreeSet::new(),
        };
    }

    /// Whether it is its turn, of so many at a time.
    pub fn take(&self, of: &Of, most: usize, now: Instant) -> bool {
        let mut turns = self.lock();
        let learnt = turns
            .began
            .is_none_or(|began| now.saturating_duration_since(began) >= LEARNING);
        if learnt && turns.taken.len() < most {
            turns.taken.insert(of.clone());
        }
        turns.taken.contains(of)
    }

    /// Its rollout goes on, or does not.
    pub fn tell(&self, of: &Of, goes_on: bool) {
        let mut turns = self.lock();
        match goes_on {
            true => drop(turns.taken.insert(of.clone())),
            false => drop(turns.taken.remove(of)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.0
            .lock()
            .expect("nothing panics while it holds the turns")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Of {
        ("support".into(), name.into())
    }

    #[test]
    fn a_few_have_their_turn_and_the_next_when_one_of_them_ends() {
        let (upgrades, now) = (Upgrades::default(), Instant::now());
        let turns = ["a", "b", "c", "a"].map(|name| upgrades.take(&of(name), 2, now));
        assert_eq!(turns, [true, true, false, true]);
        upgrades.tell(&of("a"), false);
        let turns = ["c", "a", "b"].map(|name| upgrades.take(&of(name), 2, now));
        assert_eq!(turns, [true, false, true]);
        assert!(!Upgrades::default().take(&of("a"), 0, now), "none at all");
    }

    #[test]
    fn a_new_leader_learns_first_what_goes_on() {
        let (upgrades, now) = (Upgrades::default(), Instant::now());
        upgrades.begin_term(now);
        assert!(!upgrades.take(&of("a"), 1, now + LEARNING / 2));
        upgrades.tell(&of("b"), true);
        let turns = ["a", "b"].map(|name| upgrades.take(&of(name), 1, now + LEARNING));
        assert_eq!(turns, [false, true]);
    }
}
