//! The worker's binary on the model of `examples/triage`, over real sockets.
#![allow(clippy::unwrap_used, reason = "in a test the panic is the report")]

mod adapters;
mod chat;
mod drain;
mod errors;
mod fetching;
mod forms;
mod gguf;
mod grpc;
mod harness;
mod heldout;
mod load;
mod lost;
mod overload;
mod packed_cache;
mod registry;
mod start_failures;
mod tools;
