//! What a caller says besides the address.

use std::path::PathBuf;

use weir_policy::source::Roots;

use crate::{digest::Digest, patience::Patience};

/// Where repositories are, unless a mirror is named.
const HUB: &str = "https://huggingface.co";

/// How to fetch.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the cache; processes and machines may share it.
    pub cache: PathBuf,
    /// What `file://` and `pvc://` addresses are below.
    pub roots: Roots,
    /// Branch, tag or commit of a repository; tag or digest of an image that names none.
    pub revision: Option<String>,
    /// What the address resolved to before, as [`Fetched::revision`](crate::Fetched) said it: that
    /// is taken, and anything else refused.
    pub pinned: Option<String>,
    /// Of a source that is one file.
    pub sha256: Option<Digest>,
    /// The folder that the Secret is mounted at, a file per entry.
    pub credentials: Option<PathBuf>,
    /// A file of certificates to trust besides the system's.
    pub ca_bundle: Option<PathBuf>,
    /// The hub, or a mirror that answers as it does. The credentials' `endpoint` goes before it.
    pub hub: String,
    /// The variables of the process, of which stores take those that begin with `AWS_`, `GOOGLE_`
    /// or `AZURE_`: this is how a cluster gives a pod an identity. Mounted credentials go before them.
    pub ambient: Vec<(String, String)>,
    /// Ask nobody; take what is in the cache.
    pub offline: bool,
    pub patience: Patience,
}

impl Options {
    /// The defaults, with a cache at `cache`.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            roots: Roots::default(),
            revision: None,
            pinned: None,
            sha256: None,
            credentials: None,
            ca_bundle: None,
            hub: HUB.to_owned(),
            ambient: Vec::new(),
            offline: false,
            patience: Patience::default(),
        }
    }
}
