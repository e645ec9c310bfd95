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
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

pub(crate) use self::item::quoted;
pub use self::item::{Array, Item};
pub use self::metadata::{Metadata, Typed};
pub use self::tensor::{GgufTensor, TensorType};

use self::header::{Header, Placed};
use self::tensor::Stored;
use crate::LoadError;
use crate::mapped::Mapped;

// Blocks and numbers are used as they lie in the file.
const _: () = assert!(cfg!(target_endian = "little"), "GGUF is little-endian");

/// A model in a GGUF file, or in all the files of a split.
#[derive(Debug)]
pub struct Gguf {
    metadata: Metadata,
    parts: Vec<Arc<Mapped>>,
    /// By name: the part, and the place in it.
    tensors: BTreeMap<String, (usize, Placed)>,
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
            let part = Arc::new(mapped(&path)?);
            let header = Header::read(&part).map_err(|why| malformed(&part, why))?;
            let metadata = Metadata::new(Arc::clone(&part), header.values);
            split::check_part(&metadata, place, count)?;
            for (name, placed) in header.tensors {
                if let Some((other, _)) = tensors.get(&name) {
                    let other: &Arc<Mapped> = &parts[*other];
                    let other = other.path().display();
                    return Err(malformed(
                        &part,
                        format!("{other} has the tensor `{name}` too"),
                    ));
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
                path: part.path().to_owned(),
                tensor: name.to_owned(),
                stored: placed.stored.to_string(),
                served: TensorType::SERVED,
            });
        };
        part.check_length()?;
        Ok(GgufTensor {
            shape: placed.shape.clone(),
            kind,
            map: Arc::clone(part),
            range: placed.range.clone(),
        })
    }

    /// What all tensors take.
    pub fn weight_bytes(&self) -> u64 {
        let placed = self.tensors.values();
        placed.map(|(_, placed)| placed.range.len() as u64).sum()
    }

    /// The file, or those of its split, in order.
    pub fn files(&self) -> &[Arc<Mapped>] {
        &self.parts
    }
}

fn mapped(path: &Path) -> Result<Mapped, LoadError> {
    Mapped::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => LoadError::FileMissing {
            file: "GGUF file",
            path: path.to_owned(),
        },
        _ => LoadError::Read {
            path: path.to_owned(),
            source,
        },
    })
}

fn malformed(part: &Mapped, why: String) -> LoadError {
    LoadError::Malformed {
        path: part.path().to_owned(),
        why,
    }
}
