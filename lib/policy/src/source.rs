//! Where the files of a model source lie: the same address is a path in the worker's image, on a
//! mounted volume, or below a folder on a laptop.
//!
//! A path that is found here always lies below its root: an address cannot climb out of it.

use std::path::{Path, PathBuf};

use weir_crds::Source;

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

/// The folder or file that `source` means below `roots`; nothing for a source that has to be
/// downloaded or mounted as an image.
pub fn local_path(source: &Source, roots: &Roots) -> Option<PathBuf> {
    match source {
        Source::File { path } => Some(below(&roots.files, path)),
        Source::Claim { claim, path } => Some(below(&roots.volumes.join(claim), path)),
        _ => None,
    }
}

/// The PersistentVolumeClaim that `source` is on, to be mounted at `<volumes>/<claim>`.
pub fn claim(source: &Source) -> Option<&str> {
    match source {
        Source::Claim { claim, .. } => Some(claim),
        _ => None,
    }
}

/// Never above `root`: a parsed source has no segments of dots, and leading slashes are dropped.
fn below(root: &Path, path: &str) -> PathBuf {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.fold(root.to_path_buf(), |found, segment| found.join(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(address: &str) -> Option<PathBuf> {
        let roots = Roots {
            files: "/root".into(),
            volumes: "/volumes".into(),
        };
        local_path(&address.parse().unwrap(), &roots)
    }

    #[test]
    fn a_file_lies_below_the_root_of_files() {
        assert_eq!(
            path("file:///models//triage/"),
            Some("/root/models/triage".into())
        );
    }

    #[test]
    fn a_claim_lies_below_the_root_of_volumes_with_and_without_a_path() {
        assert_eq!(path("pvc://models/a/b"), Some("/volumes/models/a/b".into()));
        assert_eq!(path("pvc://models"), Some("/volumes/models".into()));
        let source = "pvc://models/a".parse().unwrap();
        assert_eq!(claim(&source), Some("models"));
    }

    #[test]
    fn what_must_be_downloaded_has_no_path() {
        assert_eq!(path("hf://Qwen/Qwen3-4B"), None);
    }
}
