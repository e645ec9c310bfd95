//! Digests that were computed at an earlier start over files that have not changed since.
//!
//! A digest over gigabytes takes longer than all else at a start that finds its weights packed.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::checksum;
use crate::digest::{self, Digested};
use crate::files;

/// Names of notes end so.
pub(super) const NOTE: &str = ".digest";

/// A file that is written twice within one tick of its clock looks the same after the second time:
/// what was changed that recently is digested again. Some file systems keep whole seconds only, and
/// one keeps two.
const SETTLED: Duration = Duration::from_secs(2);

/// Which files exactly a digest is over: the small ones by their content, those of the weights by
/// what the file system says of them.
#[derive(Debug)]
pub(crate) struct Stamp {
    name: String,
    /// When any of the weights' files last changed.
    changed: SystemTime,
}

impl Stamp {
    /// # Errors
    /// Where the system does not say what it knows of a file.
    pub(crate) fn of(files: &Digested) -> io::Result<Self> {
        let mut stamps = Vec::new();
        let mut changed = SystemTime::UNIX_EPOCH;
        for file in &files.weights {
            let metadata = file.metadata()?;
            changed = changed.max(last_changed(&metadata));
            let path = file.path().canonicalize()?;
            stamps.push((file.name(), stamp(&path, &metadata)));
        }
        let stamps = stamps.iter().map(|(name, stamp)| (*name, stamp.as_bytes()));
        let name = digest::of_files(files.small().chain(stamps));
        Ok(Self {
            name: format!("{}{NOTE}", name.trim_start_matches("sha256:")),
            changed,
        })
    }

    /// Whether no later change can look like this one.
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        now.duration_since(self.changed)
            .is_ok_and(|age| age > SETTLED)
    }

    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        folder.join(&self.name)
    }

    /// The digest that was noted for these files. A note that is damaged is none.
    pub(crate) fn noted(&self, folder: &Path) -> Option<String> {
        let text = String::from_utf8(files::read(&self.path(folder)).ok()??).ok()?;
        let (digest, _) = text.split_once(' ')?;
        (note(digest) == text).then(|| digest.to_owned())
    }
}

pub(super) fn note(digest: &str) -> String {
    format!("{digest} {:016x}\n", checksum::of(digest.as_bytes()))
}

/// The time of the last change of a file's state cannot be set, so that a file whose other times
/// were set back has another stamp all the same.
fn stamp(path: &Path, metadata: &Metadata) -> String {
    format!(
        "{path:?} {} {} {}.{} {}.{}",
        metadata.ino(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec()
    )
}

fn last_changed(metadata: &Metadata) -> SystemTime {
    let at = |seconds: i64, nanoseconds: i64| {
        let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let nanoseconds = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
        SystemTime::UNIX_EPOCH + seconds + nanoseconds
    };
    let modified = at(metadata.mtime(), metadata.mtime_nsec());
    modified.max(at(metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::mapped::Mapped;

    fn stamp(path: &Path, config: &str) -> Stamp {
        let files = Digested {
            small: vec![("config.json".to_owned(), config.into())],
            weights: vec![Arc::new(Mapped::open(path).unwrap())],
        };
        Stamp::of(&files).unwrap()
    }

    #[test]
    fn a_file_that_changed_in_any_way_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        std::fs::write(&path, "weights").unwrap();
        let before = stamp(&path, "{}");
        assert_eq!(stamp(&path, "{}").name, before.name);
        assert_ne!(stamp(&path, "{ }").name, before.name);
        // Written again with as many bytes, and its time set back.
        let first = path.metadata().unwrap();
        let ticked =
            |now: Metadata| (now.ctime(), now.ctime_nsec()) != (first.ctime(), first.ctime_nsec());
        while !ticked(path.metadata().unwrap()) {
            std::fs::write(&path, "WEIGHTS").unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(first.modified().unwrap()).unwrap();
        }
        assert_ne!(stamp(&path, "{}").name, before.name);
        let other = folder.path().join("n.safetensors");
        std::fs::copy(&path, &other).unwrap();
        assert_ne!(stamp(&other, "{}").name, stamp(&path, "{}").name);
    }

    #[test]
    fn a_file_that_just_changed_is_not_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        std::fs::write(&path, "weights").unwrap();
        let stamp = stamp(&path, "{}");
        assert!(!stamp.is_settled(stamp.changed + SETTLED));
        assert!(stamp.is_settled(stamp.changed + SETTLED * 2));
        // A clock that was set back proves nothing.
        assert!(!stamp.is_settled(stamp.changed - SETTLED));
    }

    #[test]
    fn a_note_that_is_damaged_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        std::fs::write(&path, "weights").unwrap();
        let stamp = stamp(&path, "{}");
        assert_eq!(stamp.noted(folder.path()), None);
        let whole = note("sha256:00ff");
        std::fs::write(stamp.path(folder.path()), &whole).unwrap();
        assert_eq!(stamp.noted(folder.path()).as_deref(), Some("sha256:00ff"));
        for damaged in [
            whole.replace("00ff", "00fe"),
            whole[..9].to_owned(),
            String::new(),
        ] {
            std::fs::write(stamp.path(folder.path()), damaged).unwrap();
            assert_eq!(stamp.noted(folder.path()), None);
        }
    }
}
