//! Models from anywhere: from an address to files on this machine.
//!
//! [`fetch`] takes a parsed [`Source`] and [`Options`] and gives the path of a folder or a GGUF file,
//! with what the address resolved to. It tells its [`Progress`] through a watch channel; dropping it
//! stops it, and what has come so far is gone on with the next time.
//!
//! * What is downloaded lies in a cache that processes of a node share: each entry is downloaded by one
//!   of them, is named when it is complete, and never changes after that.
//! * Every file has the length that was promised, and the SHA-256 where the source gives one.
//! * What may pass is waited out within [`Patience`]; what cannot is a [`SourceError`] with a reason.
//! * No credential is in an error, a log line or the cache.

mod archive;
mod cache;
mod choose;
mod credentials;
mod digest;
mod download;
mod error;
mod fetch;
mod name;
mod options;
mod patience;
mod plan;
mod progress;
mod remote;
mod sink;
mod space;
mod web;

pub use cache::FetchedFile;
pub use digest::{Digest, NotADigest};
pub use error::SourceError;
pub use fetch::{Fetched, Origin, fetch};
pub use options::Options;
pub use patience::Patience;
pub use progress::{Phase, Progress};
pub use remote::shown_text;
pub use weir_crds::Source;
pub use weir_policy::source::Roots;
