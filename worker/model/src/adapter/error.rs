//! Why an adapter cannot be used: each error names the file, key or tensor at fault.

use std::path::PathBuf;

use thiserror::Error;

use crate::LoadError;

/// [`AdapterError::reason`] says which condition a person should see.
#[derive(Debug, Error)]
pub enum AdapterError {
    #[error("read the adapter's config")]
    Config(#[source] LoadError),
    #[error("there is no adapter at {}: it has no {file}", folder.display())]
    Missing { folder: PathBuf, file: &'static str },
    #[error("reading {} failed", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("adapter_config.json has no `{key}`")]
    KeyMissing { key: &'static str },
    #[error("adapter_config.json: `{key}` is {value}, {why}")]
    Key {
        key: String,
        value: String,
        why: String,
    },
    #[error("adapter_model.safetensors is not what it should be: {why}")]
    Malformed { why: String },
    #[error("the adapter has no tensor `{tensor}`, which its config asks for")]
    TensorMissing { tensor: String },
    #[error("the adapter has a tensor `{tensor}` that this model has no place for")]
    TensorUnexpected { tensor: String },
    #[error("the adapter has tensors of `{module}`, which its config does not target")]
    Untargeted { module: String },
    #[error("tensor `{tensor}` has shape {found:?} where this model asks for {expected:?}")]
    TensorShape {
        tensor: String,
        found: Vec<usize>,
        expected: [usize; 2],
    },
    #[error("tensor `{tensor}` is stored as {stored}; F32, BF16 and F16 are supported")]
    TensorType { tensor: String, stored: String },
    #[error("tensor `{tensor}` has a number that is not finite, in row {row}")]
    NotFinite { tensor: String, row: usize },
    #[error("the adapter targets no layer of this model")]
    Nothing,
    #[error("the adapter needs {needed} bytes of memory where {available} are left for adapters")]
    TooLarge { needed: u64, available: u64 },
}

impl AdapterError {
    /// The reason of the condition that this error becomes.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Config(error) => error.reason(),
            Self::Missing { .. } => "ModelNotFound",
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                "Unauthorized"
            }
            Self::TooLarge { .. } => "OutOfMemory",
            Self::Read { .. }
            | Self::KeyMissing { .. }
            | Self::Key { .. }
            | Self::Malformed { .. }
            | Self::TensorMissing { .. }
            | Self::TensorUnexpected { .. }
            | Self::Untargeted { .. }
            | Self::TensorShape { .. }
            | Self::TensorType { .. }
            | Self::NotFinite { .. }
            | Self::Nothing => "Unsupported",
        }
    }
}
