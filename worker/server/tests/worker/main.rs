//! The worker's binary on the model of `examples/triage`, over real sockets.

mod chat;
mod drain;
mod errors;
mod grpc;
mod harness;
mod heldout;
mod load;
mod overload;
mod start_failures;
