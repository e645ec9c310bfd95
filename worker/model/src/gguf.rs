//! Reads GGUF files, versions 2 and 3, where they are mapped.
//!
//! Opening a file checks all of its header in bounded memory and time; after that, a value or a
//! tensor is there or is refused by its name.

mod cursor;
mod header;
mod item;
mod metadata;
pub mod names;
mod split;
mod tensor;
pub(crate) mod tensors;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

pub(crate) use self::item::quoted;
pub use self::item::{Array, Item};
pub use self::metadata::{Metadata, Typed};
pub use self::tensor::{GgufTensor, TensorType};

use self::header::{Header, Placed};
use self::tensor::Stored;
use crate::LoadError;

// Blocks and numbers are used as they lie in the file.
const _: () = assert!(cfg!(target_endian = "little"), "GGUF is little-endian");

/// A model in a GGUF file, or in all the files of a split.
#[derive(Debug)]
pub struct Gguf {
    metadata: Metadata,
    parts: Vec<Part>,
    /// By name: the part, and the place in it.
    tensors: BTreeMap<String, (usize, Placed)>,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
    map: Arc<Mmap>,
}

impl Gguf {
    /// Opens a file, and all others of its split, through any of them.
    ///
    /// # Errors
    /// Names the file, and the key or the tensor that is not as it should be.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let paths = split::parts(path)?;
        let count = paths.len();
        let mut parts = Vec::with_capacity(count);
        let mut tensors = BTreeMap::new();
        let mut first = None;
        for (place, path) in paths.into_iter().enumerate() {
            let part = Part::open(path)?;
            let header = Header::read(&part.map).map_err(|why| part.malformed(why))?;
            let metadata = Metadata::new(part.path.clone(), Arc::clone(&part.map), header.values);
            split::check_part(&metadata, place, count)?;
            for (name, placed) in header.tensors {
                if let Some((other, _)) = tensors.get(&name) {
                    let other: &Part = &parts[*other];
                    let other = other.path.display();
                    return Err(part.malformed(format!("{other} has the tensor `{name}` too")));
                }
                tensors.insert(name, (place, placed));
            }
            parts.push(part);
            first.get_or_insert(metadata);
        }
        let metadata = first.ok_or_else(|| LoadError::FileMissing {
            file: "GGUF file",
            path: path.to_owned(),
        })?;
        split::check_tensors(&metadata, tensors.len())?;
        Ok(Self {
            metadata,
            parts,
            tensors,
        })
    }

    /// What the file, or the first of its split, says about the model.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Names of tensors, sorted.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor's shape, rows before columns, whatever its type.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        let (_, placed) = self.tensors.get(name)?;
        Some(&placed.shape)
    }

    /// # Errors
    /// Where there is no such tensor, its type is not served, or its file is shorter than it was.
    pub fn tensor(&self, name: &str) -> Result<GgufTensor, LoadError> {
        let Some((part, placed)) = self.tensors.get(name) else {
            return Err(LoadError::TensorMissing {
                tensor: name.to_owned(),
            });
        };
        let part = &self.parts[*part];
        let Stored::Served(kind) = placed.stored else {
            return Err(LoadError::TensorFormat {
                path: part.path.clone(),
                tensor: name.to_owned(),
                stored: placed.stored.to_string(),
                served: TensorType::SERVED,
            });
        };
        part.check_length()?;
        Ok(GgufTensor {
            shape: placed.shape.clone(),
            kind,
            map: Arc::clone(&part.map),
            range: placed.range.clone(),
        })
    }

    /// What all tensors take.
    pub fn weight_bytes(&self) -> u64 {
        let placed = self.tensors.values();
        placed.map(|(_, placed)| placed.range.len() as u64).sum()
    }

    /// The files, for a digest.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.parts
            .iter()
            .map(|part| (part.path.as_path(), &part.map[..]))
    }
}

impl Part {
    fn open(path: PathBuf) -> Result<Self, LoadError> {
        let read = |source: std::io::Error| match source.kind() {
            ErrorKind::NotFound => LoadError::FileMissing {
                file: "GGUF file",
                path: path.clone(),
            },
            _ => LoadError::Read {
                path: path.clone(),
                source,
            },
        };
        let file = File::open(&path).map_err(read)?;
        #[allow(unsafe_code, reason = "weights are used where the file is mapped")]
        // SAFETY: a model is not written to while it is served: downloads are complete before a
        // worker starts, and sources are mounted read-only.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        Ok(Self {
            map: Arc::new(map),
            file,
            path,
        })
    }

    /// Touching a page that a file has lost ends the process; this says so first.
    fn check_length(&self) -> Result<(), LoadError> {
        let found = self.file.metadata().map_err(|source| LoadError::Read {
            path: self.path.clone(),
            source,
        })?;
        let opened = self.map.len() as u64;
        if found.len() < opened {
            let found = found.len();
            return Err(self.malformed(format!(
                "it has {found} bytes, where it had {opened} when it was opened"
            )));
        }
        Ok(())
    }

    fn malformed(&self, why: String) -> LoadError {
        LoadError::Malformed {
            path: self.path.clone(),
            why,
        }
    }
}
