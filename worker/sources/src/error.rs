//! Why a model cannot be had, in words that a person can act on.
//!
//! No variant holds a credential: addresses are shown without user, password and query, and the
//! words of libraries pass through `Credentials::scrub`.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;
use weir_crds::reasons;

use crate::digest::Digest;

/// What stands between a source and a folder of files.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error("nothing to serve at {address}: {what}")]
    NotFound { address: String, what: String },
    #[error("{address} refuses: {what}")]
    Unauthorized { address: String, what: String },
    #[error("{address} holds several models; name one of them: {}", choices.join(", "))]
    Ambiguous {
        address: String,
        choices: Vec<String>,
    },
    #[error("{address}: {what}")]
    Unsupported { address: String, what: String },
    #[error("{what}: nothing of it is taken")]
    Unsafe { what: String },
    #[error("{file} has the SHA-256 {found}, and {expected} was asked for")]
    DigestMismatch {
        file: String,
        expected: Digest,
        found: Digest,
    },
    #[error("{file} has {found} bytes or more, and {said} were promised")]
    Length { file: String, said: u64, found: u64 },
    #[error("{file} changed while it was downloaded: {what}")]
    Changed { file: String, what: String },
    #[error("{address} is {found} now, and {pinned} is pinned")]
    Moved {
        address: String,
        pinned: String,
        found: String,
    },
    #[error(
        "{needed} more bytes are needed in {}, and {free} are free: give it a larger disk, or take something away",
        folder.display()
    )]
    DiskFull {
        folder: PathBuf,
        needed: u64,
        free: u64,
    },
    #[error("{address} has not answered usefully for {} s: {last}", patience.as_secs())]
    Unavailable {
        address: String,
        patience: Duration,
        last: String,
    },
    #[error(
        "the certificate of {host} is not trusted ({why}): name its authority in caBundle, if it is the right one"
    )]
    Untrusted { host: String, why: String },
    #[error("{address} is not in the cache, and nothing may be downloaded")]
    NotCached { address: String },
    #[error("{what}: {why}")]
    Setting { what: &'static str, why: String },
    #[error("{doing} {}", path.display())]
    Cache {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl SourceError {
    /// The reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } | Self::NotCached { .. } => reasons::MODEL_NOT_FOUND,
            Self::Unauthorized { .. } | Self::Setting { .. } => reasons::UNAUTHORIZED,
            Self::Ambiguous { .. } => reasons::AMBIGUOUS_SOURCE,
            Self::Unsupported { .. } | Self::Unsafe { .. } => reasons::UNSUPPORTED,
            Self::DigestMismatch { .. }
            | Self::Length { .. }
            | Self::Changed { .. }
            | Self::Moved { .. } => reasons::DIGEST_MISMATCH,
            Self::DiskFull { .. } => reasons::DISK_FULL,
            Self::Unavailable { .. } | Self::Untrusted { .. } => reasons::SOURCE_UNAVAILABLE,
            Self::Cache { .. } => reasons::CRASH_LOOP,
        }
    }

    /// Whether trying again is useless until somebody changes something.
    pub fn is_permanent(&self) -> bool {
        !matches!(
            self,
            Self::Changed { .. }
                | Self::DiskFull { .. }
                | Self::Unavailable { .. }
                | Self::Cache { .. }
        )
    }

    pub(crate) fn cache(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Cache {
            doing,
            path,
            source,
        }
    }
}

/// Why one try failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may pass by itself; `after` is how long the server asks to be left alone.
    Passing {
        what: String,
        after: Option<Duration>,
    },
    Final(SourceError),
}

impl Trouble {
    pub(crate) fn passing(what: impl Into<String>) -> Self {
        Self::Passing {
            what: what.into(),
            after: None,
        }
    }
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        Self::Final(error)
    }
}
