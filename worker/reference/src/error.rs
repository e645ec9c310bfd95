//! Why there is nothing to compare with.

use std::path::PathBuf;

use thiserror::Error;
use weir_model::{BatchError, LoadError, TokenizeError};

/// candle cannot be asked about this model.
#[derive(Debug, Error)]
pub enum ReferenceError {
    #[error("finding the model failed")]
    Find(#[source] LoadError),
    #[error("reading {} failed", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is not what it should be: {why}", path.display())]
    Malformed { path: PathBuf, why: String },
    #[error("candle's own models do not have {what}")]
    Missing { what: String },
    #[error("candle's own {family} model {}", lacks.join("; it "))]
    Lacks {
        family: &'static str,
        /// Each as what the model does or does not do.
        lacks: Vec<String>,
    },
    #[error("candle's own {family} model cannot be built")]
    Build {
        family: &'static str,
        #[source]
        source: candle_core::Error,
    },
    #[error("candle failed at token {position}")]
    Forward {
        position: usize,
        #[source]
        source: candle_core::Error,
    },
}

/// The two could not be compared.
#[derive(Debug, Error)]
pub enum VerifyError {
    #[error("opening the model failed")]
    Load(#[source] LoadError),
    #[error("reading the prompt failed")]
    Tokenize(#[source] TokenizeError),
    #[error("the prompt has no tokens")]
    EmptyPrompt,
    #[error("{asked} tokens are asked for where the model has a context of {most}")]
    TooLong { asked: usize, most: u32 },
    #[error("the logits of {reference} tokens cannot be held against those of {ours}")]
    Vocabulary { ours: usize, reference: usize },
    #[error("our forward pass failed")]
    Forward(#[source] BatchError),
    #[error("there is nothing to compare with")]
    Reference(#[source] ReferenceError),
}
