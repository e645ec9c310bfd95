//! What the first replica of a revision found, which the ones after it have to find too.
//!
//! A folder says it, a file for each; where there is none, nothing was found yet. A name that files
//! can be asked for by, a commit or a digest, is asked for. Tags and lengths are no such names: the
//! same files may come with others, so that they only say what in the cache will do. The digest over
//! all files has the last word.

use std::{
    fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// No digest and no name of files is longer.
const MOST_BYTES: u64 = 4096;

/// A folder that may be filled while workers start: each word is read when it is asked for.
#[derive(Debug, Clone, Default)]
pub struct Pins {
    folder: Option<PathBuf>,
}

impl Pins {
    /// What `folder` says, if there is one.
    pub fn of(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// What the source resolved to, as far as it is known.
    ///
    /// # Errors
    /// Names the file that is there and cannot be read.
    pub fn resolved(&self) -> Result<Option<String>, Failure> {
        self.entry("resolved")
    }

    /// # Errors
    /// Where a model of this digest, over all files that are read, is another one.
    pub fn hold(&self, digest: &str) -> Result<(), Failure> {
        match self.entry("digest")? {
            Some(pinned) if pinned != digest => {
                let message = format!(
                    "the files have the digest {digest}, and the first replica of this revision found \
                     {pinned}: put the files back, or change the spec so that a new revision begins"
                );
                Err(Failure::of("DigestMismatch", &message))
            }
            _ => Ok(()),
        }
    }

    fn entry(&self, name: &str) -> Result<Option<String>, Failure> {
        let folder = self.folder.as_ref();
        folder.map_or(Ok(None), |folder| entry(&folder.join(name)))
    }
}

fn entry(file: &Path) -> Result<Option<String>, Failure> {
    let mut text = String::new();
    let read =
        fs::File::open(file).and_then(|open| open.take(MOST_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let message = format!("read what is pinned in {}: {error}", file.display());
            Err(Failure::of("CrashLoop", &message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_folder_does_not_say_is_not_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::of(Some(folder.path().to_owned()));
        for nothing in [&Pins::default(), &pins] {
            assert_eq!(nothing.resolved().unwrap(), None);
            nothing.hold("sha256:a").unwrap();
        }
        fs::write(folder.path().join("resolved"), "").unwrap();
        assert_eq!(pins.resolved().unwrap(), None);
        fs::write(folder.path().join("resolved"), "main\n").unwrap();
        assert_eq!(pins.resolved().unwrap().as_deref(), Some("main"));
    }

    #[test]
    fn a_digest_that_is_pinned_while_the_model_is_loaded_holds() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::of(Some(folder.path().to_owned()));
        assert_eq!(pins.resolved().unwrap(), None);
        fs::write(folder.path().join("digest"), "sha256:b\n").unwrap();
        pins.hold("sha256:b").unwrap();
        let refused = pins.hold("sha256:a").unwrap_err();
        assert_eq!(refused.reason, "DigestMismatch");
        assert!(refused.message.contains("sha256:a") && refused.message.contains("sha256:b"));
    }
}
