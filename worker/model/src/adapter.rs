//! Low-rank adapters as PEFT writes them: a folder with `adapter_config.json` and
//! `adapter_model.safetensors`, read for a model that is loaded.
//!
//! Invariants: an adapter is read whole or refused by name; what its config asks for is what its
//! tensors are; it fits the model that it was read for, and no other takes it.

mod config;
mod delta;
mod error;
mod modules;
mod share;
mod stored;
mod targets;
mod tensors;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use self::config::Config;
pub(crate) use self::delta::Delta;
pub use self::error::AdapterError;
use self::modules::Module;
pub(crate) use self::modules::Projection;
pub(crate) use self::share::{Adapted, HeadDeltas};
use self::stored::Stored;
use self::tensors::Tensors;
use crate::layers::Layout;
use crate::spec::DecoderSpec;

/// The most dimensions of an adapter.
pub const MOST_RANK: usize = 64;

/// An adapter in memory. Sequences that use it share it.
pub struct Adapter {
    digest: String,
    base: Arc<Base>,
    rank: usize,
    bytes: u64,
    skipped: usize,
    /// Of each layer.
    layers: Vec<[Option<Delta>; Projection::COUNT]>,
    head: Option<Arc<Delta>>,
}

/// What an adapter has to fit. Cheap to clone, and can go where the model cannot.
#[derive(Clone, Debug)]
pub struct AdapterBase(Arc<Base>);

#[derive(Debug)]
struct Base {
    /// The digest of the model as it is served.
    digest: String,
    spec: DecoderSpec,
    layout: Layout,
}

impl AdapterBase {
    pub(crate) fn new(digest: &str, spec: &DecoderSpec, layout: Layout) -> Self {
        Self(Arc::new(Base {
            digest: digest.to_owned(),
            spec: spec.clone(),
            layout,
        }))
    }

    /// Reads the adapter in a folder, which may take `most_bytes` of memory. Nothing of the folder
    /// is needed afterwards.
    ///
    /// # Errors
    /// Names the file, key or tensor that is missing or that does not fit the model.
    pub fn read(&self, folder: &Path, most_bytes: u64) -> Result<Adapter, AdapterError> {
        let (config, written) = Config::read(folder)?;
        let (stored, tensors) = Stored::open(folder)?;
        let base = &self.0;
        let mut tensors = Tensors::of((&stored, tensors), base.layout);
        let fits = |needed| match needed > most_bytes {
            true => Err(AdapterError::TooLarge {
                needed,
                available: most_bytes,
            }),
            false => Ok(()),
        };
        // In memory they take no less than in the file.
        fits(tensors.bytes())?;
        let mut adapter = Adapter {
            digest: stored.digest((config::FILE, &written))?,
            base: base.clone(),
            rank: 0,
            bytes: 0,
            skipped: tensors.skipped(),
            layers: Vec::new(),
            head: None,
        };
        adapter
            .layers
            .resize_with(base.spec.layers.len(), Default::default);
        for module in modules::of(&base.spec, base.layout, tensors.model()) {
            adapter.take(&module, &config, &mut tensors)?;
        }
        tensors.finish()?;
        stored.check_unchanged()?;
        if adapter.rank == 0 {
            return Err(AdapterError::Nothing);
        }
        fits(adapter.bytes)?;
        Ok(adapter)
    }
}

impl Adapter {
    fn take(
        &mut self,
        module: &Module,
        config: &Config,
        tensors: &mut Tensors<'_>,
    ) -> Result<(), AdapterError> {
        let is_there = tensors.has(&module.name);
        if !config.targets.contain(module) {
            return match is_there {
                true => Err(AdapterError::Untargeted {
                    module: module.name.clone(),
                }),
                false => Ok(()),
            };
        }
        let (rank, scale) = config.rank_and_scale(&module.name)?;
        let (down, up) = tensors.take(module, rank)?;
        self.rank = self.rank.max(rank);
        self.bytes += down.bytes() as u64;
        let down = Arc::new(down);
        let mut first = 0;
        for part in &module.parts {
            let end = first + part.outputs * rank;
            let rows = up.elements().range(first..end);
            first = end;
            let delta = Delta::new(&down, (rows, rank), scale);
            self.bytes += delta.up_bytes();
            match module.layer {
                Some(layer) => self.layers[layer][part.projection as usize] = Some(delta),
                None => self.head = Some(Arc::new(delta)),
            }
        }
        Ok(())
    }

    /// Of its files' content.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many tensors were left out: those of what sees images, which no text model has.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The most dimensions that any of its parts has.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Whether it was read for the model of that digest.
    pub(crate) fn fits(&self, model_digest: &str) -> bool {
        self.base.digest == model_digest
    }

    pub(crate) fn delta(&self, layer: usize, projection: Projection) -> Option<&Delta> {
        self.layers[layer][projection as usize].as_ref()
    }

    pub(crate) fn head(&self) -> Option<&Arc<Delta>> {
        self.head.as_ref()
    }
}

/// Two are the same if their files are.
impl PartialEq for Adapter {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.base.digest == other.base.digest
    }
}

impl Eq for Adapter {}

impl fmt::Debug for Adapter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Adapter")
            .field("digest", &self.digest)
            .field("rank", &self.rank)
            .finish_non_exhaustive()
    }
}
