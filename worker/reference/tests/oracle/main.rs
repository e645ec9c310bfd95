//! Our models and candle's own compute the same, but for what is written down here.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test the panic is the report, and what it prints is what it leaves behind"
)]

mod fixture;
mod folders;
mod gguf;
#[path = "../../../model/src/parity/seeded.rs"]
mod seeded;
mod verify;
mod written;
