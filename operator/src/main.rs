//! The operator's binary.

use std::process::ExitCode;

use clap::Parser;
use weir_operator::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    weir_process::run("weir-operator", &args.process.clone(), |process| {
        weir_operator::run(args, process)
    })
}
