//! What is to be looked at, and when: keys with a time, each at most once at a time.
//!
//! A key that is added while it is being worked on is handed out again afterwards; several
//! additions are one. Time is an argument everywhere but in [`Queue::next`], which waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How the work on a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more to do until something changes.
    Settled,
    /// Look again after this long, also if nothing changes.
    Again(Duration),
    /// It failed for a reason that may pass: look again, later each time.
    Failed,
    /// The same, but never later than after this long.
    FailedFor(Duration),
}

/// The first retry comes this soon: most failures are a write that somebody else outran.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// What keeps failing is still tried this often, so that nobody has to touch an object to wake it.
const LAST_RETRY: Duration = Duration::from_secs(120);

pub struct Queue<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

struct State<K> {
    due: BTreeMap<K, Instant>,
    /// The same, the soonest first.
    order: BTreeSet<(Instant, K)>,
    running: BTreeSet<K>,
    failures: BTreeMap<K, u32>,
}

impl<K: Clone + Ord> Default for Queue<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                due: BTreeMap::new(),
                order: BTreeSet::new(),
                running: BTreeSet::new(),
                failures: BTreeMap::new(),
            }),
            wake: Notify::new(),
        }
    }
}

impl<K: Clone + Ord> Queue<K> {
    /// The key is due at `at`, or at the time it was already due if that is sooner.
    pub fn add(&self, key: K, at: Instant) {
        self.state().add(key, at);
        self.wake.notify_one();
    }

    /// The next key that is due and not being worked on. It counts as being worked on until
    /// [`Queue::done`]. Cancelling loses nothing. For one caller at a time.
    pub async fn next(&self) -> K {
        loop {
            let wait = match self.state().take(Instant::now()) {
                Taken::Key(key) => return key,
                Taken::Until(at) => Some(at),
                Taken::Nothing => None,
            };
            match wait {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, self.wake.notified()).await;
                }
                None => self.wake.notified().await,
            }
        }
    }

    /// The work on `key` has ended so.
    pub fn done(&self, key: &K, outcome: Outcome, now: Instant) {
        self.state().done(key, outcome, now);
        self.wake.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state
            .lock()
            .expect("nothing panics while it holds the queue")
    }
}

enum Taken<K> {
    Key(K),
    Until(Instant),
    Nothing,
}

impl<K: Clone + Ord> State<K> {
    fn add(&mut self, key: K, at: Instant) {
        match self.due.get(&key) {
            Some(due) if *due <= at => return,
            Some(due) => drop(self.order.remove(&(*due, key.clone()))),
            None => {}
        }
        self.due.insert(key.clone(), at);
        self.order.insert((at, key));
    }

    fn take(&mut self, now: Instant) -> Taken<K> {
        // Only those that are being worked on are passed over, and they are few.
        let mut order = self.order.iter();
        let next = order.find(|(_, key)| !self.running.contains(key)).cloned();
        match next {
            Some((at, key)) if at <= now => {
                self.due.remove(&key);
                self.order.remove(&(at, key.clone()));
                self.running.insert(key.clone());
                Taken::Key(key)
            }
            Some((at, _)) => Taken::Until(at),
            None => Taken::Nothing,
        }
    }

    fn done(&mut self, key: &K, outcome: Outcome, now: Instant) {
        self.running.remove(key);
        match outcome {
            Outcome::Settled => {
                self.failures.remove(key);
            }
            Outcome::Again(after) => {
                self.failures.remove(key);
                self.add(key.clone(), now + after);
            }
            Outcome::Failed => self.retry(key, now, LAST_RETRY),
            Outcome::FailedFor(longest) => self.retry(key, now, longest.min(LAST_RETRY)),
        }
    }
}

impl<K: Clone + Ord> State<K> {
    fn retry(&mut self, key: &K, now: Instant, longest: Duration) {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let wait = FIRST_RETRY.saturating_mul(1 << (*failures).min(16));
        *failures += 1;
        self.add(key.clone(), now + wait.min(longest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn a_key_added_twice_is_handed_out_once() {
        let queue = Queue::default();
        queue.add("a", Instant::now());
        queue.add("a", Instant::now());
        assert_eq!(queue.next().await, "a");
        queue.done(&"a", Outcome::Settled, Instant::now());
        assert_eq!(queue.next().now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_while_it_is_worked_on_comes_again_afterwards() {
        let queue = Queue::default();
        queue.add("a", Instant::now());
        assert_eq!(queue.next().await, "a");
        queue.add("a", Instant::now());
        assert_eq!(queue.next().now_or_never(), None);
        queue.done(&"a", Outcome::Settled, Instant::now());
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_fails_comes_later_each_time_and_never_later_than_the_last_retry() {
        let queue = Queue::default();
        queue.add("a", Instant::now());
        let mut waits = Vec::new();
        for _ in 0..14 {
            let before = Instant::now();
            queue.next().await;
            waits.push(before.elapsed());
            queue.done(&"a", Outcome::Failed, Instant::now());
        }
        assert_eq!(waits[1], FIRST_RETRY);
        assert_eq!(waits[2], FIRST_RETRY * 2);
        assert_eq!(waits[13], LAST_RETRY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_looked_at_before_its_retry_is_due() {
        let queue = Queue::default();
        queue.add("a", Instant::now());
        queue.next().await;
        queue.done(
            &"a",
            Outcome::Again(Duration::from_secs(60)),
            Instant::now(),
        );
        let before = Instant::now();
        queue.add("a", before);
        assert_eq!(queue.next().await, "a");
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_added_for_sooner_comes_sooner_and_once() {
        let queue = Queue::default();
        let now = Instant::now();
        queue.add("a", now + Duration::from_secs(60));
        queue.add("a", now + Duration::from_secs(1));
        queue.add("a", now + Duration::from_secs(30));
        assert_eq!(queue.next().await, "a");
        assert_eq!(now.elapsed(), Duration::from_secs(1));
        queue.done(&"a", Outcome::Settled, Instant::now());
        assert_eq!(queue.next().now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_are_not_due_wait_for_their_time() {
        let queue = Queue::default();
        queue.add("late", Instant::now() + Duration::from_secs(5));
        queue.add("soon", Instant::now() + Duration::from_secs(1));
        assert_eq!(queue.next().await, "soon");
        assert_eq!(queue.next().await, "late");
    }
}
