//! The worker's binary on the model of `examples/triage`, over real sockets.
#![allow(clippy::unwrap_used, reason = "in a test the panic is the report")]

mod adapters;
mod bad_input;
mod bodies;
mod bucket;
mod chat;
mod completions;
mod drain;
mod embeddings;
mod errors;
mod fetching;
mod forms;
mod gathered;
mod gguf;
mod grpc;
mod harness;
mod heldout;
mod load;
mod lost;
mod mutations;
mod overload;
mod packed_cache;
mod readers;
mod registry;
mod rendering;
mod sampling;
mod sdk;
#[path = "../../../model/tests/gguf/settings.rs"]
#[allow(dead_code, reason = "the model's tests read more of them")]
mod settings;
mod sixty_four;
mod start_failures;
mod starting;
mod tokens;
mod tool_templates;
mod tools;
mod traces;
#[path = "../../../model/tests/gguf/vocabularies.rs"]
mod vocabularies;
