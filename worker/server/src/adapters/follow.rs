//! Follows the list: reads it each second, brings and reads what is new, and tries again what failed.
//!
//! A ConfigMap that is mounted changes by a link that is exchanged, which a look each second sees, and
//! a watch for changed files does not.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{Mutex, oneshot, watch},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep},
};
use weir_engine::model::{Adapter, AdapterBase};
use weir_process::Process;
use weir_sources::shown_text;

use super::{
    Adapters, Seen,
    ledger::Ledger,
    list::{self, Listed},
};
use crate::{failure::Failure, source::SourceArgs};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What failed may have been put right where it comes from.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What following a list takes.
#[derive(Debug)]
pub struct Following {
    /// Where the list is; without one there are no adapters.
    pub folder: Option<PathBuf>,
    pub base: AdapterBase,
    pub source: SourceArgs,
    /// What all adapters may take together.
    pub most_bytes: u64,
}

/// Follows the list as long as the process serves. The second part resolves when all that was
/// listed at first is there or has failed.
pub fn follow(process: &Process, following: Following) -> (Seen, oneshot::Receiver<()>) {
    let (told, seen) = watch::channel(Adapters::default());
    let (tried_tx, tried) = oneshot::channel();
    let Some(folder) = following.folder else {
        // Nobody waits for what is not listed; whoever does hears that it is over.
        drop(tried_tx);
        return (seen, tried);
    };
    let loader = Arc::new(Loader {
        base: following.base,
        source: following.source,
        ledger: Mutex::new(Ledger::new(following.most_bytes)),
    });
    let follower = Follower {
        file: folder.join(list::FILE),
        loader,
        told,
        last: None,
        loads: FuturesUnordered::new(),
        on_their_way: BTreeSet::new(),
        again: FuturesUnordered::new(),
        tried: Some(tried_tx),
    };
    let shutdown = process.shutdown().clone();
    process.tasks().spawn("adapters", async move {
        tokio::select! {
            () = follower.run() => {}
            () = shutdown.begun() => {}
        }
    });
    (seen, tried)
}

/// What came of loading one entry.
type Loaded = (Arc<str>, Arc<Listed>, Result<Arc<Adapter>, Failure>);

struct Follower {
    file: PathBuf,
    loader: Arc<Loader>,
    told: watch::Sender<Adapters>,
    /// What the file was when it was looked at last; none before, and where there is none.
    last: Option<Vec<u8>>,
    loads: FuturesUnordered<BoxFuture<'static, Loaded>>,
    /// The names of those.
    on_their_way: BTreeSet<Arc<str>>,
    /// Names of what failed, when each is to be tried again.
    again: FuturesUnordered<BoxFuture<'static, Arc<str>>>,
    /// Told when all that was listed at first has been tried.
    tried: Option<oneshot::Sender<()>>,
}

impl Follower {
    async fn run(mut self) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => self.look().await,
                Some(loaded) = self.loads.next() => self.take(loaded),
                Some(name) = self.again.next() => self.try_again(&name),
            }
            if self.loads.is_empty()
                && let Some(tried) = self.tried.take()
            {
                // Nobody waits where the start took too long for it.
                let _ = tried.send(());
            }
        }
    }

    /// Takes the list up if it is another one.
    async fn look(&mut self) {
        let bytes = match tokio::fs::read(&self.file).await {
            Ok(bytes) => bytes,
            // A list that is not there is one that says nothing: what was goes on.
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                tracing::warn!(path = %self.file.display(), %error, "the list of adapters was not read");
                return;
            }
        };
        if self.last.as_ref() == Some(&bytes) {
            return;
        }
        match list::decode(&bytes) {
            Ok(list) => {
                let mut wanted = Vec::new();
                self.told
                    .send_modify(|adapters| wanted = adapters.list(list));
                self.load(wanted);
            }
            Err(error) => {
                tracing::warn!(path = %self.file.display(), %error, "the list of adapters stays as it was");
            }
        }
        self.last = Some(bytes);
    }

    fn load(&mut self, wanted: Vec<(Arc<str>, Arc<Listed>)>) {
        for (name, listed) in wanted {
            self.on_their_way.insert(name.clone());
            let (loader, mut seen) = (self.loader.clone(), self.told.subscribe());
            self.loads.push(Box::pin(async move {
                let loaded = tokio::select! {
                    loaded = loader.load(&listed) => loaded,
                    // Nobody takes it up any more: what has come of it stays in the cache.
                    _ = seen.wait_for(|adapters| !adapters.want(&name, &listed)) => {
                        Err(Failure::of("ModelNotFound", "it is not listed any more"))
                    }
                };
                (name, listed, loaded.map_err(in_short))
            }));
        }
    }

    /// Loads what is still listed as it was, and has failed.
    fn try_again(&mut self, name: &str) {
        let mut failed = self.told.borrow().failed();
        let is_late = |other: &str| other == name && !self.on_their_way.contains(other);
        failed.retain(|(other, _)| is_late(other));
        self.load(failed);
    }

    fn take(&mut self, (name, listed, loaded): Loaded) {
        self.on_their_way.remove(&name);
        if loaded.is_err() {
            let again = name.clone();
            self.again.push(Box::pin(async move {
                sleep(TRY_AGAIN_AFTER).await;
                again
            }));
        }
        let said = match &loaded {
            Ok(adapter) => Ok(adapter.clone()),
            Err(failure) => Err(failure.clone()),
        };
        let is_news = self
            .told
            .send_if_modified(|adapters| adapters.loaded((&name, &listed), loaded));
        if !is_news {
            return;
        }
        let source = shown_text(&listed.source);
        match said {
            Ok(adapter) => {
                let (digest, bytes, rank) = (adapter.digest(), adapter.bytes(), adapter.rank());
                tracing::info!(adapter = %name, source, digest, bytes, rank, "adapter loaded");
                let skipped = adapter.skipped();
                if skipped > 0 {
                    tracing::info!(adapter = %name, skipped, "its tensors for images are left out");
                }
            }
            Err(failure) => {
                tracing::warn!(adapter = %name, source, reason = failure.reason, why = failure.message, "adapter not loaded");
            }
        }
    }
}

/// Names in a file may be of any length, and reports are not.
fn in_short(mut failure: Failure) -> Failure {
    const MOST: usize = 500;
    if let Some((end, _)) = failure.message.char_indices().nth(MOST) {
        failure.message.truncate(end);
        failure.message.push_str("...");
    }
    failure
}

/// Brings adapters to this machine, and reads them.
struct Loader {
    base: AdapterBase,
    source: SourceArgs,
    /// Whoever has it reads: one at a time, so that each knows what the others take.
    ledger: Mutex<Ledger<Adapter>>,
}

impl Loader {
    async fn load(&self, listed: &Listed) -> Result<Arc<Adapter>, Failure> {
        let folder = self.bring(listed).await?;
        let mut ledger = self.ledger.lock().await;
        let (base, left) = (self.base.clone(), ledger.left());
        let reading = spawn_blocking(move || read(&base, &folder, left));
        let read = reading
            .await
            .map_err(|error| Failure::new("CrashLoop", &error));
        let adapter = Arc::new(read??);
        ledger.hold(&adapter, adapter.bytes());
        Ok(adapter)
    }
}

impl Loader {
    /// The folder of its files on this machine.
    async fn bring(&self, listed: &Listed) -> Result<PathBuf, Failure> {
        let other = SourceArgs {
            source: listed.source.clone(),
            revision: listed.revision.clone(),
            pinned: None,
            pins: None,
            sha256: match &listed.sha256 {
                Some(text) => Some(text.parse().map_err(|error| {
                    Failure::of("Unsupported", &format!("sha256 {text}: {error}"))
                })?),
                None => None,
            },
            ..self.source.clone()
        };
        // How far one adapter is, is told by nobody.
        let fetched = other.bring(None, &watch::Sender::default()).await?;
        Ok(fetched.path)
    }
}

fn read(base: &AdapterBase, folder: &Path, left: u64) -> Result<Adapter, Failure> {
    let read = base.read(folder, left);
    read.map_err(|error| Failure::new(error.reason(), &error))
}
