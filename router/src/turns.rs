//! Places of which there are so many, given by turns: tenants who wait take turns, and each keeps the order of
//! its asks. So nobody with a thousand asks stands before another with one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use weir_policy::table::HoldBounds;

use crate::queue::Queue;

/// Whoever waits is one of the asks in hand, of which there are not too many already.
const BOUNDLESS: HoldBounds = HoldBounds {
    asks: usize::MAX,
    bytes: u64::MAX,
    wait: Duration::MAX,
};

pub(crate) struct Turns {
    state: Mutex<State>,
}

struct State {
    /// None while anybody waits.
    free: usize,
    queue: Queue,
    waking: BTreeMap<u64, oneshot::Sender<Turn>>,
}

/// A place, until it is dropped: then whoever is next has it.
pub(crate) struct Turn {
    of: Arc<Turns>,
}

impl Turns {
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                free: places,
                queue: Queue::default(),
                waking: BTreeMap::new(),
            }),
        })
    }

    /// A place for an ask of `tenant`, waited for no longer than until `late`.
    pub async fn take(self: &Arc<Self>, tenant: &str, late: Instant) -> Option<Turn> {
        let (waking, woken) = oneshot::channel();
        let number = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                drop(state);
                return Some(Turn { of: self.clone() });
            }
            let number = state.queue.enter(&BOUNDLESS, tenant, 0)?;
            state.waking.insert(number, waking);
            number
        };
        let _waiting = Waiting {
            of: self,
            tenant,
            number,
        };
        timeout_at(late, woken).await.ok()?.ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.of.lock();
            let number = state.queue.next();
            if number.is_none() {
                state.free += 1;
            }
            number.and_then(|number| state.waking.remove(&number))
        };
        if let Some(waking) = next {
            // One that has just given up drops it, and so passes it on.
            let _ = waking.send(Turn {
                of: self.of.clone(),
            });
        }
    }
}

/// Left when its ask goes, however that ends.
struct Waiting<'a> {
    of: &'a Arc<Turns>,
    tenant: &'a str,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.of.lock();
        state.waking.remove(&self.number);
        state.queue.leave(self.tenant, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, poll};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_much_stands_behind_nobody_but_himself() {
        let turns = Turns::new(1);
        let late = Instant::now() + SECOND;
        let place = turns.take("greedy", late).await.unwrap();
        let mut greedy: Vec<_> = (0..100)
            .map(|_| Box::pin(turns.take("greedy", late)))
            .collect();
        for waiting in &mut greedy {
            assert!(poll!(waiting).is_pending());
        }
        let mut modest = Box::pin(turns.take("modest", late));
        assert!(poll!(&mut modest).is_pending());
        drop(place);
        let first = greedy[0].as_mut().now_or_never();
        assert!(poll!(&mut modest).is_pending(), "one was there before");
        drop(first);
        assert!(modest.now_or_never().flatten().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn no_place_is_lost_whoever_gives_up_and_whenever() {
        let turns = Turns::new(1);
        let place = turns.take("a", Instant::now()).await.unwrap();
        let late = Instant::now() + SECOND;
        assert!(turns.take("b", late).await.is_none(), "its time is up");
        let late = Instant::now() + SECOND;
        let (mut leaves, mut told) = (
            Box::pin(turns.take("c", late)),
            Box::pin(turns.take("d", late)),
        );
        assert!(poll!(&mut leaves).is_pending());
        assert!(poll!(&mut told).is_pending());
        drop(leaves);
        drop(place);
        // It has the place, and leaves before it hears of it.
        drop(told);
        let again = turns.take("e", Instant::now()).now_or_never();
        assert!(again.flatten().is_some());
        let state = turns.lock();
        assert!(state.free == 1 && state.queue.is_empty() && state.waking.is_empty());
    }
}
