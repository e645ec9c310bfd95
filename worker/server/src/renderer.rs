//! Renders conversations in a process beside the worker's own, by the model's chat template.
//!
//! A template is a program of somebody else's: what it takes too much of, it takes from a process that
//! nobody needs, and its conversation is refused. The process is this very program with its own
//! arguments and one more. It tries the template before anything is loaded, and a template that it
//! dies of, or does not accept, is refused then.

mod process;
mod turns;

use std::{
    io::{self, BufReader, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use thiserror::Error;
use tokio::{sync::Semaphore, task::spawn_blocking};
use weir_engine::model::{Begin, Conversation, TemplateError, TemplateSource, render_apart};

use self::{
    process::{Death, Rendering, StartError},
    turns::{TooLate, Turns},
};
use crate::failure::Failure;

/// There is no text.
#[derive(Debug, Error)]
pub enum RenderError {
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The process died of the conversation, and how.
    #[error("the chat template {0}")]
    Died(String),
    /// Others are rendered first, and that takes too long.
    #[error("too many conversations are to be rendered")]
    Busy,
    #[error("talk to the process that renders")]
    Process(#[source] io::Error),
}

/// A chat template, ready for conversations.
#[derive(Debug)]
pub struct Renderer {
    source: TemplateSource,
    /// None after one has died, until the next conversation.
    process: Turns<Option<Rendering>>,
    /// In kilobytes of conversations that are rendered or wait for their turn.
    places: Semaphore,
}

/// Kilobytes of conversations at once, all but one of which wait. What is made of them in memory is a
/// few times as much.
const MOST: u32 = 32 << 10;

/// How long one waits for its turn. An honest template takes less than a millisecond for each of those
/// before it.
const LONGEST_TURN: Duration = Duration::from_secs(5);

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
    pub async fn of(model: &Path, own: Option<&Path>) -> Result<Option<Self>, Failure> {
        let (model, own) = (model.to_owned(), own.map(Path::to_owned));
        let reading = spawn_blocking(move || TemplateSource::read(&model, own.as_deref()));
        let source = reading
            .await
            .map_err(|error| Failure::new("CrashLoop", &error))?;
        let source = source.map_err(|error| Failure::new(error.reason(), &error))?;
        let Some(source) = source else {
            return Ok(None);
        };
        let begin = Begin {
            source,
            is_tried: false,
        };
        let process = Rendering::start(&begin).await;
        let process = process.map_err(|error| match error {
            StartError::Unfit(why) => Failure::of("Unsupported", &why),
            StartError::Process(error) => Failure::new("CrashLoop", &RenderError::Process(error)),
        })?;
        Ok(Some(Self {
            source: begin.source,
            process: Turns::new(Some(process), LONGEST_TURN),
            places: Semaphore::new(MOST as usize),
        }))
    }

    /// What is written in the template, as far as anybody outside needs to know.
    pub fn source(&self) -> &TemplateSource {
        &self.source
    }

    /// The text of a conversation of so many bytes, to be encoded without more special tokens. One conversation is rendered at a time,
    /// which takes a fraction of a millisecond where the template is an honest one.
    ///
    /// # Errors
    /// Where the template refuses the conversation, fails over it, or takes too much.
    pub async fn render(
        &self,
        conversation: &Conversation,
        bytes: usize,
    ) -> Result<String, RenderError> {
        let kilobytes = u32::try_from(bytes >> 10).unwrap_or(MOST).saturating_add(1);
        let place = self.places.try_acquire_many(kilobytes.min(MOST));
        let _place = place.map_err(|_| RenderError::Busy)?;
        let turn = self.process.next().await;
        let mut process = turn.map_err(|TooLate| RenderError::Busy)?;
        let idle = process.take();
        let is_fresh = idle.is_none();
        let mut rendering = match idle {
            Some(rendering) => rendering,
            None => self.start_again().await?,
        };
        let mut answer = rendering.ask(conversation).await;
        if !is_fresh && answer.as_ref().is_err_and(Death::may_be_old) {
            rendering = self.start_again().await?;
            answer = rendering.ask(conversation).await;
        }
        match answer {
            Ok(answer) => {
                *process = Some(rendering);
                answer.map_err(RenderError::Template)
            }
            Err(death) => {
                let how = death.to_string();
                tracing::warn!(how, "a conversation ended the process that renders");
                Err(RenderError::Died(how))
            }
        }
    }

    async fn start_again(&self) -> Result<Rendering, RenderError> {
        let begin = Begin {
            source: self.source.clone(),
            is_tried: true,
        };
        let started = Rendering::start(&begin).await;
        started.map_err(|error| match error {
            StartError::Unfit(how) => RenderError::Process(io::Error::other(how)),
            StartError::Process(error) => RenderError::Process(error),
        })
    }
}
