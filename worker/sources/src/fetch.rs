//! From an address to files on this machine: resolve, take the lock, fill the entry, name it.

mod fill;
mod local;

use std::{path::PathBuf, sync::Arc, time::Duration};

use reqwest::Url;
use tokio::{sync::watch, time::sleep};
use weir_crds::Source;
use weir_policy::source::local_path;

use crate::{
    cache::{Cache, FetchedFile, Key, Lock, Manifest},
    credentials::Credentials,
    digest::Digest,
    error::{SourceError, Trouble},
    options::Options,
    patience::{Patience, Waiting},
    plan::{Plan, plan},
    progress::{Meter, Phase, Progress},
    remote::{
        Remote,
        hub::{Hub, is_commit},
        objects::Objects,
        page::Page,
        registry::{Reference, Registry},
        shown,
    },
    web::{Web, client},
};

/// How often a process looks whether another one has ended.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a source that does not answer is waited for where its model is in the cache already.
const PATIENCE_WITH_CACHE: Duration = Duration::from_secs(10);

/// Where the files came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// They lie on this machine or a volume.
    Local,
    /// They were in the cache, and are what the address means now.
    Cache,
    /// They were in the cache; nobody could be asked what the address means now.
    CacheUnasked,
    Download,
}

/// A source on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// A folder, or the GGUF file (of several, the first).
    pub path: PathBuf,
    /// A commit, `sha256:<digest>`, or `content:<hash>` of names, lengths and tags; empty for what
    /// lies on this machine.
    pub revision: String,
    /// Every file with its digest; empty for what lies on this machine.
    pub files: Vec<FetchedFile>,
    pub origin: Origin,
}

/// Brings `source` to this machine, or finds it there. Dropping the future stops it; the files stay
/// as far as they have come.
///
/// # Errors
/// When patience is over or nothing helps; [`SourceError::is_permanent`] tells these apart.
pub async fn fetch(
    source: &Source,
    options: &Options,
    progress: &watch::Sender<Progress>,
) -> Result<Fetched, SourceError> {
    let meter = Meter::new(progress);
    let fetched = match local_path(source, &options.roots) {
        Some(path) => local::found(source, path, options, &meter).await?,
        None => Fetching::new(source, options, &meter)?.run().await?,
    };
    meter.enter(Phase::Complete, "");
    tracing::info!(
        source = shown(source),
        revision = fetched.revision,
        path = %fetched.path.display(),
        origin = ?fetched.origin,
        "model files are here"
    );
    Ok(fetched)
}

/// One source that has to come from elsewhere.
struct Fetching<'a> {
    remote: Box<dyn Remote>,
    address: String,
    /// Of the address and the digest that is asked for: all contents of these are kept together.
    source: Digest,
    /// The same with the revision as it was asked for, which may mean something else each day.
    asked: Digest,
    /// The revision, where it is known before anybody is asked.
    known: Option<String>,
    cache: Cache,
    options: &'a Options,
    meter: &'a Meter<'a>,
}

impl<'a> Fetching<'a> {
    fn new(
        source: &Source,
        options: &'a Options,
        meter: &'a Meter<'a>,
    ) -> Result<Self, SourceError> {
        let revision = options.revision.as_deref().unwrap_or_default();
        let sha256 = options.sha256.map(String::from).unwrap_or_default();
        let of_source = format!("{source}\n{sha256}");
        let of_asked = format!("{of_source}\n{revision}");
        Ok(Self {
            remote: remote(source, options)?,
            address: shown(source),
            source: Digest::of(of_source.as_bytes()),
            asked: Digest::of(of_asked.as_bytes()),
            known: options.pinned.clone().or_else(|| fixed(source, options)),
            cache: Cache::new(&options.cache),
            options,
            meter,
        })
    }

    async fn run(&self) -> Result<Fetched, SourceError> {
        if let Some((key, manifest)) = self.certain() {
            return Ok(self.fetched(&key, manifest, Origin::Cache));
        }
        let cached = self.last();
        if self.options.offline {
            let (key, manifest) = cached.ok_or_else(|| SourceError::NotCached {
                address: self.address.clone(),
            })?;
            return Ok(self.fetched(&key, manifest, Origin::CacheUnasked));
        }
        let plan = match (self.resolve(cached.is_some()).await, cached) {
            (Err(error @ SourceError::Unavailable { .. }), Some((key, manifest))) => {
                tracing::warn!("{error}: taking what it meant last");
                return Ok(self.fetched(&key, manifest, Origin::CacheUnasked));
            }
            (plan, _) => plan?,
        };
        if let Some(pinned) = self.known.as_ref().filter(|known| **known != plan.revision) {
            return Err(SourceError::Moved {
                address: self.address.clone(),
                pinned: pinned.clone(),
                found: plan.revision,
            });
        }
        let key = self.key(&plan.revision);
        let origin = self.entry(&key, plan).await?;
        self.cache.remember(self.asked, &key)?;
        match self.cache.complete(&key) {
            Some(manifest) => Ok(self.fetched(&key, manifest, origin)),
            None => Err(SourceError::Unsafe {
                what: format!("{} was changed in the cache just now", self.address),
            }),
        }
    }

    fn key(&self, revision: &str) -> Key {
        Key::new(&self.address, self.source, Digest::of(revision.as_bytes()))
    }

    /// What is in the cache and can be nothing else.
    fn certain(&self) -> Option<(Key, Manifest)> {
        if let Some(known) = &self.known {
            let key = self.key(known);
            let manifest = self.cache.complete(&key)?;
            return Some((key, manifest));
        }
        self.last().filter(|_| self.options.sha256.is_some())
    }

    /// What the address meant last, if it is in the cache and may still be meant.
    fn last(&self) -> Option<(Key, Manifest)> {
        let key = self.cache.resolved(self.asked)?;
        let manifest = self.cache.complete(&key)?;
        let may_be = |known: &String| *known == manifest.revision;
        self.known
            .as_ref()
            .is_none_or(may_be)
            .then_some((key, manifest))
    }

    /// Makes sure that the entry is complete.
    async fn entry(&self, key: &Key, plan: Plan) -> Result<Origin, SourceError> {
        if self.cache.complete(key).is_some() {
            return Ok(Origin::Cache);
        }
        let lock = Arc::new(self.lock(key, &plan).await?);
        // Whoever held the lock before may have completed it.
        if self.cache.complete(key).is_some() {
            return Ok(Origin::Cache);
        }
        self.cache.clear_outdated(&self.address, self.source, key);
        let folder = self.cache.begin(key)?;
        let (load, files) = self.fill(&plan, folder, &lock).await?;
        let manifest = Manifest {
            address: self.address.clone(),
            revision: plan.revision,
            load,
            files,
        };
        self.cache.finish(key, &manifest)?;
        Ok(Origin::Download)
    }

    /// What the address means now.
    async fn resolve(&self, is_cached: bool) -> Result<Plan, SourceError> {
        let patience = self.options.patience;
        let total = match is_cached {
            true => patience.total.min(PATIENCE_WITH_CACHE),
            false => patience.total,
        };
        let mut waiting = Waiting::new(Patience { total, ..patience });
        loop {
            match self.remote.list().await {
                Ok(listing) => return plan(listing, self.options.sha256, &self.address),
                Err(trouble) => {
                    if let Trouble::Passing { what, .. } = &trouble {
                        self.meter.trouble(what);
                    }
                    waiting.after(trouble, &self.address).await?;
                }
            }
        }
    }

    /// Waits until no other process fills the entry.
    async fn lock(&self, key: &Key, plan: &Plan) -> Result<Lock, SourceError> {
        loop {
            if let Some(lock) = self.cache.try_lock(key)? {
                return Ok(lock);
            }
            self.meter.enter(Phase::Waiting, "");
            self.meter
                .expect(self.cache.begun_bytes(key), plan.total_bytes());
            sleep(LOOK_EVERY).await;
        }
    }

    fn fetched(&self, key: &Key, manifest: Manifest, origin: Origin) -> Fetched {
        let bytes = manifest.files.iter().map(|file| file.bytes).sum();
        self.meter.expect(bytes, Some(bytes));
        Fetched {
            path: self.cache.load_path(key, &manifest.load),
            revision: manifest.revision,
            files: manifest.files,
            origin,
        }
    }
}

/// The revision of an address that can only ever mean one.
fn fixed(source: &Source, options: &Options) -> Option<String> {
    let revision = options.revision.as_deref();
    match source {
        Source::HuggingFace { .. } => {
            let commit = revision.filter(|revision| is_commit(revision))?;
            Some(commit.to_ascii_lowercase())
        }
        Source::Oci { image } => {
            let reference = Reference::parse(image, revision).ok()?;
            reference.is_digest().then_some(reference.reference)
        }
        _ => None,
    }
}

/// Who is asked for `source`.
fn remote(source: &Source, options: &Options) -> Result<Box<dyn Remote>, SourceError> {
    let address = shown(source);
    let unsupported = |what: String| SourceError::Unsupported {
        address: shown(source),
        what,
    };
    let credentials = match &options.credentials {
        Some(folder) => Credentials::read(folder)?,
        None => Credentials::default(),
    };
    let client = client(options.ca_bundle.as_deref(), &options.patience)?;
    let web = Web::new(client.clone(), credentials.clone());
    let revision = options.revision.clone();
    match source {
        Source::HuggingFace { repository, file } => {
            let endpoint = credentials.get("endpoint").unwrap_or(&options.hub);
            let endpoint: Url = endpoint.parse().map_err(|_| SourceError::Setting {
                what: "the hub's address is none",
                why: endpoint.to_owned(),
            })?;
            Ok(Box::new(Hub {
                endpoint,
                repository: repository.clone(),
                file: file.clone(),
                // A branch may have moved since; the commit is still there.
                revision: options.pinned.clone().or(revision),
                address,
                web,
            }))
        }
        Source::Oci { image } => {
            let parsed = Reference::parse(image, revision.as_deref()).map_err(unsupported)?;
            let reference = Reference {
                reference: options.pinned.clone().unwrap_or(parsed.reference),
                ..parsed
            };
            Ok(Box::new(Registry::new(web, reference, address)))
        }
        _ if revision.is_some() => Err(unsupported(
            "has no revisions: take model.revision out".to_owned(),
        )),
        Source::Https { url } => Ok(Box::new(Page::new(web, url, options.sha256, address)?)),
        _ => match Objects::new(source, client, &credentials, &options.ambient)? {
            Some(objects) => Ok(Box::new(objects)),
            None => Err(unsupported("lies on this machine".to_owned())),
        },
    }
}
