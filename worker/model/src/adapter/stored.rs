//! `adapter_model.safetensors` as it lies in a folder: read piece by piece, so that no more of it is in
//! memory than is worked with.
//!
//! It is not mapped: adapters lie in folders that people write to while a worker serves, and a mapped
//! file that gets shorter ends the process.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use safetensors::tensor::{Metadata, TensorInfo};

use super::AdapterError;
use crate::digest;
use crate::files;

pub(super) const FILE: &str = "adapter_model.safetensors";

/// More than the header of any adapter takes: a few hundred bytes for each tensor.
const LONGEST_HEADER: u64 = 16 << 20;

/// The length of a header, as it is written before it.
const LENGTH: u64 = size_of::<u64>() as u64;

#[derive(Debug)]
pub(super) struct Stored {
    file: File,
    path: PathBuf,
    length: u64,
    /// Absent where the folder's system does not say.
    written: Option<SystemTime>,
    /// Where the tensors begin.
    data: u64,
}

impl Stored {
    /// The file of a folder, and what its header says of the tensors.
    pub(super) fn open(folder: &Path) -> Result<(Self, Vec<(String, TensorInfo)>), AdapterError> {
        let path = folder.join(FILE);
        let failed = |source: std::io::Error| match source.kind() {
            ErrorKind::NotFound => AdapterError::Missing {
                folder: folder.to_owned(),
                file: FILE,
            },
            _ => AdapterError::Read {
                path: path.clone(),
                source,
            },
        };
        let file = files::open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mut stored = Self {
            file,
            length: metadata.len(),
            written: metadata.modified().ok(),
            data: 0,
            path,
        };
        let tensors = stored.header()?;
        Ok((stored, tensors))
    }

    fn header(&mut self) -> Result<Vec<(String, TensorInfo)>, AdapterError> {
        let short = || malformed("it is shorter than a header");
        if self.length < LENGTH {
            return Err(short());
        }
        let mut length = [0; LENGTH as usize];
        self.read(0, &mut length)?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST_HEADER {
            return Err(malformed("its header is longer than any"));
        }
        self.data = LENGTH + length;
        if self.data > self.length {
            return Err(short());
        }
        let mut header = vec![0; length as usize];
        self.read(LENGTH, &mut header)?;
        let said = |error: &dyn std::error::Error| malformed(&error.to_string());
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| said(&error))?;
        let names = metadata.offset_keys().into_iter();
        let tensors = names.filter_map(|name| {
            let info = metadata.info(&name)?.clone();
            Some((name, info))
        });
        let tensors: Vec<_> = tensors.collect();
        // Whether they lie one behind the other, each as long as its shape says.
        let metadata = Metadata::new(None, tensors.clone()).map_err(|error| said(&error))?;
        match self.data + metadata.data_len() as u64 == self.length {
            true => Ok(tensors),
            false => Err(malformed("it is not as long as its header says")),
        }
    }

    /// Of the adapter's files. Reads all of this one.
    pub(super) fn digest(&self, config: (&str, &[u8])) -> Result<String, AdapterError> {
        let from_the_start = Whole {
            stored: self,
            at: 0,
        };
        let digest = digest::of_files_and([config], (FILE, from_the_start, self.length));
        digest.map_err(|source| self.failed(source))
    }

    /// The bytes of one tensor.
    pub(super) fn tensor(&self, info: &TensorInfo) -> Result<Vec<u8>, AdapterError> {
        let (from, to) = info.data_offsets;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(to - from)
            .map_err(|_| self.failed(ErrorKind::OutOfMemory.into()))?;
        bytes.resize(to - from, 0);
        self.read(self.data + from as u64, &mut bytes)?;
        Ok(bytes)
    }

    /// # Errors
    /// Where the file was written to after it was opened: what was read may be of two adapters.
    pub(super) fn check_unchanged(&self) -> Result<(), AdapterError> {
        let now = self.file.metadata().map_err(|source| self.failed(source))?;
        match (now.len(), now.modified().ok()) == (self.length, self.written) {
            true => Ok(()),
            false => Err(malformed("it was written to while it was read")),
        }
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), AdapterError> {
        let read = self.file.read_exact_at(bytes, at);
        read.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> AdapterError {
        AdapterError::Read {
            path: self.path.clone(),
            source,
        }
    }
}

/// The file from its start, wherever others read.
struct Whole<'a> {
    stored: &'a Stored,
    at: u64,
}

impl Read for Whole<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = self.stored.file.read_at(bytes, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

fn malformed(why: &str) -> AdapterError {
    AdapterError::Malformed {
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn a_file_that_is_written_to_while_it_is_read_is_no_adapter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let view = TensorView::new(Dtype::F32, vec![1, 2], &[0; 8]).unwrap();
        safetensors::serialize_to_file([("a", view)], None, &path).unwrap();
        let (stored, tensors) = Stored::open(folder.path()).unwrap();
        assert_eq!(stored.tensor(&tensors[0].1).unwrap(), [0; 8]);
        stored.check_unchanged().unwrap();
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(&[0]).unwrap();
        let said = stored.check_unchanged().unwrap_err().to_string();
        assert!(
            said.ends_with("it was written to while it was read"),
            "{said}"
        );
        let said = Stored::open(folder.path()).unwrap_err().to_string();
        assert!(
            said.ends_with("it is not as long as its header says"),
            "{said}"
        );
    }
}
