//! Renders in a process of its own, which a template may take along: whoever started it begins
//! another one, and has lost nothing but that conversation.
//!
//! Both sides write a line of JSON at a time. First comes what to [`Begin`] with; what goes back are
//! the things that are tried, each before it is, and that all is well. Then one conversation comes at
//! a time, and what it became goes back.

use std::io::{self, BufRead, Write};
use std::thread;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{ChatTemplate, Conversation, TemplateError, TemplateSource, TrialError, limits};

const STACK_BYTES: usize = 2 << 20;

/// The first line to the process that renders.
#[derive(Debug, Serialize, Deserialize)]
pub struct Begin {
    pub source: TemplateSource,
    /// By an earlier process, and it was well.
    pub is_tried: bool,
}

/// One line of the process that renders.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said {
    /// Is tried next. Where nothing follows, the process died of it.
    Trying(String),
    /// The template is not to be used, and why: nothing follows.
    Unfit(String),
    /// Conversations may come.
    Ready,
    Rendered(String),
    NotRendered(TemplateError),
}

/// The process cannot go on.
#[derive(Debug, Error)]
pub enum ApartError {
    #[error("read what is to be rendered")]
    Read(#[source] io::Error),
    #[error("write what was rendered")]
    Write(#[source] io::Error),
    #[error("limit the time of a rendering")]
    Limits(#[source] nix::Error),
    #[error("start the thread that renders")]
    Thread(#[source] io::Error),
    #[error("rendering panicked")]
    Panicked,
}

/// Limits this process for good, and then renders what comes until nothing more does.
///
/// # Errors
/// Where the other side is gone in the middle of a line, or this process cannot be limited.
pub fn render_apart(
    mut input: impl BufRead + Send,
    output: impl Write + Send,
) -> Result<(), ApartError> {
    let mut output = Lines(output);
    let Some(begin) = read::<Begin>(&mut input)? else {
        return Ok(());
    };
    // What panicked is told in its place. Nobody reads standard error before the end, and it would
    // be full one day.
    std::panic::set_hook(Box::new(|_| {}));
    let mut trying = |what: &str| {
        // With the other side gone there is nobody left to tell.
        let _ = output.say(&Said::Trying(what.to_owned()));
    };
    let template = match begin.source.made(begin.is_tried, &mut trying) {
        Ok(template) => template,
        Err(error) => return output.say(&Said::Unfit(told(&error))),
    };
    let thread = thread::Builder::new().stack_size(STACK_BYTES);
    thread::scope(|scope| {
        let all = thread.spawn_scoped(scope, || render_all(&template, &mut input, &mut output));
        let all = all.map_err(ApartError::Thread)?;
        all.join().unwrap_or(Err(ApartError::Panicked))
    })
}

fn render_all(
    template: &ChatTemplate,
    input: &mut impl BufRead,
    output: &mut Lines<impl Write>,
) -> Result<(), ApartError> {
    output.say(&Said::Ready)?;
    loop {
        limits::limit_time().map_err(ApartError::Limits)?;
        let rendered = match read::<Conversation>(input) {
            Ok(Some(conversation)) => template.render_whatever_comes(&conversation),
            Ok(None) => return Ok(()),
            // JSON within JSON may be nested deeper than either alone.
            Err(ApartError::Read(error)) if error.kind() == io::ErrorKind::InvalidData => {
                let why = error.to_string();
                Err(TemplateError::Failed { why })
            }
            Err(error) => return Err(error),
        };
        output.say(&match rendered {
            Ok(text) => Said::Rendered(text),
            Err(error) => Said::NotRendered(error),
        })?;
    }
}

/// One line, unless there are no more.
fn read<T: for<'a> Deserialize<'a>>(input: &mut impl BufRead) -> Result<Option<T>, ApartError> {
    let mut line = Vec::new();
    match input.read_until(b'\n', &mut line) {
        Ok(0) => Ok(None),
        Ok(_) => serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| ApartError::Read(error.into())),
        Err(error) => Err(ApartError::Read(error)),
    }
}

struct Lines<W>(W);

impl<W: Write> Lines<W> {
    fn say(&mut self, said: &Said) -> Result<(), ApartError> {
        let line = serde_json::to_vec(said).map_err(io::Error::from);
        let written = line.and_then(|mut line| {
            line.push(b'\n');
            self.0.write_all(&line)?;
            self.0.flush()
        });
        written.map_err(ApartError::Write)
    }
}

/// With its causes.
fn told(error: &TrialError) -> String {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        told = format!("{told}: {source}");
        cause = source.source();
    }
    told
}
