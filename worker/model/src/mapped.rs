//! A file whose bytes are used where it is mapped.
//!
//! What is mapped is not written to while it is used: downloads are complete before a worker starts,
//! sources are mounted read-only, and packed weights are replaced, never changed. A file that gets
//! shorter all the same ends the process, which then says so: see [`lost`].

pub(crate) mod lost;

use std::fs::{File, Metadata};
use std::io;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};

use memmap2::{Mmap, UncheckedAdvice};

use self::lost::Watch;
use crate::{LoadError, files};

/// Bytes of a file, for as long as this lives.
#[derive(Debug)]
pub struct Mapped {
    // Before the map: an address is not watched once others may have it.
    _watch: Watch,
    map: Mmap,
    file: File,
    path: PathBuf,
}

impl Mapped {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = files::open(path)?;
        #[allow(unsafe_code, reason = "weights are used where their file is mapped")]
        // SAFETY: nobody writes to the file while it is used; see the invariant of this module.
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Self {
            _watch: Watch::over(&map, path),
            map,
            file,
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its name without its folder.
    pub(crate) fn name(&self) -> &str {
        let name = self.path.file_name().and_then(|name| name.to_str());
        name.unwrap_or_default()
    }

    /// Of the very file that is mapped, whatever its path leads to by now.
    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Touching a page that a file has lost ends the process; this says so first.
    pub(crate) fn check_length(&self) -> Result<(), LoadError> {
        let found = self.metadata().map_err(|source| LoadError::Read {
            path: self.path.clone(),
            source,
        })?;
        let (found, opened) = (found.len(), self.map.len() as u64);
        if found < opened {
            return Err(LoadError::Malformed {
                path: self.path.clone(),
                why: format!("it has {found} bytes, where it had {opened} when it was opened"),
            });
        }
        Ok(())
    }

    /// Lets go of the pages of a range: they are read again where they are looked at again.
    pub(crate) fn give_back(&self, range: Range<usize>) {
        let advice = UncheckedAdvice::DontNeed;
        #[allow(unsafe_code, reason = "pages of a file can be read again")]
        // SAFETY: the map is of a file and read only, so that pages come back as they were.
        let advised = unsafe {
            self.map
                .unchecked_advise_range(advice, range.start, range.len())
        };
        // Advice that is not taken costs memory that the system can take back by itself.
        advised.ok();
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
