//! Tries a template out before it is trusted with a conversation.
//!
//! In a process that has limited itself the template is compiled and renders conversations of every
//! kind that templates tell apart. Whoever started the process learns from how it ends what to think
//! of the template.

mod conversations;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use thiserror::Error;

use self::conversations::{Talk, talks};
use super::{ChatTemplate, Conversation, TemplateError, TemplateSource, limits};
use crate::LoadError;

/// Half of what the thread has that renders conversations, so that what fits here fits there.
const STACK_BYTES: usize = 1 << 20;

/// The template is not to be used, or could not be tried.
#[derive(Debug, Error)]
pub enum TrialError {
    #[error("limit the process that renders the chat template")]
    Limits(#[source] nix::Error),
    #[error("start the thread that tries the chat template")]
    Thread(#[source] io::Error),
    #[error("{0}")]
    Source(LoadError),
    #[error("{file}: {error}, over {talk}")]
    Refused {
        file: String,
        error: TemplateError,
        talk: String,
    },
    #[error("{file} renders no conversation: {why}")]
    Useless { file: String, why: String },
    #[error("trying the chat template panicked")]
    Panicked,
}

impl TemplateSource {
    /// Limits this process, and compiles and tries the templates in it. `say` is told what is tried
    /// before it is: the last of it is at fault where the process dies. Conversations that the
    /// template itself refuses are no concern of a trial.
    ///
    /// # Errors
    /// Where a template does not compile, does not end, or writes without end, fails over every
    /// conversation, or where there is no trial.
    pub fn tried(&self, say: &mut (dyn FnMut(&str) + Send)) -> Result<ChatTemplate, TrialError> {
        limits::limit_memory().map_err(TrialError::Limits)?;
        limits::limit_time().map_err(TrialError::Limits)?;
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        thread::scope(|scope| {
            let tried = thread.spawn_scoped(scope, || self.render_all(say));
            let tried = tried.map_err(TrialError::Thread)?;
            tried.join().unwrap_or(Err(TrialError::Panicked))
        })
    }

    fn render_all(&self, say: &mut dyn FnMut(&str)) -> Result<ChatTemplate, TrialError> {
        let subject = format!("the chat template of {}", self.file.display());
        say(&format!("{subject} while it is compiled"));
        let template = self.compiled().map_err(TrialError::Source)?;
        let file = || self.file.display().to_string();
        let (mut works, mut failed) = (false, None);
        for talk in talks() {
            say(&format!("{subject} over {talk}"));
            match render(&template, &talk) {
                // Many templates refuse a message from the system, or one without another before it.
                Ok(_) | Err(TemplateError::Refused { .. }) => works = true,
                Err(TemplateError::Failed { why }) => failed = Some(why),
                Err(error) => {
                    return Err(TrialError::Refused {
                        file: file(),
                        error,
                        talk: talk.to_string(),
                    });
                }
            }
        }
        match failed {
            Some(why) if !works => Err(TrialError::Useless { file: file(), why }),
            _ => Ok(template),
        }
    }

    /// Limits this process, and tries the templates in it if that was not done before.
    pub(super) fn made(
        &self,
        is_tried: bool,
        say: &mut (dyn FnMut(&str) + Send),
    ) -> Result<ChatTemplate, TrialError> {
        if !is_tried {
            return self.tried(say);
        }
        limits::limit_memory().map_err(TrialError::Limits)?;
        limits::limit_time().map_err(TrialError::Limits)?;
        self.compiled().map_err(TrialError::Source)
    }

    /// The same template, compiled without being tried.
    pub(super) fn compiled(&self) -> Result<ChatTemplate, LoadError> {
        let compiled = catch_unwind(AssertUnwindSafe(|| ChatTemplate::compiled(self)));
        compiled.unwrap_or_else(|_| Err(self.refuse("compiling it panics".to_owned())))
    }
}

fn render(template: &ChatTemplate, talk: &Talk) -> Result<String, TemplateError> {
    template.render_whatever_comes(&Conversation {
        messages: talk.messages.clone(),
        tools: talk.tools.clone(),
        variables: talk.variables.clone(),
        add_generation_prompt: true,
        // Any day will do.
        now: UNIX_EPOCH + Duration::from_secs(1_770_000_000),
    })
}
