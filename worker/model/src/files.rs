//! Reads the small files of a model folder.

use std::io::ErrorKind;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::LoadError;

/// The file's bytes, or nothing where there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, LoadError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LoadError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The bytes of a file that a model cannot be without.
pub(crate) fn needed(folder: &Path, file: &'static str) -> Result<Vec<u8>, LoadError> {
    let path = folder.join(file);
    read(&path)?.ok_or(LoadError::FileMissing { file, path })
}

/// The file as JSON of a known shape, or nothing where there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, LoadError> {
    let Some(bytes) = read(path)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| LoadError::Malformed {
            path: path.to_owned(),
            why: error.to_string(),
        })
}

/// The same for a file that a model cannot be without.
pub(crate) fn needed_json<T: DeserializeOwned>(
    folder: &Path,
    file: &'static str,
) -> Result<T, LoadError> {
    let path = folder.join(file);
    read_json(&path)?.ok_or(LoadError::FileMissing { file, path })
}
