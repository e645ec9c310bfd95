//! What a client sees of a router, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod answers;
mod clients;
mod decisions;
mod ending;
mod failures;
#[path = "../../../worker/sources/tests/sources/programs.rs"]
mod programs;
mod records;
mod refusals;
mod rig;
mod routes;
mod secrets;
mod silence;
mod stores;
mod worker;
