//! Programs that run beside the tests, and their end.
//!
//! Every program has a pid file and a log in the folder it was started for, and names
//! that folder in its arguments: whoever finds the folder later can tell whether a pid
//! still means the same program. Only such programs are ever ended.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::run::{output, tool};

/// How long a program may take to end of its own accord.
const PATIENCE: Duration = Duration::from_secs(10);

/// A program that was started and not yet ended.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program in a process group of its own, so that Ctrl-C reaches only us.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(folder: &Path, name: &str, command: &mut Command) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("opening {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("opening a log twice")?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        fs::write(folder.join(format!("{name}.pid")), child.id().to_string())
            .with_context(|| format!("noting the process of {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// The process, as long as every program that started it became the next.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with the end of the log, when the program has ended by itself.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait().context("looking after a program")? {
            None => Ok(()),
            Some(status) => {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                bail!(
                    "{} ended with {status}:\n{}",
                    self.name,
                    last_lines(&log, 20)
                )
            }
        }
    }

    /// Ends the program: asks first, insists after [`PATIENCE`].
    pub(crate) fn stop(&mut self) {
        signal(self.child.id(), Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        self.kill();
    }

    /// Ends the program at once.
    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Ends every program that was started for a folder, at once: nobody will miss its data.
pub(crate) fn end_left_overs(folder: &Path) {
    let pids = left_overs(folder);
    for pid in &pids {
        signal(*pid, Signal::SIGKILL);
    }
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && pids.iter().any(|pid| belongs(*pid, folder)) {
        sleep(Duration::from_millis(20));
    }
}

fn left_overs(folder: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pid"))
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok())
        .filter(|pid| belongs(*pid, folder))
        .collect()
}

/// Whether a process runs, is no zombie, and names the folder in its arguments.
fn belongs(pid: u32, folder: &Path) -> bool {
    let folder = folder.to_string_lossy();
    if cfg!(target_os = "linux") {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        return String::from_utf8_lossy(&line).contains(&*folder);
    }
    output(&mut tool(&format!("ps -o args= -p {pid}"))).is_ok_and(|args| args.contains(&*folder))
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        // It may have ended meanwhile, which is what we want of it.
        kill(Pid::from_raw(pid), signal).ok();
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
