//! Tries templates in a process of their own, as a worker does: this test program again.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use weir_model::{TemplateSource, TrialError};

use crate::settings::{TRIAL, setting};

/// How a trial ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// By the trial, which came to its end.
    Refused,
    /// The process had no more memory.
    Memory,
    /// The process had no more stack.
    Stack,
    /// The process had no more time.
    Time,
}

/// Not a test of its own: where the variable is set, this is the process that tries.
#[test]
fn the_process_that_tries() {
    if let Some(path) = setting(TRIAL) {
        let mut say = |what: &str| println!("tries {what}");
        let source = TemplateSource::read(Path::new(&path), None);
        let Ok(Some(source)) = source else { return };
        match source.tried(&mut say) {
            // Loading says the same.
            Ok(_) | Err(TrialError::Source(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Tries the template at a path; also what was said of it last.
pub fn tried(path: &Path) -> (Outcome, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["trial::the_process_that_tries", "--exact", "--nocapture"])
        .env(TRIAL, path)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("tries "));
    let last = last.unwrap_or_default().to_owned();
    (outcome(&output, &last), last)
}

fn outcome(output: &Output, last: &str) -> Outcome {
    let died = String::from_utf8_lossy(&output.stderr);
    let signal = output
        .status
        .signal()
        .and_then(|signal| Signal::try_from(signal).ok());
    match signal {
        None if output.status.success() => Outcome::Accepted,
        None if died.contains("Refused {") || died.contains("Useless {") => Outcome::Refused,
        Some(Signal::SIGABRT) if died.contains("memory allocation of") => Outcome::Memory,
        Some(Signal::SIGABRT) if died.contains("overflowed its stack") => Outcome::Stack,
        Some(Signal::SIGXCPU | Signal::SIGKILL) => Outcome::Time,
        _ => panic!("{} at {last}: {died}", output.status),
    }
}
