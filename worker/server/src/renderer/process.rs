//! The process that renders, seen from the worker.

use std::{
    ffi::OsString,
    fmt, io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use weir_engine::model::{Begin, Conversation, MOST_BYTES, MOST_TIME, Said, TemplateError};

/// The argument that makes this program the one that renders.
const ARGUMENT: &str = "--render-apart";

/// How long one line may take by the clock, on a machine that is busy with everything else: the
/// process may have a fraction of that in processor time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is read of the last words.
const LAST_WORDS: u64 = 4096;

/// The kernel's own number for a process that took too much time, on all processors we build for.
const SIGXCPU: i32 = 24;

pub(super) enum StartError {
    /// The template is, and why.
    Unfit(String),
    Process(io::Error),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Process(error)
    }
}

/// How a process ended.
#[derive(Debug)]
pub(super) enum Death {
    Memory,
    Stack,
    Time,
    /// It neither ended nor said anything.
    Silence,
    Other(String),
}

impl Death {
    /// Whether it may have come before the conversation, or of what was rendered before it.
    pub(super) fn may_be_old(&self) -> bool {
        matches!(self, Self::Memory | Self::Other(_))
    }

    fn of(status: io::Result<ExitStatus>, last_words: &str) -> Self {
        // What the standard library says at the end tells memory from stack.
        if last_words.contains("memory allocation of") {
            return Self::Memory;
        }
        if last_words.contains("overflowed its stack") {
            return Self::Stack;
        }
        match status {
            Ok(status) if status.signal() == Some(SIGXCPU) => Self::Time,
            Ok(status) => Self::Other(status.to_string()),
            Err(error) => Self::Other(error.to_string()),
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => write!(
                formatter,
                "takes more than {} MiB of memory",
                MOST_BYTES >> 20
            ),
            Self::Stack => formatter.write_str("nests or calls itself too deep"),
            Self::Time => write!(
                formatter,
                "does not end within some {} s of processor time",
                MOST_TIME.as_secs()
            ),
            Self::Silence => write!(formatter, "does not end within {} s", PATIENCE.as_secs()),
            Self::Other(how) => write!(formatter, "breaks the process that renders it ({how})"),
        }
    }
}

/// A process that renders; gone when dropped.
#[derive(Debug)]
pub(super) struct Rendering {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Rendering {
    pub(super) async fn start(begin: &Begin) -> Result<Self, StartError> {
        let mut rendering = Self::spawn()?;
        let mut trying = None;
        let mut said = rendering.exchange(begin).await;
        loop {
            match said {
                Ok(Said::Trying(what)) => trying = Some(what),
                Ok(Said::Unfit(why)) => return Err(StartError::Unfit(why)),
                Ok(Said::Ready) => return Ok(rendering),
                Ok(said) => return Err(out_of_turn(&said).into()),
                Err(death) => {
                    return Err(match trying {
                        Some(what) => StartError::Unfit(format!("{what} {death}")),
                        None => io::Error::other(death.to_string()).into(),
                    });
                }
            }
            said = rendering.next().await;
        }
    }

    fn spawn() -> io::Result<Self> {
        let mut child = Command::new(this_program()?)
            .args(std::env::args_os().skip(1))
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What ends the worker from a terminal leaves it time to finish its answers, with this.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let no_pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        Ok(Self {
            input: input.ok_or_else(no_pipe)?,
            output: BufReader::new(output.ok_or_else(no_pipe)?),
            child,
        })
    }

    /// What a conversation became, or how the process ended over it.
    pub(super) async fn ask(
        &mut self,
        conversation: &Conversation,
    ) -> Result<Result<String, TemplateError>, Death> {
        match self.exchange(conversation).await? {
            Said::Rendered(text) => Ok(Ok(text)),
            Said::NotRendered(error) => Ok(Err(error)),
            said => Err(Death::Other(out_of_turn(&said).to_string())),
        }
    }

    /// The answer to a line.
    async fn exchange(&mut self, line: &impl Serialize) -> Result<Said, Death> {
        let written = timeout(PATIENCE, self.write(line)).await;
        if written.is_err() {
            return Err(Death::Silence);
        }
        // Where writing failed, the end is what there is to read.
        self.next().await
    }

    async fn write(&mut self, what: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.input.write_all(&line).await?;
        self.input.flush().await
    }

    /// The next line, or how the process ended.
    async fn next(&mut self) -> Result<Said, Death> {
        let mut line = Vec::new();
        let read = timeout(PATIENCE, self.output.read_until(b'\n', &mut line));
        let Ok(read) = read.await else {
            return Err(Death::Silence);
        };
        match read.map(|_| serde_json::from_slice(&line)) {
            Ok(Ok(said)) => Ok(said),
            // Half a line, or none.
            Ok(Err(_)) | Err(_) => Err(self.end().await),
        }
    }

    /// Ends it, if it has not ended by itself, and says how it did.
    async fn end(&mut self) -> Death {
        // Too late for one that has ended.
        let _ = self.child.start_kill();
        let mut said = Vec::new();
        if let Some(errors) = &mut self.child.stderr {
            let _ = errors.take(LAST_WORDS).read_to_end(&mut said).await;
        }
        let status = self.child.wait().await;
        Death::of(status, &String::from_utf8_lossy(&said))
    }
}

/// The program that runs, also where another one has got its name since.
fn this_program() -> io::Result<OsString> {
    let running = Path::new("/proc/self/exe");
    match running.exists() {
        true => Ok(running.into()),
        false => std::env::current_exe().map(OsString::from),
    }
}

fn out_of_turn(said: &Said) -> io::Error {
    io::Error::other(format!("it said {said:.100?}"))
}
