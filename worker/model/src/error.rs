//! Why a model cannot be loaded: each error names the file, key or tensor at fault.

use std::path::PathBuf;

use thiserror::Error;

/// Loading failed. [`LoadError::reason`] says which condition a person should see.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error("there is no model folder at {}", path.display())]
    FolderMissing { path: PathBuf },
    #[error("the model has no {file}: {} does not exist", path.display())]
    FileMissing { file: &'static str, path: PathBuf },
    #[error("reading {} failed", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is not what it should be: {}", path.display(), in_short(why))]
    Malformed { path: PathBuf, why: String },
    #[error("{} holds several models: name one of {choices}", path.display())]
    Choices { path: PathBuf, choices: String },
    #[error("the weights need {needed} bytes of memory where {available} are available; {how}")]
    TooLarge {
        needed: u64,
        available: u64,
        /// What may help.
        how: &'static str,
    },
    #[error("a GGUF file keeps its own quantization: take {asked} out")]
    QuantizedAlready { asked: &'static str },
    #[error("architecture {found} is not supported; these are: {known}")]
    Architecture { found: String, known: String },
    #[error("config.json has no `{key}`")]
    KeyMissing { key: &'static str },
    #[error("config.json: `{key}` is {value}, {why}")]
    KeyValue {
        key: String,
        value: String,
        why: String,
    },
    #[error("config.json: `{key}` is not known here, and might change what the model computes")]
    KeyUnknown { key: String },
    #[error("{} has no metadata `{key}`", path.display())]
    MetadataMissing { path: PathBuf, key: String },
    #[error("{}: metadata `{key}` is {found}, {why}", path.display())]
    MetadataValue {
        path: PathBuf,
        key: String,
        found: String,
        why: String,
    },
    #[error("these parts of a split file do not exist: {}", listed(missing, *others))]
    PartsMissing {
        missing: Vec<PathBuf>,
        /// How many more there are.
        others: usize,
    },
    #[error("{}: tensor `{tensor}` is stored as {stored}; {served} are supported", path.display())]
    TensorFormat {
        path: PathBuf,
        tensor: String,
        stored: String,
        served: &'static str,
    },
    #[error("the weights have no tensor `{tensor}`")]
    TensorMissing { tensor: String },
    #[error("the weights hold a tensor `{tensor}` that this architecture has no place for")]
    TensorUnexpected { tensor: String },
    #[error("tensor `{tensor}` has shape {found:?} where config.json asks for {expected:?}")]
    TensorShape {
        tensor: String,
        found: Vec<usize>,
        expected: Vec<usize>,
    },
    #[error("tensor `{tensor}` is stored as {stored}; F32, BF16 and F16 are supported")]
    TensorType { tensor: String, stored: String },
    #[error("tensor `{tensor}` has a number that is not finite, in row {row}")]
    NotFinite { tensor: String, row: usize },
    #[error(
        "the head is the embedding by `tie_word_embeddings`, and tensor `{head}` holds other numbers \
         than `{embedding}`: one of the two is wrong"
    )]
    HeadDiffers { head: String, embedding: String },
    #[error("a context of {asked} tokens is more than the {most} that the model was made for")]
    Context { asked: u32, most: u32 },
    #[error(
        "tokenizer.json has {tokens} tokens where the embedding has {rows} rows: \
         it belongs to another model"
    )]
    Vocabulary { tokens: usize, rows: usize },
    #[error(
        "key-value memory for a context of {tokens} tokens needs {needed} bytes where {available} \
         are available for it"
    )]
    ContextMemory {
        tokens: usize,
        needed: u64,
        available: u64,
    },
    #[error("{what} does not fit in memory: {bytes} bytes")]
    Memory { what: &'static str, bytes: usize },
}

impl LoadError {
    /// The reason of the condition that this error becomes.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::FolderMissing { .. } | Self::FileMissing { .. } | Self::PartsMissing { .. } => {
                "ModelNotFound"
            }
            Self::Memory { .. } | Self::TooLarge { .. } | Self::ContextMemory { .. } => {
                "OutOfMemory"
            }
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::OutOfMemory => {
                "OutOfMemory"
            }
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                "Unauthorized"
            }
            Self::Read { .. }
            | Self::Malformed { .. }
            | Self::Choices { .. }
            | Self::QuantizedAlready { .. }
            | Self::Architecture { .. }
            | Self::KeyMissing { .. }
            | Self::KeyValue { .. }
            | Self::KeyUnknown { .. }
            | Self::MetadataMissing { .. }
            | Self::MetadataValue { .. }
            | Self::TensorFormat { .. }
            | Self::TensorMissing { .. }
            | Self::TensorUnexpected { .. }
            | Self::TensorShape { .. }
            | Self::TensorType { .. }
            | Self::NotFinite { .. }
            | Self::HeadDiffers { .. }
            | Self::Context { .. }
            | Self::Vocabulary { .. } => "Unsupported",
        }
    }
}

/// Parsers quote what they do not like, which may be a whole file.
fn in_short(why: &str) -> String {
    const MOST: usize = 400;
    match why.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &why[..end]),
        None => why.to_owned(),
    }
}

fn listed(paths: &[PathBuf], others: usize) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    match others {
        0 => names.join(", "),
        others => format!("{} and {others} more", names.join(", ")),
    }
}
