//! The stand-in frontier as a program of its own.

use std::process::ExitCode;

use clap::Parser;
use weir_stand_in::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    weir_process::run("weir-stand-in", &args.process.clone(), |process| {
        weir_stand_in::run(args, process)
    })
}
