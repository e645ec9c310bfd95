//! A conversation as the text that the model was trained to read.
//!
//! Templates are programs that come with models. They run here as `apply_chat_template` would run
//! them, and reach nothing but the conversation.
//!
//! Bounded in every rendering: the steps, the depth of calls, and the text that is written. Bounded
//! when it is read: the length of the source. What a template builds up in variables, how deep its
//! expressions nest and what one step costs is bounded where it runs in a process of its own
//! ([`render_apart`]): so it does for a worker, for every conversation. [`ChatTemplate::load`] is for
//! those who trust the template.

mod apart;
mod dialect;
mod json;
mod limits;
mod rewrite;
mod source;
mod trial;

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::SystemTime;

use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, Value as Jinja};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

pub use self::apart::{ApartError, Begin, Said, render_apart};
pub use self::limits::{MOST_BYTES, MOST_TIME};
pub use self::source::TemplateSource;
pub use self::trial::TrialError;
use crate::LoadError;

/// Steps of one rendering: a message takes some fifty, so that this is a conversation of tens of
/// thousands, and a tenth of a second where a template never ends by itself.
const FUEL: u64 = 2_000_000;

/// Bytes of one rendering: more than the longest context holds.
const LONGEST: usize = 8 << 20;

const DEFAULT: &str = "default";
const TOOL_USE: &str = "tool_use";

/// A model's own template, compiled.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    names: Map<String, Value>,
}

/// One message, as templates know it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Message {
    pub role: String,
    pub content: String,
    /// On a tool's message: which call it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// As on the OpenAI wire. Arguments may be an object or its JSON text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<Value>,
    #[serde(
        default,
        rename = "reasoning_content",
        skip_serializing_if = "Option::is_none"
    )]
    pub reasoning: Option<String>,
}

/// What a rendering depends on, the time included.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conversation {
    pub messages: Vec<Message>,
    /// Definitions as on the OpenAI wire.
    pub tools: Vec<Value>,
    /// More variables for the template; they cannot replace the conversation.
    pub variables: Map<String, Value>,
    /// End with the beginning of an answer.
    pub add_generation_prompt: bool,
    /// What templates that tell the model the date are told, in UTC.
    pub now: SystemTime,
}

/// The conversation cannot be rendered.
#[derive(Debug, Error, Serialize, Deserialize)]
pub enum TemplateError {
    /// The template refuses the conversation, in its own words.
    #[error("the chat template says: {message}")]
    Refused { message: String },
    #[error("the chat template did not end within {FUEL} steps")]
    Endless,
    #[error("the chat template wrote more than {LONGEST} bytes")]
    TooLong,
    #[error("the chat template failed: {why}")]
    Failed { why: String },
}

impl ChatTemplate {
    /// Compiles the template of a model's folder or GGUF file; none where the model has none.
    ///
    /// # Errors
    /// Where a file is malformed or the template does not compile.
    pub fn load(path: &Path) -> Result<Option<Self>, LoadError> {
        let source = TemplateSource::read(path, None)?;
        source.as_ref().map(Self::compiled).transpose()
    }

    fn compiled(written: &TemplateSource) -> Result<Self, LoadError> {
        let mut template = Self {
            environment: dialect::environment(FUEL),
            names: written.names.clone(),
        };
        for (name, source) in &written.named {
            let source = rewrite::rewritten(source);
            template
                .environment
                .add_template_owned(name.clone(), source)
                .map_err(|error| written.refuse(format!("chat template: {error}")))?;
        }
        match template.environment.get_template(DEFAULT) {
            Ok(_) => Ok(template),
            Err(_) => Err(written.refuse("`chat_template` has no default template".to_owned())),
        }
    }

    /// The text to be encoded without more special tokens: a template writes them itself.
    pub fn render(&self, conversation: &Conversation) -> Result<String, TemplateError> {
        let mut text = Bounded::default();
        let name = match self.environment.get_template(TOOL_USE) {
            Ok(_) if !conversation.tools.is_empty() => TOOL_USE,
            _ => DEFAULT,
        };
        let rendered = self
            .environment
            .get_template(name)
            .and_then(|template| {
                template.render_captured_to(self.variables(conversation), &mut text)
            })
            .map(|_| ());
        match rendered {
            Ok(()) => Ok(String::from_utf8_lossy(&text.written).into_owned()),
            Err(_) if text.overflowed => Err(TemplateError::TooLong),
            Err(error) => Err(explain(error)),
        }
    }

    /// The same where the engine itself panics over it.
    fn render_whatever_comes(&self, conversation: &Conversation) -> Result<String, TemplateError> {
        let rendered = catch_unwind(AssertUnwindSafe(|| self.render(conversation)));
        rendered.unwrap_or_else(|panic| {
            let why = panic.downcast_ref::<String>().map(String::as_str);
            let why = why.or_else(|| panic.downcast_ref::<&str>().copied());
            let why = format!("it panics: {}", why.unwrap_or("without a word"));
            Err(TemplateError::Failed { why })
        })
    }

    fn variables(&self, conversation: &Conversation) -> Jinja {
        let mut variables = self.names.clone();
        variables.extend(conversation.variables.clone());
        let messages = conversation.messages.iter().map(read_arguments);
        // The types are strings, JSON and times, which serialise without fail.
        let messages = messages.filter_map(|message| serde_json::to_value(message).ok());
        variables.insert("messages".to_owned(), messages.collect());
        let tools = if conversation.tools.is_empty() {
            Value::Null
        } else {
            Value::from(conversation.tools.clone())
        };
        variables.insert("tools".to_owned(), tools);
        variables.insert("documents".to_owned(), Value::Null);
        variables.insert(
            "add_generation_prompt".to_owned(),
            Value::from(conversation.add_generation_prompt),
        );
        let seconds = dialect::seconds(conversation.now);
        variables.insert(dialect::NOW.to_owned(), Value::from(seconds));
        Jinja::from(Serde(variables))
    }
}

/// Templates print arguments as JSON, and would quote a text that is JSON already.
fn read_arguments(message: &Message) -> Message {
    let mut message = message.clone();
    for call in &mut message.tool_calls {
        let Some(arguments) = call.pointer_mut("/function/arguments") else {
            continue;
        };
        let object = arguments
            .as_str()
            .and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
        if let Some(object) = object {
            *arguments = Value::Object(object);
        }
    }
    message
}

fn explain(error: minijinja::Error) -> TemplateError {
    if error.kind() == ErrorKind::OutOfFuel {
        return TemplateError::Endless;
    }
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        if let Some(dialect::Raised(message)) = source.downcast_ref() {
            return TemplateError::Refused {
                message: message.clone(),
            };
        }
        cause = source.source();
    }
    TemplateError::Failed {
        why: error.to_string(),
    }
}

/// Collects what is written, up to [`LONGEST`].
#[derive(Default)]
struct Bounded {
    written: Vec<u8>,
    overflowed: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written.len() + bytes.len() > LONGEST {
            self.overflowed = true;
            return Err(io::Error::other("too long"));
        }
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
