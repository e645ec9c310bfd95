//! The worker's binary on the model of `examples/triage`, over real sockets.
#![allow(clippy::unwrap_used, reason = "in a test the panic is the report")]

mod adapters;
mod bad_input;
mod bucket;
mod chat;
mod completions;
mod drain;
mod embeddings;
mod errors;
mod fetching;
mod forms;
mod gguf;
mod grpc;
mod harness;
mod heldout;
mod load;
mod lost;
mod mutations;
mod overload;
mod packed_cache;
mod registry;
mod rendering;
mod sampling;
mod sdk;
mod start_failures;
mod tokens;
mod tools;
mod traces;
