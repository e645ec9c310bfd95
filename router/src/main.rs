//! The router's process.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = weir_router::Args::parse();
    // Fails only if one is installed already, and then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    weir_process::run("weir-router", &args.process.clone(), |process| {
        weir_router::run(args, process)
    })
}
