//! What a client sees of a router, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod alone;
mod answers;
mod cache;
mod circuits;
mod clients;
mod completions;
mod connections;
mod decisions;
mod dialects;
mod ending;
mod engines;
mod failures;
mod hold;
mod idempotency;
mod inputs;
mod leaving;
mod limits;
mod log;
mod money;
mod paid;
mod privacy;
#[path = "../../../worker/sources/tests/sources/programs.rs"]
mod programs;
mod proxy;
mod records;
mod redaction;
mod refusals;
mod resume;
mod revisions;
mod rig;
mod routes;
mod secrets;
mod silence;
mod spare;
mod sticky;
mod stores;
mod tiers;
mod tls;
mod unsupported;
mod unsure;
mod upstreams;
mod wires;
mod worker;
