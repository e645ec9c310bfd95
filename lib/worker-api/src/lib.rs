//! The contract between a router and a worker: `proto/weir/worker/v1/worker.proto`, as Rust.
//!
//! The code in [`v1`] is generated and committed, and a test proves it fresh, so that nobody needs
//! a generator to build. Everything of it is re-exported here. By hand there is only what the
//! generator cannot know: how an [`ErrorDetail`] travels in a gRPC status, and how many parts a request
//! may have.

mod bounded;
mod status;

/// The package `weir.worker.v1` as generated from its proto.
#[allow(
    clippy::allow_attributes_without_reason,
    clippy::doc_lazy_continuation,
    clippy::missing_errors_doc,
    unused_qualifications,
    reason = "generated code, written by prost and tonic in their own style"
)]
pub mod v1 {
    include!("generated/weir.worker.v1.rs");
}

pub use status::{detail_of, status_with};
pub use v1::*;

/// The longest message either side should accept: a prompt of a million tokens as ids, and room.
pub const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;

/// The longest request that a worker takes: the longest body that a router takes unless it is told
/// otherwise, and room. Two million tokens as ids are shorter.
pub const MAX_REQUEST_BYTES: usize = 12 * 1024 * 1024;
