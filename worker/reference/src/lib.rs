//! What our arithmetic is held against: the same model computed by candle's own code.
//!
//! Nothing that serves uses this crate. It opens a folder as Hugging Face lays it out, or a GGUF
//! file, with the model that `candle-transformers` has for its family, and gives the logits of one
//! sequence. Invariant: what candle does not have, or is known to compute otherwise than the
//! model's authors do, is refused by name, so that a difference is a difference.

mod apart;
mod config;
mod error;
mod families;
mod gguf;
mod lacking;
mod ours;
mod reference;
mod sequence;
mod tensors;
mod verify;

pub use self::apart::{Apart, Comparing, Disagreement, Farthest};
pub use self::error::{ReferenceError, VerifyError};
pub use self::ours::{Ours, load};
pub use self::reference::{Options, Reference};
pub use self::verify::{Question, Verified, verify};

/// The release of candle that is compared with, as the root manifest pins it.
pub const RELEASE: &str = "0.11.1";
