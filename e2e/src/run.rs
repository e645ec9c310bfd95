//! Short commands, run to their end.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What a command that ended had to say.
#[derive(Debug, Clone)]
pub struct Said {
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command with something on its standard input, and takes any end of it.
///
/// # Errors
/// When it cannot be started.
pub fn said(command: &mut Command, input: &str) -> Result<Said> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", line(command)))?;
    let mut stdin = child.stdin.take().context("opening a standard input")?;
    let finished = std::thread::scope(|scope| {
        // A program that ends without reading its input closes the pipe: its exit status says why.
        scope.spawn(move || stdin.write_all(input.as_bytes()).ok());
        child.wait_with_output()
    })
    .with_context(|| format!("waiting for {}", line(command)))?;
    Ok(Said {
        ok: finished.status.success(),
        stdout: String::from_utf8_lossy(&finished.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&finished.stderr).into_owned(),
    })
}

/// Runs a command and returns its standard output.
///
/// # Errors
/// When it cannot be started or fails; then with what it said on standard error.
pub fn output(command: &mut Command) -> Result<String> {
    output_of(command, "")
}

/// As [`output`], with something on the command's standard input.
///
/// # Errors
/// As [`output`].
pub fn output_of(command: &mut Command, input: &str) -> Result<String> {
    let said = said(command, input)?;
    if !said.ok {
        bail!(
            "`{}` failed: {}{}",
            line(command),
            said.stderr.trim(),
            said.stdout.trim()
        );
    }
    Ok(said.stdout)
}

/// Runs a command for what it does.
///
/// # Errors
/// As [`output`].
pub fn succeed(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// A command written on one line, words apart by blanks: `tool(&"ip link del x")`.
pub fn tool(words: &str) -> Command {
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
