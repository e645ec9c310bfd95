//! Connections to replicas and how busy each is, from this router's view.
//!
//! A pick takes the least busy replica and counts it as busier until its [`Lease`] is dropped;
//! equals take turns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

/// A pod of the same cluster answers at once or is gone.
const CONNECT: Duration = Duration::from_secs(2);
/// How soon a replica whose node vanished without a word is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// All connections; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Pool {
    replicas: Arc<Mutex<Replicas>>,
}

#[derive(Default)]
struct Replicas {
    by_address: BTreeMap<SocketAddr, Replica>,
    /// Counts picks, for taking turns.
    turn: u64,
}

struct Replica {
    channel: Channel,
    running: u32,
    last_turn: u64,
}

/// One attempt at one replica; the replica counts as busy with it until this is dropped.
pub(crate) struct Lease {
    pub address: SocketAddr,
    pub channel: Channel,
    pool: Pool,
}

impl Pool {
    /// The least busy of `candidates`, those in `tried` only if there are no others.
    pub fn pick(&self, candidates: &[SocketAddr], tried: &BTreeSet<SocketAddr>) -> Option<Lease> {
        let mut replicas = self.lock();
        let chosen = candidates.iter().copied().min_by_key(|address| {
            let known = replicas.by_address.get(address);
            let busy = known.map_or((0, 0), |replica| (replica.running, replica.last_turn));
            (tried.contains(address), busy)
        })?;
        replicas.turn += 1;
        let turn = replicas.turn;
        let replica = replicas
            .by_address
            .entry(chosen)
            .or_insert_with(|| Replica {
                channel: connect(chosen),
                running: 0,
                last_turn: 0,
            });
        replica.running += 1;
        replica.last_turn = turn;
        Some(Lease {
            address: chosen,
            channel: replica.channel.clone(),
            pool: self.clone(),
        })
    }

    /// Forgets connections to replicas that are no longer there and that nothing uses.
    pub fn keep(&self, present: &BTreeSet<SocketAddr>) {
        let mut replicas = self.lock();
        let by_address = &mut replicas.by_address;
        by_address.retain(|address, replica| replica.running > 0 || present.contains(address));
    }

    fn lock(&self) -> MutexGuard<'_, Replicas> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// How many attempts the replica has in hand, this one included.
    pub fn running(&self) -> u32 {
        let replicas = self.pool.lock();
        let replica = replicas.by_address.get(&self.address);
        replica.map_or(1, |replica| replica.running.max(1))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(replica) = self.pool.lock().by_address.get_mut(&self.address) {
            replica.running -= 1;
        }
    }
}

fn connect(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}"))
        .expect("a socket address makes a URL")
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .tcp_nodelay(true)
        .connect_lazy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> [SocketAddr; 2] {
        ["127.0.0.1:1", "127.0.0.1:2"].map(|address| address.parse().unwrap())
    }

    #[tokio::test]
    async fn the_least_busy_replica_is_picked_and_equals_take_turns() {
        let (pool, [one, two]) = (Pool::default(), addresses());
        let tried = BTreeSet::new();
        let first = pool.pick(&[one, two], &tried).unwrap();
        let second = pool.pick(&[one, two], &tried).unwrap();
        assert_eq!((first.address, second.address), (one, two));
        drop(second);
        assert_eq!(pool.pick(&[one, two], &tried).unwrap().address, two);
        drop(first);
        assert_eq!(pool.pick(&[one, two], &tried).unwrap().address, one);
    }

    #[tokio::test]
    async fn a_replica_that_was_tried_is_picked_only_if_it_is_the_only_one() {
        let (pool, [one, two]) = (Pool::default(), addresses());
        let tried = [one].into();
        assert_eq!(pool.pick(&[one, two], &tried).unwrap().address, two);
        assert_eq!(pool.pick(&[one], &tried).unwrap().address, one);
        assert!(pool.pick(&[], &tried).is_none());
    }

    #[tokio::test]
    async fn a_replica_that_is_gone_is_forgotten_once_nothing_uses_it() {
        let (pool, [one, _]) = (Pool::default(), addresses());
        let lease = pool.pick(&[one], &BTreeSet::new()).unwrap();
        pool.keep(&BTreeSet::new());
        assert_eq!(lease.running(), 1);
        drop(lease);
        pool.keep(&BTreeSet::new());
        assert!(pool.lock().by_address.is_empty());
    }
}
