//! What every kind of source can do: say what it holds, and give a file from some byte on.
//!
//! One file below `remote/` for each.

mod address;
pub(crate) mod hub;
pub(crate) mod objects;
pub(crate) mod page;
pub(crate) mod registry;

use async_trait::async_trait;

pub(crate) use address::shown;
pub use address::shown_text;

use crate::{digest::Digest, error::Trouble, web::Opened};

/// The most files of one source.
pub(crate) const MOST_FILES: usize = 10_000;
/// The longest list of files or manifest, in bytes.
pub(crate) const MOST_LIST_BYTES: usize = 16 << 20;

/// How files lie in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Tar,
    TarGzip,
}

impl Packing {
    /// By the suffix of a name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        if name.ends_with(".tar") {
            Some(Self::Tar)
        } else if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
            Some(Self::TarGzip)
        } else {
            None
        }
    }
}

/// A file as its source describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    /// Below the entry; checked before it is used as a path.
    pub(crate) name: String,
    /// What the source itself calls it.
    pub(crate) key: String,
    pub(crate) bytes: Option<u64>,
    pub(crate) sha256: Option<Digest>,
    /// Tells one content from another.
    pub(crate) tag: Option<String>,
    pub(crate) packing: Option<Packing>,
}

/// All that a source holds below its address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// Commit or digest; nothing where only the files tell what they are.
    pub(crate) revision: Option<String>,
    pub(crate) files: Vec<RemoteFile>,
    /// The file or folder that the address names among them.
    pub(crate) asked: Option<String>,
    /// The archives are how the files are kept, and not files beside others.
    pub(crate) layered: bool,
}

#[async_trait]
pub(crate) trait Remote: Send + Sync {
    async fn list(&self) -> Result<Listing, Trouble>;

    /// The file from byte `from` on, or from its beginning where the source cannot do that.
    async fn open(&self, file: &RemoteFile, from: u64) -> Result<Opened, Trouble>;
}
