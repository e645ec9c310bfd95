//! What all asks of one router share.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use weir_crds::Money;
use weir_process::{Process, Shutdown, Tasks};

use crate::admit::Places;
use crate::args::Args;
use crate::cache::Cache;
use crate::credentials::{Credentials, Roots};
use crate::damper::Dampers;
use crate::decode::Bounds;
use crate::dial::Dialler;
use crate::endpoints::Endpoints;
use crate::flights::Flights;
use crate::hold::Holds;
use crate::kept::Kept;
use crate::limits::Limits;
use crate::load::Book;
use crate::metrics::Metrics;
use crate::money::{self, Purses};
use crate::refusal::Refusal;
use crate::replicas::Pool;
use crate::room::Room;
use crate::sticky::Raised;
use crate::store::{Means, Stores};
use crate::text;
use crate::world::{View, World, compiled};

/// How often secrets are read again. The kubelet itself takes up to a minute and a half.
const SECRETS_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Shared {
    pub args: Args,
    pub view: watch::Receiver<Arc<View>>,
    pub dialler: Arc<Dialler>,
    pub endpoints: Endpoints,
    pub pool: Pool,
    /// Asks that wait for a replica to exist.
    pub holds: Holds,
    pub book: Book,
    pub purses: Purses,
    pub metrics: Metrics,
    pub tasks: Tasks,
    pub shutdown: Shutdown,
    /// One permit for each ask in hand.
    pub asks: Arc<Semaphore>,
    /// Whose they are.
    pub places: Arc<Places>,
    /// What was asked in the last minute.
    pub limits: Arc<Limits>,
    /// Of tries again.
    pub dampers: Dampers,
    /// Answers that may be given again.
    pub cache: Arc<Cache>,
    pub bodies: Bounds,
    pub ids: Ids,
    /// Asks under an `Idempotency-Key`.
    pub flights: Arc<Flights>,
    /// Conversations that stay where they were raised to.
    pub raised: Raised,
    /// What can be asked about decisions.
    pub kept: Kept,
    /// For the texts of asks.
    pub texts: Arc<Room>,
    /// For answers that are held back or gathered.
    pub answers: Arc<Room>,
    /// Where records go.
    pub stores: Stores,
}

impl Shared {
    /// Starts following `worlds` and the secrets' files.
    pub fn start(
        process: &Process,
        args: &Args,
        dialler: Dialler,
        worlds: watch::Receiver<Arc<World>>,
    ) -> anyhow::Result<Arc<Self>> {
        let views = compiled(process.tasks(), worlds.clone());
        let mut first = View::clone(&views.borrow());
        first.credentials = Credentials::read(&roots(args), &first.table).into();
        let (to_stores, credentials) = watch::channel(first.credentials.clone());
        let (to_asks, view) = watch::channel(Arc::new(first));
        let (ids, dialler) = (Ids::random(), Arc::new(dialler));
        let metrics = Metrics::register(process.metrics());
        let stores = Stores::new(Means {
            tasks: process.tasks().clone(),
            shutdown: process.shutdown().clone(),
            credentials,
            dialler: dialler.clone(),
            counts: metrics.records.clone(),
            tag: ids.next()[..8].to_owned(),
        });
        let purses = Purses::new(ids.next()[..16].to_owned(), args.slice_wait);
        let shared = Arc::new(Self {
            args: args.clone(),
            view,
            dialler,
            endpoints: Endpoints::new(args.max_endpoint_asks),
            pool: Pool::default(),
            holds: Holds::default(),
            book: Book::new(),
            purses: purses.clone(),
            metrics,
            tasks: process.tasks().clone(),
            shutdown: process.shutdown().clone(),
            asks: Arc::new(Semaphore::new(args.max_asks)),
            places: Arc::default(),
            limits: Arc::default(),
            dampers: Dampers::default(),
            cache: Arc::new(Cache::new(args.max_cache_bytes)),
            bodies: Bounds::new(args),
            ids,
            flights: Arc::default(),
            raised: Raised::default(),
            kept: Kept::default(),
            texts: text::room(),
            answers: Room::of(args.max_answers_bytes),
            stores,
        });
        process.mount(shared.book.route(purses));
        money::start(process, &shared, worlds)?;
        let told = Told { to_asks, to_stores };
        let follow = follow(Arc::downgrade(&shared), views, told);
        process.tasks().spawn("follow", follow);
        Ok(shared)
    }

    /// Lets asks go that wait for the deployment, as many as its replicas have room for.
    pub fn release(&self, deployment: &str) {
        if self.holds.is_holding(deployment) {
            let view = self.view.borrow().clone();
            let revisions = view.replicas.get(deployment);
            let addresses = revisions.into_iter().flat_map(BTreeMap::values).flatten();
            let room = self.pool.room(addresses);
            self.holds.release(deployment, room);
        }
    }

    /// What is waited for, or `Ending` where the process ends first.
    pub async fn unless_closing<T>(
        &self,
        wait: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        tokio::select! {
            biased;
            waited = wait => waited,
            () = self.shutdown.closing() => Err(Refusal::Ending),
        }
    }

    /// The price of one replica's hour; nothing where the deployment names none.
    pub fn replica_hour(&self, deployment: &str) -> Money {
        let view = self.view.borrow();
        let deployment = view.table.deployment(deployment);
        deployment
            .and_then(|deployment| deployment.replica_hour)
            .unwrap_or_default()
    }
}

fn roots(args: &Args) -> Roots {
    Roots {
        secrets: args.secrets_root.clone(),
        config_maps: args.config_maps_root.clone(),
    }
}

/// Who is told of what is followed.
struct Told {
    to_asks: watch::Sender<Arc<View>>,
    to_stores: watch::Sender<Arc<Credentials>>,
}

impl Told {
    /// A view and what was read for it are told as one: no ask meets a policy without the secrets
    /// that it names.
    fn tell(&self, view: &Arc<View>, last: &mut Option<Arc<View>>, read: Credentials) {
        let known = self.to_stores.borrow().clone();
        let is_known = *known == read;
        let credentials = if is_known { known } else { read.into() };
        if !is_known {
            tracing::info!(missing = ?credentials.missing, "credentials changed");
            self.to_stores.send_replace(credentials.clone());
        }
        let is_told = last.as_ref().is_some_and(|last| Arc::ptr_eq(last, view));
        if !is_told || !is_known {
            let known = View {
                credentials,
                ..View::clone(view)
            };
            self.to_asks.send_replace(Arc::new(known));
            *last = Some(view.clone());
        }
    }
}

/// Keeps secrets, connections and the report of load in step with the world, for as long as there
/// is anybody to know of it.
async fn follow(shared: Weak<Shared>, mut views: watch::Receiver<Arc<View>>, told: Told) {
    let mut last = None;
    while let Some(shared) = shared.upgrade() {
        let view = views.borrow_and_update().clone();
        let (roots, of) = (roots(&shared.args), view.clone());
        let read = tokio::task::spawn_blocking(move || Credentials::read(&roots, &of.table));
        if let Ok(read) = read.await {
            let missing = read.missing.clone();
            told.tell(&view, &mut last, read);
            // What is said to be followed is.
            shared.book.follow(&view, missing);
            shared.stores.keep(&view.table);
            shared.purses.keep(&view.table);
            shared
                .metrics
                .budgets_left(shared.purses.left().into_iter());
        }
        let revisions = view.replicas.values().flat_map(BTreeMap::values);
        let present: BTreeSet<SocketAddr> = revisions.flatten().copied().collect();
        shared.pool.follow(&present, &view.foreign, &shared.tasks);
        shared
            .holds
            .keep(|deployment| view.lacks_replica(deployment));
        for deployment in view.replicas.keys() {
            shared.release(deployment);
        }
        shared.limits.keep(&view.table);
        shared.dampers.sweep(Instant::now());
        shared.cache.sweep(Instant::now());
        let kept = i64::try_from(shared.cache.bytes()).unwrap_or(i64::MAX);
        shared.metrics.cache_bytes.set(kept);
        shared.endpoints.show(&view.table, &shared.metrics);
        drop(shared);
        let until_next = tokio::time::sleep(SECRETS_EVERY);
        tokio::select! {
            () = told.to_asks.closed() => return,
            () = until_next => {}
            // A world that is no longer fed changes no more; secrets may still come and go.
            Ok(()) = views.changed() => {}
        }
    }
}

/// Names for asks: unique, and of no meaning to anybody.
pub(crate) struct Ids {
    seed: [u8; 16],
    count: AtomicU64,
}

impl Ids {
    fn random() -> Self {
        // The standard library seeds its hash maps from the system's randomness.
        let random = || RandomState::new().build_hasher().finish().to_le_bytes();
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&random());
        seed[8..].copy_from_slice(&random());
        Self {
            seed,
            count: AtomicU64::new(0),
        }
    }

    pub fn next(&self) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let digest = Sha256::new()
            .chain_update(self.seed)
            .chain_update(count.to_le_bytes());
        hex(&digest.finalize()[..12])
    }
}

/// The first 16 hex digits of a name's hash, for records that must not hold the name.
pub(crate) fn hashed(name: &str) -> String {
    hex(&Sha256::digest(name)[..8])
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
