//! Faults, one at a time, while clients go on asking: nothing is lost, repeated or over-spent.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod apart;
mod api_server;
mod clock;
mod crash;
mod drained;
mod frontier;
mod gone;
mod judging;
mod killed;
mod leader;
mod length;
mod program;
mod question;
mod replica;
mod silent;
mod slices;
mod stage;
mod traffic;
