//! The `weir` command: the two YAML kinds on a laptop.

mod args;
mod ask;
mod bundles;
mod checked;
mod container;
mod demo;
mod embedded;
mod fleet;
mod laptop;
mod manifests;
mod model;
mod replica;
mod rollout;
mod running;
mod secrets;
#[cfg(test)]
mod unimplemented;
mod up;
mod worker;

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    // Fails only if one is installed already, and then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Cli::parse().command {
        Command::Up(args) => up::main(args),
        Command::Demo(args) => demo::main(args),
        Command::Model(command) => model::main(&command),
        Command::Rollout(command) => rollout::main(command),
        Command::Worker(args) => worker::main(*args),
    }
}

/// Tells the user one thing on standard output. Whoever closed it does not want to know.
fn say(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

/// Asks the user for a line.
fn prompt(text: &str) {
    let mut stdout = stdout();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}
