//! The tensors of a folder, and which of them candle's model has taken.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::safetensors::BufferedSafetensors;
use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;
use serde_json::Value;

use crate::ReferenceError;

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// Names are those of a text model by itself, whatever it is wrapped in.
#[derive(Clone)]
pub(crate) struct Tensors(Arc<Inner>);

struct Inner {
    files: Vec<BufferedSafetensors>,
    /// The file, and the name in it.
    places: BTreeMap<String, (usize, String)>,
    /// The embedding is the head.
    is_tied: bool,
    taken: Mutex<BTreeSet<String>>,
}

impl Tensors {
    pub(crate) fn read(
        folder: &Path,
        is_wrapped: bool,
        is_tied: bool,
    ) -> std::result::Result<Self, ReferenceError> {
        let (mut files, mut places) = (Vec::new(), BTreeMap::new());
        for path in paths(folder)? {
            let bytes = std::fs::read(&path).map_err(|source| ReferenceError::Read {
                path: path.clone(),
                source,
            })?;
            let file = BufferedSafetensors::new(bytes).map_err(|error| {
                let why = error.to_string();
                ReferenceError::Malformed { path, why }
            })?;
            for (name, _) in file.tensors() {
                if let Some(known_as) = of_the_text_model(&name, is_wrapped) {
                    places.insert(known_as, (files.len(), name));
                }
            }
            files.push(file);
        }
        Ok(Self(Arc::new(Inner {
            files,
            places,
            is_tied,
            taken: Mutex::default(),
        })))
    }

    /// Tensors that the model left where they are.
    pub(crate) fn left(&self) -> Vec<String> {
        let taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_no_use = |name: &&String| {
            (self.0.is_tied && name.as_str() == HEAD) || name.ends_with(".rotary_emb.inv_freq")
        };
        let names = self.0.places.keys().filter(|name| !of_no_use(name));
        names
            .filter(|name| !taken.contains(*name))
            .cloned()
            .collect()
    }

    fn name<'a>(&self, asked: &'a str) -> &'a str {
        match self.0.is_tied && asked == HEAD {
            true => EMBEDDING,
            false => asked,
        }
    }
}

/// The files that the index names, or the only one.
fn paths(folder: &Path) -> std::result::Result<Vec<PathBuf>, ReferenceError> {
    let index = folder.join("model.safetensors.index.json");
    if !index.exists() {
        return Ok(vec![folder.join("model.safetensors")]);
    }
    let text = std::fs::read(&index).map_err(|source| ReferenceError::Read {
        path: index.clone(),
        source,
    })?;
    let names = serde_json::from_slice::<Value>(&text)
        .ok()
        .and_then(|value| {
            let map = value.get("weight_map")?.as_object()?;
            map.values()
                .map(|name| name.as_str().map(str::to_owned))
                .collect::<Option<BTreeSet<_>>>()
        });
    let names = names.ok_or_else(|| ReferenceError::Malformed {
        path: index,
        why: "it has no map of weights".to_owned(),
    })?;
    Ok(names.iter().map(|name| folder.join(name)).collect())
}

/// The name without its wrapper; none for what belongs to images.
fn of_the_text_model(name: &str, is_wrapped: bool) -> Option<String> {
    if !is_wrapped {
        return Some(name.to_owned());
    }
    if let Some(rest) = name.strip_prefix("model.language_model.") {
        return Some(format!("model.{rest}"));
    }
    let rest = name.strip_prefix("language_model.");
    rest.or(name.starts_with("lm_head.").then_some(name))
        .map(str::to_owned)
}

impl SimpleBackend for Tensors {
    fn get(&self, shape: Shape, name: &str, _: Init, kind: DType, on: &Device) -> Result<Tensor> {
        let tensor = self.get_unchecked(name, kind, on)?;
        if tensor.shape() != &shape {
            let found = tensor.shape().clone();
            candle_core::bail!("{name} is {found:?} where {shape:?} is meant");
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, kind: DType, on: &Device) -> Result<Tensor> {
        let known_as = self.name(name);
        let Some((file, within)) = self.0.places.get(known_as) else {
            candle_core::bail!("there is no tensor {name}");
        };
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(known_as.to_owned());
        self.0.files[*file].load(within, on)?.to_dtype(kind)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.places.contains_key(self.name(name))
    }
}
