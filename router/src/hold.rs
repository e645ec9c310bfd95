//! Asks that wait for a replica of a deployment to exist.
//!
//! While there is none they stand in a queue, bounded by number, bytes and age. Once there are some, they are
//! let go as fast as replicas have room, and whoever comes meanwhile stands behind them: a replica that has
//! just come is not met by everybody at once.
//!
//! When the start of a replica began is remembered until one is there, also while nobody waits: whoever gives up
//! and comes back is told of the same start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use weir_policy::table::HoldBounds;

use crate::queue::Queue;

/// How long the first replica of a deployment takes that never had one.
const UNTOLD_START: Duration = Duration::from_secs(10);
/// One that is a little late may be there any moment.
pub(crate) const OVERDUE: Duration = Duration::from_secs(1);
/// One that is late by minutes may never come; but somebody may just have mended what kept it.
const LONGEST_OVERDUE: Duration = Duration::from_secs(60);

/// Everything that waits, by deployment; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Holds {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Where somebody waits.
    holds: BTreeMap<String, Hold>,
    /// When somebody first waited for the replica that is not there yet: its start goes on since then.
    began: BTreeMap<String, Instant>,
}

#[derive(Default)]
struct Hold {
    queue: Queue,
    waking: BTreeMap<u64, oneshot::Sender<()>>,
}

/// Why an ask waits no longer. Where that is for want of a replica, its start goes on `since` then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It may go on.
    Released,
    /// As long as it may.
    Enough { since: Duration },
    /// There is no room for one more, or its tenant has its part of it.
    Full { since: Duration },
}

impl Holds {
    /// Whether anybody waits for the deployment: then everybody does.
    pub fn is_holding(&self, deployment: &str) -> bool {
        self.lock().holds.contains_key(deployment)
    }

    /// Stands behind those who wait, as an ask of `bytes`.
    pub async fn wait(
        &self,
        deployment: &str,
        (tenant, bytes): (&str, u64),
        bounds: &HoldBounds,
        longest: Duration,
    ) -> Waited {
        let (waking, woken) = oneshot::channel();
        let number = {
            let mut state = self.lock();
            let since = state.since(deployment);
            let hold = state.holds.entry(deployment.to_owned()).or_default();
            let Some(number) = hold.queue.enter(bounds, tenant, bytes) else {
                state.forget(deployment);
                return Waited::Full { since };
            };
            hold.waking.insert(number, waking);
            number
        };
        let _place = Place {
            holds: self,
            deployment,
            tenant,
            number,
        };
        match timeout(longest, woken).await {
            Ok(Ok(())) => Waited::Released,
            _ => Waited::Enough {
                since: self.lock().since(deployment),
            },
        }
    }

    /// Lets as many go as there is room for now.
    pub fn release(&self, deployment: &str, room: u32) {
        let mut state = self.lock();
        let Some(hold) = state.holds.get_mut(deployment) else {
            return;
        };
        for _ in 0..room {
            let Some(number) = hold.queue.next() else {
                break;
            };
            if let Some(waking) = hold.waking.remove(&number) {
                // One that has just given up is not there to hear it.
                let _ = waking.send(());
            }
        }
        state.forget(deployment);
    }

    /// Forgets the starts of what waits for no replica any more: one is there, or the deployment is gone. Where the
    /// last one went while somebody waited, the next start begins now.
    pub fn keep(&self, lacks_replica: impl Fn(&str) -> bool) {
        let mut state = self.lock();
        state
            .began
            .retain(|deployment, _| lacks_replica(deployment));
        let held: Vec<String> = state.holds.keys().cloned().collect();
        for deployment in held.iter().filter(|held| lacks_replica(held)) {
            state.since(deployment);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// For how long the start of a replica goes on, which begins now where none does.
    fn since(&mut self, deployment: &str) -> Duration {
        match self.began.get(deployment) {
            Some(began) => began.elapsed(),
            None => {
                self.began.insert(deployment.to_owned(), Instant::now());
                Duration::ZERO
            }
        }
    }

    /// Where nobody waits any more, nobody has to.
    fn forget(&mut self, deployment: &str) {
        let hold = self.holds.get(deployment);
        if hold.is_some_and(|hold| hold.queue.is_empty()) {
            self.holds.remove(deployment);
        }
    }
}

/// How long it may be until a replica is there that others wait for `since` then, where the last one took
/// `cold_start`. One that is late may be late for as long again: replicas that fail at their start are begun anew
/// after longer and longer pauses.
pub(crate) fn until_started(cold_start: Option<Duration>, since: Duration) -> Duration {
    let whole = cold_start.unwrap_or(UNTOLD_START);
    match whole.checked_sub(since) {
        Some(left) => left.max(OVERDUE),
        None => (since - whole).clamp(OVERDUE, LONGEST_OVERDUE),
    }
}

/// Left when its ask goes, however that ends.
struct Place<'a> {
    holds: &'a Holds,
    deployment: &'a str,
    tenant: &'a str,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.holds.lock();
        if let Some(hold) = state.holds.get_mut(self.deployment) {
            hold.waking.remove(&self.number);
            hold.queue.leave(self.tenant, self.number);
        }
        state.forget(self.deployment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: HoldBounds = HoldBounds {
        asks: 2,
        bytes: 100,
        wait: Duration::from_secs(120),
    };

    #[tokio::test(start_paused = true)]
    async fn asks_wait_until_there_is_room_or_their_time_is_up() {
        let holds = Holds::default();
        let wait = |tenant| holds.wait("triage", (tenant, 1), &BOUNDS, BOUNDS.wait);
        let release = async {
            tokio::task::yield_now().await;
            assert!(holds.is_holding("triage"));
            tokio::time::advance(Duration::from_secs(9)).await;
            let since = Duration::from_secs(9);
            assert_eq!(wait("c").await, Waited::Full { since });
            holds.release("other", 9);
            holds.release("triage", 1);
        };
        let (one, two, ()) = tokio::join!(wait("a"), wait("b"), release);
        let since = BOUNDS.wait;
        assert_eq!((one, two), (Waited::Released, Waited::Enough { since }));
        assert!(!holds.is_holding("triage"));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_and_comes_back_waits_for_the_same_start() {
        let holds = Holds::default();
        let second = Duration::from_secs(1);
        let wait = || holds.wait("triage", ("a", 1), &BOUNDS, second);
        assert_eq!(wait().await, Waited::Enough { since: second });
        assert!(!holds.is_holding("triage"), "nobody waits now");
        tokio::time::advance(Duration::from_secs(5)).await;
        holds.keep(|_| true);
        let since = Duration::from_secs(7);
        assert_eq!(wait().await, Waited::Enough { since });
        // One is there, or the deployment is gone.
        holds.keep(|deployment| deployment != "triage");
        assert!(holds.lock().began.is_empty());
        assert_eq!(wait().await, Waited::Enough { since: second });
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_goes_while_asks_wait_for_it_leaves_a_start_that_begins_then() {
        let holds = Holds::default();
        let wait = |longest| holds.wait("triage", ("a", 1), &BOUNDS, Duration::from_secs(longest));
        let come_and_go = async {
            tokio::time::advance(Duration::from_secs(60)).await;
            holds.keep(|_| false);
            tokio::time::advance(Duration::from_secs(10)).await;
            holds.keep(|_| true);
        };
        let (waited, ()) = tokio::join!(wait(90), come_and_go);
        let since = Duration::from_secs(20);
        assert_eq!(waited, Waited::Enough { since });
    }

    #[test]
    fn what_a_start_has_taken_already_is_not_waited_for_again() {
        let seconds = |cold_start: Option<u64>, since| {
            let cold_start = cold_start.map(Duration::from_secs);
            until_started(cold_start, Duration::from_secs(since)).as_secs()
        };
        assert_eq!(seconds(Some(60), 0), 60);
        assert_eq!(seconds(Some(60), 45), 15);
        assert_eq!(seconds(None, 4), 6);
    }

    #[test]
    fn the_later_a_start_is_the_later_those_come_back_who_are_told() {
        let after = |since| {
            let cold_start = Some(Duration::from_secs(60));
            until_started(cold_start, Duration::from_secs(since)).as_secs()
        };
        let told: Vec<u64> = [60, 61, 90, 119, 600].map(after).into();
        assert_eq!(told, [1, 1, 30, 59, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ask_whose_client_leaves_makes_place() {
        let holds = Holds::default();
        let wait = || holds.wait("triage", ("a", 1), &BOUNDS, BOUNDS.wait);
        {
            let (mut one, mut two) = (Box::pin(wait()), Box::pin(wait()));
            assert!(futures::poll!(&mut one).is_pending());
            assert!(futures::poll!(&mut two).is_pending());
            assert!(matches!(wait().await, Waited::Full { .. }));
            drop(one);
            assert!(futures::poll!(Box::pin(wait())).is_pending());
        }
        assert!(!holds.is_holding("triage"));
    }
}
