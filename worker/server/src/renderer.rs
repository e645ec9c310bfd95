//! Renders conversations in a process beside the worker's own, by the model's chat template.
//!
//! A template is a program of somebody else's: what it takes too much of, it takes from a process that
//! nobody needs, and its conversation is refused. The process is this very program with its own
//! arguments and one more. It tries the template before anything is loaded, and a template that it
//! dies of, or does not accept, is refused then.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;
use thiserror::Error;
use weir_engine::model::{
    Conversation, MOST_BYTES, MOST_TIME, Said, TemplateError, TemplateSource, render_apart,
};

use crate::failure::Failure;

/// The argument that makes this program the one that renders.
const ARGUMENT: &str = "--render-apart";

/// There is no text.
#[derive(Debug, Error)]
pub enum RenderError {
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The process died of the conversation, and how.
    #[error("the chat template {0}")]
    Died(String),
    #[error("talk to the process that renders")]
    Process(#[source] io::Error),
}

/// A chat template, ready for conversations.
#[derive(Debug)]
pub struct Renderer {
    source: TemplateSource,
    /// None after one has died, until the next conversation.
    process: Mutex<Option<Rendering>>,
}

/// In the process that renders.
pub(crate) fn main() -> ExitCode {
    match render_apart(BufReader::new(io::stdin()), io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failure = Failure::new("CrashLoop", &error);
            // With standard error gone there is nobody left to tell.
            let _ = writeln!(io::stderr(), "{failure}");
            ExitCode::FAILURE
        }
    }
}

impl Renderer {
    /// Tries the template of a model, or the one in the file `own` in its place; none where there is
    /// none.
    ///
    /// # Errors
    /// Where it cannot be read or is not to be used.
    pub fn of(model: &Path, own: Option<&Path>) -> Result<Option<Self>, Failure> {
        let source = TemplateSource::read(model, own);
        let source = source.map_err(|error| Failure::new(error.reason(), &error))?;
        source.map(Self::start).transpose()
    }

    fn start(source: TemplateSource) -> Result<Self, Failure> {
        let process = Rendering::start(&source).map_err(|error| match error {
            StartError::Unfit(why) => Failure::of("Unsupported", &why),
            StartError::Process(error) => Failure::new("CrashLoop", &RenderError::Process(error)),
        })?;
        Ok(Self {
            source,
            process: Mutex::new(Some(process)),
        })
    }

    /// What is written in the template, as far as anybody outside needs to know.
    pub fn source(&self) -> &TemplateSource {
        &self.source
    }

    /// The text to be encoded without more special tokens. One conversation is rendered at a time.
    pub fn render(&self, conversation: &Conversation) -> Result<String, RenderError> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = process.take();
        let was_idle = idle.is_some();
        let mut rendering = match idle {
            Some(rendering) => rendering,
            None => self.start_again()?,
        };
        let mut answer = rendering.ask(conversation);
        if answer.is_err() && was_idle {
            // It may have been gone before, or full of what it rendered before.
            rendering = self.start_again()?;
            answer = rendering.ask(conversation);
        }
        match answer {
            Ok(answer) => {
                *process = Some(rendering);
                answer.map_err(RenderError::Template)
            }
            Err(how) => {
                tracing::warn!(how, "a conversation ended the process that renders");
                Err(RenderError::Died(how))
            }
        }
    }

    fn start_again(&self) -> Result<Rendering, RenderError> {
        Rendering::start(&self.source).map_err(|error| match error {
            StartError::Unfit(how) => RenderError::Process(io::Error::other(how)),
            StartError::Process(error) => RenderError::Process(error),
        })
    }
}

enum StartError {
    /// The template is, and why.
    Unfit(String),
    Process(io::Error),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Process(error)
    }
}

/// A process that renders; gone when dropped.
#[derive(Debug)]
struct Rendering {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Rendering {
    fn start(source: &TemplateSource) -> Result<Self, StartError> {
        let mut rendering = Self::spawn()?;
        let written = rendering.write(source);
        let mut trying = None;
        loop {
            match rendering.read() {
                Some(Said::Trying(what)) => trying = Some(what),
                Some(Said::Unfit(why)) => return Err(StartError::Unfit(why)),
                Some(Said::Ready) => return Ok(rendering),
                Some(said) => return Err(out_of_turn(&said).into()),
                None => break,
            }
        }
        let how = rendering.end();
        match trying {
            Some(what) => Err(StartError::Unfit(format!("{what} {how}"))),
            None => Err(written.err().unwrap_or(io::Error::other(how)).into()),
        }
    }

    fn spawn() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What ends the worker from a terminal leaves it time to finish its answers, with this.
            .process_group(0)
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
    fn ask(
        &mut self,
        conversation: &Conversation,
    ) -> Result<Result<String, TemplateError>, String> {
        // Where this fails there is nothing to read either.
        let _ = self.write(conversation);
        match self.read() {
            Some(Said::Rendered(text)) => Ok(Ok(text)),
            Some(Said::NotRendered(error)) => Ok(Err(error)),
            Some(said) => Err(out_of_turn(&said).to_string()),
            None => Err(self.end()),
        }
    }

    fn write(&mut self, what: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.input.write_all(&line)?;
        self.input.flush()
    }

    /// The next line, unless the process ended or there is no sense in it.
    fn read(&mut self) -> Option<Said> {
        let mut line = Vec::new();
        self.output.read_until(b'\n', &mut line).ok()?;
        serde_json::from_slice(&line).ok()
    }

    /// Ends it, if it has not ended by itself, and says how it did. What the standard library says at
    /// the end tells memory from stack; the rest is the signal.
    fn end(&mut self) -> String {
        // Too late for one that has ended.
        let _ = self.child.kill();
        let mut said = String::new();
        if let Some(errors) = &mut self.child.stderr {
            let _ = errors.take(4096).read_to_string(&mut said);
        }
        if said.contains("memory allocation of") {
            return format!("takes more than {} MiB of memory", MOST_BYTES >> 20);
        }
        if said.contains("overflowed its stack") {
            return "nests or calls itself too deep".to_owned();
        }
        match self.child.wait() {
            Ok(status) if took_too_long(status) => {
                let most = MOST_TIME.as_secs();
                format!("does not end within {most} s of processor time")
            }
            Ok(status) => format!("breaks the process that renders it ({status})"),
            Err(error) => format!("breaks the process that renders it: {error}"),
        }
    }
}

impl Drop for Rendering {
    fn drop(&mut self) {
        // Either may say that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn took_too_long(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    // The kernel's own number for it is the same on all processors we build for.
    const SIGXCPU: i32 = 24;
    status.signal() == Some(SIGXCPU)
}

fn out_of_turn(said: &Said) -> io::Error {
    io::Error::other(format!("it said {said:.100?}"))
}
