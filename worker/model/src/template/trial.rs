//! Tries a template out before it is trusted, in a process that may die of it.
//!
//! The process limits itself, compiles the template and renders conversations of every kind that
//! templates tell apart. Whoever started it learns from how it ends what to think of the template.

mod conversations;

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::unistd::{SysconfVar, sysconf};
use serde_json::{Map, Value};
use thiserror::Error;

use self::conversations::{Talk, talks};
use super::source::Sources;
use super::{ChatTemplate, Conversation, TemplateError};
use crate::tokenizer::names_at;

/// Memory beyond what the process has when it begins. The longest conversation that is tried has
/// a thousandth of that; the system takes a part for the thread's own heap.
pub const TRIAL_BYTES: u64 = 256 << 20;

/// Processor time for all conversations; the longest templates that are known take a fiftieth.
pub const TRIAL_TIME: Duration = Duration::from_secs(2);

/// Half of what threads have that render for requests, so that what fits here fits there.
const STACK_BYTES: usize = 1 << 20;

/// The template is not to be used, or could not be tried.
#[derive(Debug, Error)]
pub enum TrialError {
    #[error("limit the process that tries the chat template")]
    Limits(#[source] nix::Error),
    #[error("start the thread that tries the chat template")]
    Thread(#[source] io::Error),
    #[error("{0}")]
    Refused(TemplateError),
    #[error("it panics")]
    Panicked,
}

impl ChatTemplate {
    /// Limits this process, and then tries the template of a model's folder or GGUF file, or the one
    /// in `file` in its place. `say` is
    /// told what is tried before it is: the last of it is at fault where the process dies. What
    /// cannot be read or does not compile is no concern of a trial: loading says so. Nor are
    /// conversations that the template itself refuses.
    ///
    /// # Errors
    /// Where the template does not end, or writes without end, or where there is no trial.
    pub fn try_out(
        path: &Path,
        file: Option<&Path>,
        say: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), TrialError> {
        let sources = match file {
            Some(file) => Sources::read_file(file).map(Some),
            None => Sources::read(path),
        };
        let (Ok(Some(sources)), Ok(names)) = (sources, names_at(path)) else {
            return Ok(());
        };
        limit().map_err(TrialError::Limits)?;
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        thread::scope(|scope| {
            let tried = thread.spawn_scoped(scope, || render_all(sources, names, say));
            let tried = tried.map_err(TrialError::Thread)?;
            tried.join().unwrap_or(Err(TrialError::Panicked))
        })
    }
}

fn render_all(
    sources: Sources,
    names: Map<String, Value>,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<(), TrialError> {
    let subject = format!("the chat template of {}", sources.file.display());
    say(&format!("{subject} while it is compiled"));
    let Ok(template) = ChatTemplate::compiled(sources, names) else {
        return Ok(());
    };
    for talk in talks() {
        say(&format!("{subject} over {talk}"));
        match render(&template, &talk) {
            // Many templates refuse a message from the system, or one without another before it.
            Ok(_) | Err(TemplateError::Refused { .. } | TemplateError::Failed(_)) => {}
            Err(error) => return Err(TrialError::Refused(error)),
        }
    }
    Ok(())
}

fn render(template: &ChatTemplate, talk: &Talk) -> Result<String, TemplateError> {
    template.render(&Conversation {
        messages: &talk.messages,
        tools: &talk.tools,
        variables: &talk.variables,
        add_generation_prompt: true,
        // Any day will do.
        now: UNIX_EPOCH + Duration::from_secs(1_770_000_000),
    })
}

/// No more memory, processor time or core files than a trial is worth.
fn limit() -> nix::Result<()> {
    lower(
        Resource::RLIMIT_AS,
        address_space().saturating_add(TRIAL_BYTES),
    )?;
    lower(Resource::RLIMIT_CPU, TRIAL_TIME.as_secs())?;
    lower(Resource::RLIMIT_CORE, 0)
}

fn lower(resource: Resource, to: rlim_t) -> nix::Result<()> {
    let (_, most) = getrlimit(resource)?;
    let to = to.min(most);
    setrlimit(resource, to, to)
}

/// What the process has by now, threads' stacks and the program itself among it. Nothing where the
/// system does not say.
fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = statm.split(' ').next().and_then(|pages| pages.parse().ok());
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    let page = page.and_then(|bytes| u64::try_from(bytes).ok());
    pages.unwrap_or(0).saturating_mul(page.unwrap_or(4096))
}
