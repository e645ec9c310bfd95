//! Room on a disk, known before and named when it ends.

use std::{io, path::Path};

use nix::sys::statvfs::statvfs;

use crate::error::SourceError;

/// Bytes that this process may still write below `folder`; nothing where that cannot be known.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let found = statvfs(folder).ok()?;
    // The types differ between systems.
    #[allow(
        clippy::unnecessary_cast,
        reason = "the fields are narrower on some systems"
    )]
    Some((found.blocks_available() as u64).saturating_mul(found.fragment_size() as u64))
}

/// # Errors
/// Where `needed` more bytes do not fit below `folder`.
pub(crate) fn foresee(folder: &Path, needed: u64) -> Result<(), SourceError> {
    match free_bytes(folder) {
        Some(free) if free < needed => Err(SourceError::DiskFull {
            folder: folder.to_owned(),
            needed,
            free,
        }),
        _ => Ok(()),
    }
}

/// A failure to write below `folder`, as a full disk where it is one.
pub(crate) fn not_written(
    error: io::Error,
    doing: &'static str,
    path: &Path,
    needed: u64,
) -> SourceError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SourceError::DiskFull {
            folder: path.parent().unwrap_or(path).to_owned(),
            needed,
            free: path.parent().and_then(free_bytes).unwrap_or(0),
        },
        _ => SourceError::cache(doing, path)(error),
    }
}
