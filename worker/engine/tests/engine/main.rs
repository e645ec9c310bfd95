//! The engine with the model of `examples/triage`: what it writes, what it refuses, what it frees.
#![allow(clippy::unwrap_used, reason = "in a test the panic is the report")]

mod cache;
mod choose;
mod forms;
mod harness;
mod queue;
mod resume;
mod windows;
mod write;
