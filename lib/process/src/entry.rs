//! From `main` to a running process and back to an exit code.

use std::future::Future;
use std::io::{Write, stderr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::ProcessArgs;
use crate::logs;
use crate::process::Process;
use crate::shutdown::Shutdown;

/// What a shell reports for a program that an interrupt ended.
const INTERRUPTED: u8 = 130;

/// Runs a binary: starts a runtime and a [`Process`], gives it to `body`, ends with its result.
///
/// `body` sets up its tasks and ends in [`Process::finish`]. SIGTERM or SIGINT begins the end; a
/// second one, or delay and deadline passed without effect, ends the process at once. An error is
/// one line on standard error and exit code 1.
pub fn run<F>(name: &'static str, args: &ProcessArgs, body: impl FnOnce(Process) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return exit_code(name, Err(error).context("start the runtime")),
    };
    // Twice the closing time of `finish`, and a little.
    let limit = args.shutdown_delay + args.shutdown_deadline + Duration::from_secs(10);
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new().context("listen for signals")?;
        let process = Process::start(name, args)?;
        let shutdown = process.shutdown().clone();
        tokio::select! {
            result = body(process) => result.map(|()| Ended::Itself),
            () = signals.twice(shutdown, limit) => Ok(Ended::AtOnce),
        }
    });
    // Waits for no blocking thread: what had to be finished was finished by `finish`.
    runtime.shutdown_background();
    logs::flush();
    match outcome {
        Ok(Ended::Itself) => ExitCode::SUCCESS,
        Ok(Ended::AtOnce) => ExitCode::from(INTERRUPTED),
        Err(error) => exit_code(name, Err(error)),
    }
}

/// Success, or the chain of causes as one line on standard error and exit code 1.
pub fn exit_code(name: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logs::flush();
            // With standard error gone there is nobody left to tell.
            let _ = writeln!(stderr(), "{name}: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

enum Ended {
    Itself,
    AtOnce,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Begins the end at the first signal; returns at the second, or when `limit` has passed.
    async fn twice(&mut self, shutdown: Shutdown, limit: Duration) {
        let first = self.next().await;
        shutdown.begin(first);
        tokio::select! {
            second = self.next() => tracing::warn!(signal = second, "ending at once"),
            () = tokio::time::sleep(limit) => tracing::warn!("the end took too long, ending at once"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn an_error_is_one_line_whatever_its_causes_say() {
        let error = anyhow!("line one\n  line two").context("load the model");
        assert_eq!(one_line(&error), "load the model: line one line two");
    }
}
