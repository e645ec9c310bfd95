//! What every binary does around its work: arguments, logs, traces, metrics, the admin port,
//! owned tasks and an orderly end.
//!
//! A `main` reads like this:
//!
//! ```no_run
//! use clap::Parser;
//! use std::process::ExitCode;
//!
//! #[derive(Parser)]
//! #[command(version = weir_process::VERSION)]
//! struct Args {
//!     #[command(flatten)]
//!     process: weir_process::ProcessArgs,
//! }
//!
//! fn main() -> ExitCode {
//!     let args = Args::parse();
//!     weir_process::run("weir-example", &args.process.clone(), |process| serve(args, process))
//! }
//!
//! async fn serve(_args: Args, process: weir_process::Process) -> anyhow::Result<()> {
//!     let loaded = process.readiness().gate("model");
//!     let shutdown = process.shutdown().clone();
//!     process.tasks().spawn_required("work", async move {
//!         loaded.open();
//!         shutdown.draining().await;
//!         Ok(())
//!     });
//!     process.finish().await
//! }
//! ```
//!
//! Invariants:
//! - nothing is global but the tracing subscriber and the panic hook, which the first [`Process`]
//!   of the operating system's process installs; so several may run inside one (the CLI, tests);
//! - every task is owned: it is dropped, at the latest, with its [`Process`];
//! - a process ends in order: not ready, a pause, no new work, drained, closed.

mod admin;
mod args;
pub mod connections;
mod entry;
mod logs;
mod metrics;
mod process;
mod readiness;
mod shutdown;
mod tasks;
pub mod traces;
#[cfg(feature = "watches")]
pub mod watches;

pub use args::{LogFormat, ProcessArgs, parse_collector, parse_duration, parse_log_level};
pub use entry::{exit_code, run};
pub use metrics::Metrics;
pub use process::Process;
/// The metrics library, so that a component names the same version of it.
pub use prometheus_client;
pub use readiness::{Gate, Readiness};
pub use shutdown::Shutdown;
pub use tasks::Tasks;

/// The version of this build: every crate of the workspace has the same one.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit this was built from, where the build said so in `WEIR_COMMIT`.
pub const COMMIT: Option<&str> = option_env!("WEIR_COMMIT");
