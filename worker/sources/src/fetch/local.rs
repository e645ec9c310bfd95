//! What lies on this machine, in its image or on a volume: found, and checked where that was asked for.

use std::path::PathBuf;

use weir_crds::Source;

use super::{Fetched, Origin};
use crate::{
    cache::FetchedFile,
    digest::{Digest, read_through},
    error::SourceError,
    options::Options,
    progress::{Meter, Phase},
    remote::shown,
    sink::blocking,
};

pub(super) async fn found(
    source: &Source,
    path: PathBuf,
    options: &Options,
    meter: &Meter<'_>,
) -> Result<Fetched, SourceError> {
    let unsupported = |what: &str| SourceError::Unsupported {
        address: shown(source),
        what: what.to_owned(),
    };
    if options.revision.is_some() {
        return Err(unsupported("has no revisions: take model.revision out"));
    }
    if let Some(pinned) = &options.pinned {
        return Err(unsupported(&format!(
            "has no revisions, and {pinned} is pinned"
        )));
    }
    if !path.exists() {
        return Err(SourceError::NotFound {
            address: shown(source),
            what: format!("{} is not there", path.display()),
        });
    }
    let mut files = Vec::new();
    if let Some(expected) = options.sha256 {
        if !path.is_file() {
            return Err(unsupported("sha256 is for one file, and this is a folder"));
        }
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        meter.enter(Phase::Verifying, &name);
        let at = path.clone();
        let read = blocking(move || read_through(&at)).await;
        let (hash, bytes) = read.map_err(SourceError::cache("reading", &path))?;
        let sha256 = Digest::finished(hash);
        if sha256 != expected {
            return Err(SourceError::DigestMismatch {
                file: name,
                expected,
                found: sha256,
            });
        }
        files.push(FetchedFile {
            name,
            bytes,
            sha256,
        });
    }
    Ok(Fetched {
        revision: String::new(),
        files,
        origin: Origin::Local,
        path,
    })
}
