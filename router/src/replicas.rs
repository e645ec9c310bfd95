//! Connections to replicas, and what this router knows of each: how busy it is, how it has done of late, what it
//! says of itself.
//!
//! A pick counts the replica as busier until its [`Lease`] is dropped. Which one is picked, [`balance`] says.

mod following;
mod health;
mod said;
mod sharing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use weir_process::Tasks;

use crate::balance::{self, Candidate, Wish};
use crate::refusal::Failure;
use following::Heard;
use health::Health;
pub(crate) use said::Kind;
use said::Said;
use sharing::Share;
pub(crate) use sharing::Shares;
use sharing::Sharing;

/// A pod of the same cluster answers at once or is gone.
const CONNECT: Duration = Duration::from_secs(2);
/// How soon a replica whose node vanished without a word is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What one can work on at once that has not said it.
const UNTOLD_ROOM: u32 = 8;

type Replicas = BTreeMap<SocketAddr, Replica>;

/// All connections; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Pool {
    replicas: Arc<Mutex<Replicas>>,
}

struct Replica {
    channel: Channel,
    /// The same on every router.
    name: u64,
    /// Answers that are being written for this router.
    running: u32,
    sharing: Sharing,
    since: Instant,
    health: Health,
    said: Said,
    /// What its model is called there, once that was asked.
    model: Option<String>,
    /// Whoever listens to it stops when this is dropped; nothing where nobody does yet.
    followed: Option<oneshot::Sender<()>>,
}

/// Who may answer, and who would best.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub wish: Wish,
    /// What it must have beside its model.
    pub adapter: Option<&'a str>,
    /// So many sequences it has there at once, where there is room; 0 is one as well.
    pub sequences: u32,
}

/// One attempt at one replica; the replica counts as busy with it until this is dropped.
pub(crate) struct Lease {
    pub address: SocketAddr,
    pub channel: Channel,
    pub began: Instant,
    /// What the attempt has of the replica's time.
    pub share: Share,
    pool: Pool,
}

impl Pool {
    /// The best of `candidates`, those in `tried` only if there are no others.
    pub fn pick(
        &self,
        candidates: &[SocketAddr],
        tried: &BTreeSet<SocketAddr>,
        wanted: Wanted<'_>,
    ) -> Option<Lease> {
        let now = Instant::now();
        let mut replicas = self.lock();
        let mut known: Vec<(SocketAddr, Candidate)> = Vec::with_capacity(candidates.len());
        for address in candidates {
            let replica = replicas
                .entry(*address)
                .or_insert_with(|| Replica::at(*address));
            let lacks = |adapter| replica.said.has(adapter) == Some(false);
            if !wanted.adapter.is_some_and(lacks) {
                let was_tried = tried.contains(address);
                known.push((*address, replica.candidate(was_tried, now)));
            }
        }
        if known.is_empty() {
            // What they said may be old.
            let all = candidates.iter();
            known.extend(all.map(|address| {
                let replica = &replicas[address];
                (*address, replica.candidate(tried.contains(address), now))
            }));
        }
        let seen: Vec<Candidate> = known.iter().map(|(_, candidate)| *candidate).collect();
        let (address, _) = known[balance::choose(&seen, wanted.wish)?];
        drop(replicas);
        self.lease(address, wanted.sequences.max(1))
    }

    /// The replica at `address`, if there is one.
    fn lease(&self, address: SocketAddr, sequences: u32) -> Option<Lease> {
        let mut replicas = self.lock();
        let replica = replicas.get_mut(&address)?;
        // What it has no room for is not in hand there yet.
        let sequences = sequences.min(told_room(replica.said.room()));
        replica.running = replica.running.saturating_add(sequences);
        replica.share_anew();
        Some(Lease {
            address,
            channel: replica.channel.clone(),
            began: Instant::now(),
            share: replica.sharing.share(sequences),
            pool: self.clone(),
        })
    }

    /// Listens to those that are there, but for the `foreign` ones, who have nothing to say; and forgets the others
    /// once nothing uses them.
    pub fn follow(
        &self,
        present: &BTreeSet<SocketAddr>,
        foreign: &BTreeSet<SocketAddr>,
        tasks: &Tasks,
    ) {
        let mut replicas = self.lock();
        for address in present {
            let replica = replicas
                .entry(*address)
                .or_insert_with(|| Replica::at(*address));
            if replica.followed.is_none() && !foreign.contains(address) {
                let (followed, gone) = oneshot::channel();
                replica.followed = Some(followed);
                let tell = teller(Arc::downgrade(&self.replicas), *address);
                let following = following::follow(replica.channel.clone(), gone, tell);
                tasks.spawn("replica", following);
            }
        }
        replicas.retain(|address, replica| {
            let is_present = present.contains(address);
            if !is_present {
                replica.followed = None;
            }
            is_present || replica.running > 0
        });
    }

    /// How many asks more the replicas can work on at once.
    pub fn room<'a>(&self, addresses: impl Iterator<Item = &'a SocketAddr>) -> u32 {
        let now = Instant::now();
        let replicas = self.lock();
        let known = addresses.filter_map(|address| replicas.get(address));
        let known = known.map(|replica| replica.candidate(false, now));
        let known = known.filter(|candidate| !candidate.is_out);
        known
            .map(|candidate| told_room(candidate.room).saturating_sub(candidate.load))
            .sum()
    }

    /// What came of an attempt that began then. To say it twice is to say it once.
    pub fn failed(&self, (address, began): (SocketAddr, Instant), failure: &Failure) {
        if let Some(replica) = self.lock().get_mut(&address) {
            replica.health.failed(failure, (began, Instant::now()));
        }
    }

    pub fn answered(&self, (address, began): (SocketAddr, Instant)) {
        if let Some(replica) = self.lock().get_mut(&address) {
            replica.health.answered(began);
        }
    }

    /// What the tokens of the replica depend on, where it has said so.
    pub fn kind(&self, address: SocketAddr) -> Option<Arc<Kind>> {
        self.lock().get(&address)?.said.kind().cloned()
    }

    /// What its model is called at the replica, where that is known.
    pub fn model(&self, address: SocketAddr) -> Option<String> {
        self.lock().get(&address)?.model.clone()
    }

    pub fn learn_model(&self, address: SocketAddr, model: &str) {
        if let Some(replica) = self.lock().get_mut(&address) {
            replica.model = Some(model.to_owned());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Replicas> {
        locked(&self.replicas)
    }
}

impl Replica {
    fn at(address: SocketAddr) -> Self {
        let digest = Sha256::digest(address.to_string());
        Self {
            channel: connect(address),
            name: balance::first_number(&digest),
            running: 0,
            sharing: Sharing::begin(Instant::now()),
            since: Instant::now(),
            health: Health::default(),
            said: Said::default(),
            model: None,
            followed: None,
        }
    }

    fn candidate(&self, was_tried: bool, now: Instant) -> Candidate {
        Candidate {
            name: self.name,
            load: self.running + self.said.of_others(now),
            room: self.said.room(),
            age: now - self.since,
            is_out: self.health.is_out(now) || self.said.is_out(now),
            is_unknown: self.said.kind().is_none(),
            was_tried,
        }
    }

    /// Its time is shared by all that it has in hand now.
    fn share_anew(&self) {
        let now = Instant::now();
        self.sharing
            .among(self.running + self.said.of_others(now), now);
    }
}

/// A replica's room, or what is taken for it while that is not known.
fn told_room(room: u32) -> u32 {
    match room {
        0 => UNTOLD_ROOM,
        room => room,
    }
}

/// Takes down what is heard of a replica, while it is known.
fn teller(replicas: Weak<Mutex<Replicas>>, address: SocketAddr) -> impl Fn(Heard) -> bool {
    move |heard| {
        let Some(replicas) = replicas.upgrade() else {
            return false;
        };
        let mut replicas = locked(&replicas);
        let Some(replica) = replicas.get_mut(&address) else {
            return false;
        };
        match heard {
            Heard::Kind(kind) => replica.said.describe(kind),
            Heard::Load(event) => {
                replica.said.report(&event, replica.running, Instant::now());
                replica.share_anew();
            }
        }
        true
    }
}

fn locked(replicas: &Mutex<Replicas>) -> MutexGuard<'_, Replicas> {
    replicas.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.share.end();
        if let Some(replica) = self.pool.lock().get_mut(&self.address) {
            replica.running = replica.running.saturating_sub(self.share.sequences());
            replica.share_anew();
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
    use tokio::time::advance;
    use weir_worker_api as api;

    fn addresses() -> [SocketAddr; 2] {
        ["127.0.0.1:1", "127.0.0.1:2"].map(|address| address.parse().unwrap())
    }

    fn pick(pool: &Pool, tried: &[SocketAddr]) -> SocketAddr {
        let tried = tried.iter().copied().collect();
        let lease = pool.pick(&addresses(), &tried, Wanted::default());
        lease.unwrap().address
    }

    #[tokio::test]
    async fn the_less_busy_replica_is_picked_while_its_lease_is_held() {
        let (pool, [one, two]) = (Pool::default(), addresses());
        let tried = BTreeSet::new();
        let busy = pool.pick(&[one], &tried, Wanted::default()).unwrap();
        assert_eq!(pick(&pool, &[]), two);
        drop(busy);
        let busy = pool.pick(&[two], &tried, Wanted::default()).unwrap();
        assert_eq!(pick(&pool, &[]), one);
        drop(busy);
    }

    #[tokio::test]
    async fn a_replica_that_was_tried_or_failed_is_picked_only_if_it_is_the_only_one() {
        let (pool, [one, two]) = (Pool::default(), addresses());
        assert_eq!(pick(&pool, &[one]), two);
        assert_eq!(pick(&pool, &[two]), one);
        pool.failed((one, Instant::now()), &Failure::Lost { tier: "t".into() });
        assert_eq!(pick(&pool, &[]), two);
        assert_eq!(pick(&pool, &[two]), one, "it was not tried");
        pool.answered((one, Instant::now()));
        let none = pool.pick(&[], &BTreeSet::new(), Wanted::default());
        assert!(none.is_none());
    }

    #[tokio::test]
    async fn an_adapter_is_asked_of_whoever_has_it_or_has_not_said() {
        let (pool, [one, two]) = (Pool::default(), addresses());
        pick(&pool, &[]);
        let kind = |adapter: &str| Kind {
            adapters: [(adapter.to_owned(), "digest".to_owned())].into(),
            ..Kind::default()
        };
        let describe = |address, adapter| {
            let mut replicas = pool.lock();
            replicas
                .get_mut(&address)
                .unwrap()
                .said
                .describe(kind(adapter));
        };
        let wanted = Wanted {
            adapter: Some("tickets"),
            ..Wanted::default()
        };
        let pick = || {
            pool.pick(&[one, two], &BTreeSet::new(), wanted)
                .unwrap()
                .address
        };
        describe(one, "other");
        assert_eq!(pick(), two);
        describe(two, "other");
        pick();
        describe(one, "tickets");
        assert_eq!(pick(), one);
    }

    #[tokio::test]
    async fn a_replica_that_is_gone_is_forgotten_once_nothing_uses_it() {
        let (pool, [one, _]) = (Pool::default(), addresses());
        let (_process, tasks) = tasks();
        let lease = pool
            .pick(&[one], &BTreeSet::new(), Wanted::default())
            .unwrap();
        pool.follow(&BTreeSet::new(), &BTreeSet::new(), &tasks);
        assert_eq!(pool.lock()[&one].running, 1);
        drop(lease);
        pool.follow(&BTreeSet::new(), &BTreeSet::new(), &tasks);
        assert!(pool.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_replica_is_shared_by_all_that_every_router_has_there() {
        let (pool, [one, _]) = (Pool::default(), addresses());
        let lease = |sequences| {
            let wanted = Wanted {
                sequences,
                ..Wanted::default()
            };
            pool.pick(&[one], &BTreeSet::new(), wanted).unwrap()
        };
        let (first, beside) = (lease(1), lease(2));
        let shares = [&first, &beside].map(|lease| lease.share.clone());
        let times = || shares.each_ref().map(|share| share.time().as_millis());
        advance(Duration::from_secs(3)).await;
        assert_eq!(times(), [1000, 2000]);
        // Three are another router's.
        let event = api::WatchEvent {
            running: 4,
            waiting: 2,
            ..api::WatchEvent::default()
        };
        teller(Arc::downgrade(&pool.replicas), one)(Heard::Load(event));
        advance(Duration::from_secs(3)).await;
        assert_eq!(times(), [1500, 3000]);
        drop(beside);
        advance(Duration::from_secs(2)).await;
        assert_eq!(times(), [2000, 3000]);
        drop(first);
        advance(Duration::from_secs(2)).await;
        assert_eq!(times(), [2000, 3000]);
    }

    #[tokio::test]
    async fn an_ask_of_many_prompts_has_no_more_in_hand_than_there_is_room_for() {
        let (pool, [one, two]) = (Pool::default(), addresses());
        let wanted = Wanted {
            sequences: 256,
            ..Wanted::default()
        };
        let known = pool.pick(&[one], &BTreeSet::new(), Wanted::default());
        let event = api::WatchEvent {
            max_sequences: 64,
            ..api::WatchEvent::default()
        };
        teller(Arc::downgrade(&pool.replicas), one)(Heard::Load(event));
        drop(known);
        let of = |address| pool.pick(&[address], &BTreeSet::new(), wanted).unwrap();
        let (told, untold) = (of(one), of(two));
        assert_eq!(told.share.sequences(), 64);
        assert_eq!(untold.share.sequences(), UNTOLD_ROOM);
        drop(told);
        assert_eq!(pool.lock()[&one].running, 0);
    }

    fn tasks() -> (weir_process::Process, Tasks) {
        let args = weir_process::ProcessArgs::embedded();
        let process = weir_process::Process::start("test", &args).unwrap();
        let tasks = process.tasks().clone();
        (process, tasks)
    }
}
