//! Tensors out of safetensors files, used where the file is mapped.
//!
//! Every tensor is asked for by name and shape; what nobody asked for is refused at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::bf16;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use weir_kernels::{Elements, Matrix};

use crate::LoadError;
use crate::files::read_json;

// A tensor is read as it lies in the file.
const _: () = assert!(
    cfg!(target_endian = "little"),
    "safetensors are little-endian"
);

/// One tensor, mapped where its file allows it.
#[derive(Debug)]
pub(crate) struct Tensor {
    columns: usize,
    numbers: Numbers,
}

#[derive(Debug)]
enum Numbers {
    /// Bytes of a file, aligned for their type.
    Mapped {
        map: Arc<Mmap>,
        start: usize,
        end: usize,
        stored: Stored,
    },
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    F32,
    Bf16,
}

impl Stored {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::Bf16 => size_of::<bf16>(),
        }
    }
}

impl Tensor {
    pub(crate) fn elements(&self) -> Elements<'_> {
        match &self.numbers {
            Numbers::Mapped {
                map,
                start,
                end,
                stored,
            } => {
                let bytes = &map[*start..*end];
                match stored {
                    Stored::F32 => Elements::F32(aligned(bytes).expect(ALIGNED)),
                    Stored::Bf16 => Elements::Bf16(aligned(bytes).expect(ALIGNED)),
                }
            }
            Numbers::F32(values) => Elements::F32(values),
            Numbers::Bf16(values) => Elements::Bf16(values),
        }
    }

    pub(crate) fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.elements(), self.columns)
    }

    pub(crate) fn stored(&self) -> Stored {
        match &self.numbers {
            Numbers::Mapped { stored, .. } => *stored,
            Numbers::F32(_) => Stored::F32,
            Numbers::Bf16(_) => Stored::Bf16,
        }
    }

    /// Some of its rows, as a tensor of their own.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Self {
        let range = rows.start * self.columns..rows.end * self.columns;
        let numbers = match &self.numbers {
            Numbers::Mapped {
                map, start, stored, ..
            } => Numbers::Mapped {
                map: Arc::clone(map),
                start: start + range.start * stored.bytes(),
                end: start + range.end * stored.bytes(),
                stored: *stored,
            },
            Numbers::F32(values) => Numbers::F32(values[range].to_vec()),
            Numbers::Bf16(values) => Numbers::Bf16(values[range].to_vec()),
        };
        Self {
            columns: self.columns,
            numbers,
        }
    }

    /// All of it, widened.
    pub(crate) fn to_vec(&self) -> Vec<f32> {
        self.elements().to_vec()
    }
}

const ALIGNED: &str = "a tensor that is not aligned was copied";

/// The types that weights are read as.
trait Number: Copy {
    fn from_le(bytes: &[u8]) -> Self;
}

impl Number for f32 {
    fn from_le(bytes: &[u8]) -> Self {
        Self::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

impl Number for bf16 {
    fn from_le(bytes: &[u8]) -> Self {
        Self::from_le_bytes([bytes[0], bytes[1]])
    }
}

/// The bytes as numbers, where they lie on a boundary of the type.
fn aligned<T: Number>(bytes: &[u8]) -> Option<&[T]> {
    #[allow(unsafe_code, reason = "the numbers of a mapped file are used in place")]
    // SAFETY: only f32 and bf16 are `Number`, and any bits are a value of either.
    let (before, numbers, after) = unsafe { bytes.align_to::<T>() };
    (before.is_empty() && after.is_empty()).then_some(numbers)
}

fn copied<T: Number>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(T::from_le).collect()
}

/// The tensors of a model folder that have not been taken yet.
pub(crate) struct Weights {
    files: Vec<(PathBuf, Arc<Mmap>)>,
    tensors: BTreeMap<String, Place>,
    parameters: u64,
    bytes: u64,
}

struct Place {
    file: usize,
    start: usize,
    end: usize,
    shape: Vec<usize>,
    stored: Dtype,
}

/// `model.safetensors.index.json`: which file holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Maps `model.safetensors`, or all the files that its index names, and reads their headers.
    pub(crate) fn open(folder: &Path) -> Result<Self, LoadError> {
        let mut weights = Self {
            files: Vec::new(),
            tensors: BTreeMap::new(),
            parameters: 0,
            bytes: 0,
        };
        for path in paths(folder)? {
            weights.add(path)?;
        }
        Ok(weights)
    }

    fn add(&mut self, path: PathBuf) -> Result<(), LoadError> {
        let read = |source| LoadError::Read {
            path: path.clone(),
            source,
        };
        let malformed = |error: safetensors::SafeTensorError| LoadError::Malformed {
            path: path.clone(),
            why: error.to_string(),
        };
        let file = File::open(&path).map_err(read)?;
        #[allow(unsafe_code, reason = "weights are used where the file is mapped")]
        // SAFETY: a model folder is not written to while it is served: downloads are complete
        // before a worker starts, and sources are mounted read-only.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(malformed)?;
        // The header follows its own length, which takes eight bytes.
        let data = header + 8;
        for (name, info) in metadata.tensors() {
            let place = Place {
                file: self.files.len(),
                start: data + info.data_offsets.0,
                end: data + info.data_offsets.1,
                shape: info.shape.clone(),
                stored: info.dtype,
            };
            if self.tensors.insert(name.clone(), place).is_some() {
                return Err(LoadError::Malformed {
                    path,
                    why: format!("another file has a tensor `{name}` too"),
                });
            }
        }
        self.files.push((path, Arc::new(map)));
        Ok(())
    }

    /// The files, for a digest.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.files
            .iter()
            .map(|(path, map)| (path.as_path(), &map[..]))
    }

    /// How many numbers were taken.
    pub(crate) fn parameters(&self) -> u64 {
        self.parameters
    }

    /// What they take in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, LoadError> {
        let place = self
            .tensors
            .remove(name)
            .ok_or_else(|| LoadError::TensorMissing {
                tensor: name.to_owned(),
            })?;
        if place.shape != shape {
            return Err(LoadError::TensorShape {
                tensor: name.to_owned(),
                found: place.shape,
                expected: shape.to_vec(),
            });
        }
        let stored = match place.stored {
            Dtype::F32 => Stored::F32,
            Dtype::BF16 => Stored::Bf16,
            other => {
                return Err(LoadError::TensorType {
                    tensor: name.to_owned(),
                    stored: format!("{other:?}"),
                });
            }
        };
        self.parameters += shape.iter().product::<usize>() as u64;
        self.bytes += (place.end - place.start) as u64;
        let map = &self.files[place.file].1;
        Ok(Tensor {
            columns: shape.last().copied().unwrap_or(1),
            numbers: numbers(map, (place.start, place.end), stored),
        })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Skips tensors that belong to what is not served.
    pub(crate) fn skip_all(&mut self, is_skipped: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| !is_skipped(name));
    }

    /// Skips a tensor that changes nothing, where it is there.
    pub(crate) fn skip(&mut self, name: &str) {
        self.tensors.remove(name);
    }

    /// # Errors
    /// Names a tensor that was neither taken nor skipped.
    pub(crate) fn finish(self) -> Result<(), LoadError> {
        match self.tensors.into_keys().next() {
            Some(tensor) => Err(LoadError::TensorUnexpected { tensor }),
            None => Ok(()),
        }
    }
}

fn numbers(map: &Arc<Mmap>, (start, end): (usize, usize), stored: Stored) -> Numbers {
    let bytes = &map[start..end];
    let mapped = match stored {
        Stored::F32 => aligned::<f32>(bytes).is_some(),
        Stored::Bf16 => aligned::<bf16>(bytes).is_some(),
    };
    match stored {
        _ if mapped => Numbers::Mapped {
            map: Arc::clone(map),
            start,
            end,
            stored,
        },
        Stored::F32 => Numbers::F32(copied(bytes)),
        Stored::Bf16 => Numbers::Bf16(copied(bytes)),
    }
}

fn paths(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let single = folder.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let path = folder.join("model.safetensors.index.json");
    let Some(index) = read_json::<Index>(&path)? else {
        return Err(LoadError::FileMissing {
            file: "weights",
            path: single,
        });
    };
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    names
        .into_iter()
        .map(|name| {
            let shard = folder.join(&name);
            // An index names its neighbours and nothing else.
            if Path::new(&name).components().count() != 1 || !shard.is_file() {
                return Err(LoadError::FileMissing {
                    file: "shard that its index names",
                    path: shard,
                });
            }
            Ok(shard)
        })
        .collect()
}
