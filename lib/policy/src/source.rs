//! Where the files of a model source lie: the same address is a path in the worker's image, on a
//! mounted volume, or below a folder on a laptop.
//!
//! A path that is found here always lies below its root: an address cannot climb out of it.

use std::path::{Path, PathBuf};

/// Where the addresses of each scheme begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// `file:///a/b` is `<files>/a/b`.
    pub files: PathBuf,
    /// `pvc://claim/a/b` is `<volumes>/claim/a/b`.
    pub volumes: PathBuf,
}

impl Default for Roots {
    /// The roots inside a worker's container.
    fn default() -> Self {
        Self {
            files: PathBuf::from("/"),
            volumes: PathBuf::from("/volumes"),
        }
    }
}

/// Why an address has no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("source {0:?} is not an address: it has no scheme")]
    NoScheme(String),
    #[error("source {address:?} is not on a disk here: {scheme}:// must be downloaded")]
    NotLocal { address: String, scheme: String },
    #[error("source {0:?} names no claim: write pvc://claim/path")]
    NoClaim(String),
    #[error("source {0:?} names no path: write file:///path")]
    NoPath(String),
    #[error("source {0:?} has a segment of dots")]
    Climbs(String),
}

/// The folder or file that a `file://` or `pvc://` address means below `roots`.
pub fn local_path(address: &str, roots: &Roots) -> Result<PathBuf, SourceError> {
    let (scheme, rest) = split(address)?;
    match scheme {
        "file" => {
            let path = rest.strip_prefix('/').filter(|path| !path.is_empty());
            join(
                &roots.files,
                path.ok_or_else(|| SourceError::NoPath(address.into()))?,
                address,
            )
        }
        "pvc" => {
            claim(address).ok_or_else(|| SourceError::NoClaim(address.into()))?;
            join(&roots.volumes, rest, address)
        }
        _ => Err(SourceError::NotLocal {
            address: address.into(),
            scheme: scheme.into(),
        }),
    }
}

/// The PersistentVolumeClaim that a `pvc://` address names, to be mounted at
/// `<volumes>/<claim>`; nothing for any other address.
pub fn claim(address: &str) -> Option<&str> {
    let (scheme, rest) = split(address).ok()?;
    let claim = rest.split('/').next().unwrap_or_default();
    (scheme == "pvc" && !claim.is_empty()).then_some(claim)
}

fn split(address: &str) -> Result<(&str, &str), SourceError> {
    address
        .split_once("://")
        .ok_or_else(|| SourceError::NoScheme(address.into()))
}

fn join(root: &Path, path: &str, address: &str) -> Result<PathBuf, SourceError> {
    let mut found = root.to_path_buf();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        if matches!(segment, "." | "..") {
            return Err(SourceError::Climbs(address.into()));
        }
        found.push(segment);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(address: &str) -> Result<PathBuf, SourceError> {
        local_path(
            address,
            &Roots {
                files: "/root".into(),
                volumes: "/volumes".into(),
            },
        )
    }

    #[test]
    fn a_file_lies_below_the_root_of_files() {
        assert_eq!(
            path("file:///models/triage"),
            Ok("/root/models/triage".into())
        );
        assert_eq!(
            path("file:///models//triage/"),
            Ok("/root/models/triage".into())
        );
    }

    #[test]
    fn a_claim_lies_below_the_root_of_volumes_with_and_without_a_path() {
        assert_eq!(path("pvc://models/a/b"), Ok("/volumes/models/a/b".into()));
        assert_eq!(path("pvc://models"), Ok("/volumes/models".into()));
        assert_eq!(claim("pvc://models/a"), Some("models"));
        assert_eq!(claim("file:///models/a"), None);
    }

    #[test]
    fn an_address_cannot_climb_out_of_its_root() {
        for address in [
            "file:///../etc",
            "file:///a/../../etc",
            "pvc://../etc",
            "pvc://models/../x",
        ] {
            assert!(
                matches!(path(address), Err(SourceError::Climbs(_))),
                "{address}"
            );
        }
    }

    #[test]
    fn an_address_without_what_it_needs_says_what_to_write() {
        assert_eq!(path("triage"), Err(SourceError::NoScheme("triage".into())));
        assert_eq!(
            path("file://models"),
            Err(SourceError::NoPath("file://models".into()))
        );
        assert_eq!(
            path("pvc:///a"),
            Err(SourceError::NoClaim("pvc:///a".into()))
        );
        assert!(matches!(
            path("hf://Qwen/Qwen3"),
            Err(SourceError::NotLocal { .. })
        ));
    }
}
