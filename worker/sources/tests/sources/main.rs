//! Sources against servers on loopback: what is asked of them, what they do to us, and what comes of it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, and says so"
)]

mod cache;
mod cuts;
mod hub;
mod images;
mod lies;
mod page;
mod processes;
mod programs;
mod real;
mod refusals;
mod secrets;
mod server;
mod stage;
mod stores;
mod tls;
