//! Digests by which two workers recognise that they serve the same model.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::mapped::Mapped;

/// Every file that a model's answers depend on.
#[derive(Debug)]
pub(crate) struct Digested {
    /// By name and content.
    pub(crate) small: Vec<(String, Vec<u8>)>,
    pub(crate) weights: Vec<Arc<Mapped>>,
}

impl Digested {
    pub(crate) fn small(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let small = self.small.iter();
        small.map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    pub(crate) fn weight_bytes(&self) -> u64 {
        self.weights.iter().map(|file| file.len() as u64).sum()
    }

    /// Reads all of them.
    pub(crate) fn digest(&self) -> String {
        let weights = self.weights.iter().map(|file| (file.name(), &file[..]));
        of_files(self.small().chain(weights))
    }
}

/// Of files by name and content. The order is the caller's; lengths are hashed too, so that no
/// two sets of files look alike.
pub(crate) fn of_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    written(hashed(files))
}

fn hashed<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Sha256 {
    let mut hash = Sha256::new();
    for (name, bytes) in files {
        for part in [name.as_bytes(), bytes] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hash
}

/// The same of files, and one more that is read piece by piece and has so many bytes.
pub(crate) fn of_files_and<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    (name, mut content, length): (&str, impl Read, u64),
) -> io::Result<String> {
    let mut hash = hashed(files);
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name.as_bytes());
    hash.update(length.to_le_bytes());
    let mut piece = vec![0; 1 << 16];
    loop {
        match content.read(&mut piece) {
            Ok(0) => return Ok(written(hash)),
            Ok(count) => hash.update(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Of one file's content, as `sha256sum` prints it.
pub(crate) fn of_content(bytes: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(bytes);
    written(hash)
}

fn written(hash: Sha256) -> String {
    let hex: Vec<String> = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{}", hex.concat())
}
