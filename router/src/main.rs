//! The router's process.

use std::process::ExitCode;

use clap::Parser;

/// An ask makes some hundreds of small allocations, which the C library's takes twice as long for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = weir_router::Args::parse();
    // Fails only if one is installed already, and then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    weir_process::run("weir-router", &args.process.clone(), |process| {
        weir_router::run(args, process)
    })
}
