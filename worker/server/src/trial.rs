//! Tries the model's chat template in a process of its own, before anything is loaded.
//!
//! The process is this very program with its own arguments and one more. It limits itself and says
//! what it tries; a template that it dies of, or that it does not accept, is refused here.

use std::{
    io::{Write, stdout},
    path::Path,
    process::{ExitCode, ExitStatus, Output, Stdio},
    time::Duration,
};

use tokio::{process::Command, time::timeout};
use weir_engine::model::{ChatTemplate, TRIAL_BYTES, TRIAL_TIME};

use crate::failure::Failure;

/// The argument that makes this program the one that tries.
const ARGUMENT: &str = "--try-template";

/// How long a trial may take by the clock, on a machine that is busy with everything else: its
/// processor time is limited to a fraction of that.
const PATIENCE: Duration = Duration::from_secs(60);

/// In the process that tries: says each thing before it is tried, and then what is wrong with it.
pub(crate) fn main(model: &Path, template: Option<&Path>) -> ExitCode {
    // With standard output gone there is nobody left to tell.
    let mut say = |what: &str| {
        let _ = writeln!(stdout(), "{what}");
    };
    match ChatTemplate::try_out(model, template, &mut say) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&Failure::new("", &error).message);
            ExitCode::FAILURE
        }
    }
}

/// Ends with a failure where the template of the model is not to be used.
pub(crate) async fn of(model: &Path) -> Result<(), Failure> {
    let refused = |error: std::io::Error| {
        let message = format!("try the chat template of {}: {error}", model.display());
        Failure::of("CrashLoop", &message)
    };
    let program = std::env::current_exe().map_err(refused)?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg(ARGUMENT)
        .arg(model)
        // A worker that `weir` started ends when this closes, which is when this process ends.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(refused)?;
    let _open = child.stdin.take();
    match timeout(PATIENCE, child.wait_with_output()).await {
        Ok(output) => judge(&output.map_err(refused)?),
        Err(late) => Err(refused(std::io::Error::other(late))),
    }
}

fn judge(output: &Output) -> Result<(), Failure> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let mut said = said.lines().rev();
    let mut last = || said.next().unwrap_or("the trial of the chat template");
    let message = if output.status.code().is_some() {
        let why = last();
        format!("{}: {why}", last())
    } else {
        let died = String::from_utf8_lossy(&output.stderr);
        format!("{} {}", last(), cause_of_death(output.status, &died))
    };
    Err(Failure::of("Unsupported", &message))
}

/// What the standard library says at the end tells memory from stack; the rest is the signal.
fn cause_of_death(status: ExitStatus, said: &str) -> String {
    if said.contains("memory allocation of") {
        return format!("takes more than {} MiB of memory", TRIAL_BYTES >> 20);
    }
    if said.contains("overflowed its stack") {
        return "nests or calls itself too deep".to_owned();
    }
    let limit = TRIAL_TIME.as_secs();
    format!("does not end within {limit} s of processor time, or breaks otherwise ({status})")
}
