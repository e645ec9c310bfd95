//! The worker's binary.

use std::process::ExitCode;

use clap::Parser;
use weir_worker::Args;

fn main() -> ExitCode {
    weir_worker::run(Args::parse())
}
