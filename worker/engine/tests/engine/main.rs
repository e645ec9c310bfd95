//! The engine with the model of `examples/triage`: what it writes, what it refuses, what it frees.

mod choose;
mod harness;
mod queue;
mod resume;
mod write;
