//! What a start leaves for the next one, done while it serves already.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use thiserror::Error;

use super::file::{self, Named};
use super::known::note;
use super::place::{Placed, place};
use super::room::Room;
use super::{Identity, Stamp, old};

/// Keeping packed weights failed. What is served does not depend on it.
#[derive(Debug, Error)]
pub enum CacheError {
    #[error("making the folder {} failed", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("asking what room there is in {} failed", path.display())]
    Room {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("writing {} failed", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What became of the packed weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upkept {
    /// They were there, or there are none.
    Nothing,
    Written {
        path: PathBuf,
        bytes: u64,
    },
    /// Another worker writes the same.
    ByAnother,
    /// The file system would be too full with them.
    NoRoom {
        bytes: u64,
        available: u64,
    },
    /// The process ends before they are written.
    Over,
}

/// What a load found of its folder, and what it made.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) folder: PathBuf,
    /// Where the system does not say enough of the files, no digest is noted.
    pub(crate) stamp: Option<Stamp>,
    /// Whether the digest was noted by an earlier start.
    pub(crate) is_noted: bool,
    /// When the files were opened.
    pub(crate) began: SystemTime,
    /// A file was there, and could not be used.
    pub(crate) is_unfit: bool,
}

/// The writing of what the next start can use. It holds on to the packed weights until it is dropped.
#[derive(Debug)]
pub struct Upkeep {
    pub(crate) begun: Begun,
    pub(crate) identity: Identity,
    /// All packed weights, where any of them was packed by this start; else none.
    pub(crate) weights: Vec<Named>,
}

impl Upkeep {
    /// Notes the digest, writes the packed weights where there is room, and removes what is old.
    /// Stops between two pieces once `is_over`.
    ///
    /// # Errors
    /// Names the step and the file. Nothing half written is left.
    pub fn run(&self, now: SystemTime, is_over: &dyn Fn() -> bool) -> Result<Upkept, CacheError> {
        self.run_in(now, is_over, Room::of)
    }

    pub(super) fn run_in(
        &self,
        now: SystemTime,
        is_over: &dyn Fn() -> bool,
        room: impl Fn(&Path) -> io::Result<Room>,
    ) -> Result<Upkept, CacheError> {
        let folder = &self.begun.folder;
        std::fs::create_dir_all(folder).map_err(|source| CacheError::Folder {
            path: folder.clone(),
            source,
        })?;
        let name = self.identity.file_name();
        old::remove(folder, &name, now);
        self.note_digest(now)?;
        let path = folder.join(&name);
        if self.weights.is_empty() {
            used(&path, now);
            return Ok(Upkept::Nothing);
        }
        if path.exists() && !self.begun.is_unfit {
            return Ok(Upkept::ByAnother);
        }
        let bytes = file::bytes(&self.weights);
        let room = room(folder).map_err(|source| CacheError::Room {
            path: folder.clone(),
            source,
        })?;
        if !room.holds(bytes) {
            let available = room.available;
            return Ok(Upkept::NoRoom { bytes, available });
        }
        let placed = place(&path, |file| {
            file::write(file, (&self.identity, &self.weights), is_over)
        });
        match placed {
            Ok(Placed::Whole) => Ok(Upkept::Written { path, bytes }),
            Ok(Placed::ByAnother) => Ok(Upkept::ByAnother),
            Err(error) if error.kind() == ErrorKind::Interrupted && is_over() => Ok(Upkept::Over),
            Err(source) => Err(CacheError::Write { path, source }),
        }
    }

    fn note_digest(&self, now: SystemTime) -> Result<(), CacheError> {
        let Some(stamp) = &self.begun.stamp else {
            return Ok(());
        };
        let path = stamp.path(&self.begun.folder);
        if self.begun.is_noted {
            used(&path, now);
            return Ok(());
        }
        if !stamp.is_settled(self.begun.began) {
            return Ok(());
        }
        let text = note(&self.identity.digest);
        let placed = place(&path, |file| file.write_all(text.as_bytes()));
        placed.map_err(|source| CacheError::Write { path, source })?;
        Ok(())
    }
}

/// Sets the time by which a file is kept. Where that is not allowed, the file goes sooner.
fn used(path: &Path, now: SystemTime) {
    if let Ok(file) = File::open(path) {
        file.set_modified(now).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{LoadOptions, Model};

    fn load(folder: &Path) -> Model {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/types.gguf");
        let options = LoadOptions {
            packed_cache: Some(folder.to_owned()),
            ..LoadOptions::default()
        };
        Model::load(&path, &options).unwrap()
    }

    #[test]
    fn where_there_is_no_room_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let upkeep = load(folder.path()).take_upkeep().unwrap();
        let room = |available| {
            move |_: &Path| {
                Ok(Room {
                    total: 1 << 20,
                    available,
                })
            }
        };
        let run = |available| upkeep.run_in(SystemTime::now(), &|| false, room(available));
        let packed = || {
            let mut names = old::names(folder.path());
            names.any(|name| name.ends_with(super::super::PACKED))
        };
        assert!(matches!(run(1 << 17).unwrap(), Upkept::NoRoom { .. }));
        assert!(!packed());
        assert!(matches!(run(1 << 19).unwrap(), Upkept::Written { .. }));
        assert!(packed());
    }

    #[test]
    fn a_digest_is_noted_once_its_files_are_settled() {
        let folder = tempfile::tempdir().unwrap();
        let mut model = load(folder.path());
        let mut upkeep = model.take_upkeep().unwrap();
        upkeep.begun.began = SystemTime::UNIX_EPOCH;
        upkeep.run(SystemTime::now(), &|| false).unwrap();
        assert!(!load(folder.path()).report().digest_was_noted);
        upkeep.begun.began = SystemTime::now() + Duration::from_secs(60);
        upkeep.run(SystemTime::now(), &|| false).unwrap();
        let second = load(folder.path());
        assert!(second.report().digest_was_noted);
        assert_eq!(second.facts(), &expected(model.facts().clone(), &second));
    }

    /// The same facts, but for what is mapped now.
    fn expected(facts: crate::ModelFacts, mapped: &Model) -> crate::ModelFacts {
        crate::ModelFacts {
            mapped_bytes: mapped.facts().mapped_bytes,
            ..facts
        }
    }
}
