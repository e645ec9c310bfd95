//! Packed weights of earlier starts: each model's in one file, used where it is mapped.
//!
//! One folder serves many models and workers. A file is written under another name by one writer at
//! a time and never changed afterwards, so that what others have mapped stays as it is; what is
//! found damaged, foreign or old is not used. Checksums find accidents and no forgeries: who may
//! write to the folder may choose what the model answers, as who may write to the model's own.

mod checksum;
mod file;
mod known;
mod old;
mod place;
mod room;
mod upkeep;

use std::path::{Path, PathBuf};

use thiserror::Error;
use weir_kernels::Cpu;
use weir_kernels::packed::PACK_VERSION;

pub use self::upkeep::{CacheError, Upkeep, Upkept};

pub(crate) use self::file::PackedFile;
pub(crate) use self::known::Stamp;
pub(crate) use self::upkeep::Begun;

use crate::quantization::Quantization;

/// Of the file around the packed bytes: its header, its table, and its checksums.
const FILE_VERSION: u32 = 2;

/// Names of our files end so; others in the folder are left alone.
const PACKED: &str = ".packed";

/// Why a file that is there is not used.
#[derive(Clone, Debug, Error)]
#[error("{} is not used: {why}", path.display())]
pub struct Unfit {
    pub path: PathBuf,
    pub why: String,
}

/// What one file holds: which model's weights, and what they were made into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Over every file of the model, as it is told to others.
    pub(crate) digest: String,
    pub(crate) weights: Weights,
}

/// What is known of a model's weights before its digest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weights {
    /// Of the files that hold them.
    pub(crate) file_bytes: u64,
    pub(crate) quantization: Quantization,
}

impl Identity {
    fn file_name(&self) -> String {
        let digest = self.digest.trim_start_matches("sha256:");
        format!("{digest}{}", self.weights.ending())
    }

    /// Opens the file and reads all of it once; nothing where there is none.
    ///
    /// # Errors
    /// Says why a file that is there cannot be used.
    pub(crate) fn find(&self, folder: &Path, cpu: &Cpu) -> Result<Option<PackedFile>, Unfit> {
        PackedFile::open(&folder.join(self.file_name()), self, cpu)
    }

    /// The file was whole, but was not made for this program.
    pub(crate) fn lacks(&self, folder: &Path, weight: &str) -> Unfit {
        Unfit {
            path: folder.join(self.file_name()),
            why: format!("it lacks the weight `{weight}`"),
        }
    }
}

impl Weights {
    /// What the names of files end in that may hold these, packed by this version.
    fn ending(self) -> String {
        let quantization = self.quantization.name().to_lowercase();
        let bytes = self.file_bytes;
        format!("-{quantization}-{bytes}-{FILE_VERSION}.{PACK_VERSION}{PACKED}")
    }

    /// Whether a file lies there that may hold these.
    pub(crate) fn may_lie_in(self, folder: &Path) -> bool {
        let ending = self.ending();
        old::names(folder).any(|name| name.ends_with(&ending))
    }
}
