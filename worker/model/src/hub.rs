//! Tensors out of safetensors files, used where the file is mapped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::LoadError;
use crate::files::read_json;
use crate::found::{Found, Stored};
use crate::mapped::Mapped;
use crate::tensor::Plain;

// A tensor is read as it lies in the file.
const _: () = assert!(
    cfg!(target_endian = "little"),
    "safetensors are little-endian"
);

/// The tensors of a model folder that have not been taken yet.
#[derive(Clone, Debug)]
pub(crate) struct HubTensors {
    files: Vec<Arc<Mapped>>,
    tensors: BTreeMap<String, Place>,
}

#[derive(Clone, Debug)]
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

impl HubTensors {
    /// Maps `model.safetensors`, or all the files that its index names, and reads their headers.
    pub(crate) fn open(folder: &Path) -> Result<Self, LoadError> {
        let mut weights = Self {
            files: Vec::new(),
            tensors: BTreeMap::new(),
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
        let map = Mapped::open(&path).map_err(read)?;
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
        self.files.push(Arc::new(map));
        Ok(())
    }

    pub(crate) fn files(&self) -> &[Arc<Mapped>] {
        &self.files
    }

    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Found, LoadError> {
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
        let plain = match place.stored {
            Dtype::F32 => Plain::F32,
            Dtype::BF16 => Plain::Bf16,
            Dtype::F16 => Plain::F16,
            other => {
                return Err(LoadError::TensorType {
                    tensor: name.to_owned(),
                    stored: format!("{other:?}"),
                });
            }
        };
        let map = &self.files[place.file];
        map.check_length()?;
        Ok(Found {
            name: name.to_owned(),
            map: Arc::clone(map),
            range: place.start..place.end,
            stored: Stored::Plain(plain),
            columns: shape.last().copied().unwrap_or(1),
            paired: None,
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.tensors.len()
    }

    /// What all tensors take.
    pub(crate) fn weight_bytes(&self) -> u64 {
        let places = self.tensors.values();
        places.map(|place| (place.end - place.start) as u64).sum()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Forgets tensors that change nothing.
    pub(crate) fn skip(&mut self, is_skipped: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| !is_skipped(name));
    }

    /// A tensor that was neither taken nor skipped.
    pub(crate) fn first_left(&self) -> Option<&str> {
        self.tensors.keys().next().map(String::as_str)
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
