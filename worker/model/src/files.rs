//! Opens the files of a model, and reads the small ones.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::LoadError;

/// Opens a regular file. Of others some would be waited for without end.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    File::open(path)
}

/// The most bytes of a file, by its name: some times what the largest models have.
fn most_bytes(path: &Path) -> u64 {
    let mebibytes = match path.file_name().and_then(|name| name.to_str()) {
        Some("config.json" | "generation_config.json") => 1,
        Some("tokenizer.json") => 128,
        _ => 16,
    };
    mebibytes << 20
}

/// The file's bytes, or nothing where there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, LoadError> {
    let most = most_bytes(path);
    let mut bytes = Vec::new();
    // It may grow while it is read.
    let read = open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length as u64 > most => Err(LoadError::Malformed {
            path: path.to_owned(),
            why: format!("it has more than the {most} bytes that are read of such a file"),
        }),
        Ok(_) => Ok(Some(bytes)),
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
