//! What the first replica of a revision found, which the ones after it have to find too.
//!
//! A folder says it, a file for each; where there is none, nothing was found yet. A name that files
//! can be asked for by, a commit or a digest, is asked for. Tags and lengths are no such names: the
//! same files may come with others, so that they only say what in the cache will do. The digest over
//! all files has the last word.

use std::{
    fs,
    io::{ErrorKind, Read},
    path::Path,
};

use crate::failure::Failure;

/// No digest and no name of files is longer.
const MOST_BYTES: u64 = 4096;

/// What was found, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    /// Over all files that are read.
    pub digest: Option<String>,
    /// What the source resolved to.
    pub resolved: Option<String>,
}

impl Pins {
    /// What `folder` says, if there is one.
    ///
    /// # Errors
    /// Names the file that is there and cannot be read.
    pub fn read(folder: Option<&Path>) -> Result<Self, Failure> {
        let Some(folder) = folder else {
            return Ok(Self::default());
        };
        Ok(Self {
            digest: entry(&folder.join("digest"))?,
            resolved: entry(&folder.join("resolved"))?,
        })
    }

    /// # Errors
    /// Where a model of this digest is another one.
    pub fn hold(&self, digest: &str) -> Result<(), Failure> {
        match &self.digest {
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
        let read = || Pins::read(Some(folder.path())).unwrap();
        assert_eq!(Pins::read(None).unwrap(), Pins::default());
        assert_eq!(read(), Pins::default());
        assert!(read().hold("sha256:a").is_ok());
        fs::write(folder.path().join("digest"), "sha256:b\n").unwrap();
        fs::write(folder.path().join("resolved"), "").unwrap();
        let pins = read();
        assert_eq!(
            (pins.digest.as_deref(), &pins.resolved),
            (Some("sha256:b"), &None)
        );
        assert!(pins.hold("sha256:b").is_ok());
        let refused = pins.hold("sha256:a").unwrap_err();
        assert_eq!(refused.reason, "DigestMismatch");
        assert!(refused.message.contains("sha256:a") && refused.message.contains("sha256:b"));
    }
}
