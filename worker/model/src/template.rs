//! A conversation as the text that the model was trained to read.
//!
//! Templates are programs that come with models. They run here as `apply_chat_template` would run
//! them, and reach nothing but the conversation.
//!
//! Bounded in every rendering: the steps, the depth of calls, and the text that is written. Bounded
//! when it is loaded: the length of the source. What a template builds up in variables, how deep
//! its expressions nest and what one step costs is bounded only while it is tried out
//! ([`ChatTemplate::try_out`]), over conversations of every kind that templates tell apart. One
//! that waits for another kind and then grows is stopped by nothing but the machine's memory:
//! whoever chooses the model is trusted that far.

mod dialect;
mod json;
mod source;
mod trial;

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, Value as Jinja};
use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;

use self::source::Sources;
pub use self::trial::{TRIAL_BYTES, TRIAL_TIME, TrialError};
use crate::{LoadError, Tokenizer};

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
#[derive(Clone, Debug, Default, Serialize)]
pub struct Message {
    pub role: String,
    pub content: String,
    /// On a tool's message: which call it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// As on the OpenAI wire. Arguments may be an object or its JSON text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<Value>,
    #[serde(rename = "reasoning_content", skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
}

/// What a rendering depends on, the time included.
#[derive(Clone, Copy, Debug)]
pub struct Conversation<'a> {
    pub messages: &'a [Message],
    /// Definitions as on the OpenAI wire.
    pub tools: &'a [Value],
    /// More variables for the template; they cannot replace the conversation.
    pub variables: &'a Map<String, Value>,
    /// End with the beginning of an answer.
    pub add_generation_prompt: bool,
    /// What templates that tell the model the date are told, in UTC.
    pub now: SystemTime,
}

/// The conversation cannot be rendered.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The template refuses the conversation, in its own words.
    #[error("the chat template says: {message}")]
    Refused { message: String },
    #[error("the chat template did not end within {FUEL} steps")]
    Endless,
    #[error("the chat template wrote more than {LONGEST} bytes")]
    TooLong,
    #[error("the chat template failed")]
    Failed(#[source] minijinja::Error),
}

impl ChatTemplate {
    /// Compiles `chat_template.jinja`, or else the `chat_template` of `tokenizer_config.json`, or
    /// the templates of a GGUF file; none where the model has none. One that comes from elsewhere
    /// is tried out first.
    ///
    /// # Errors
    /// Where a file is malformed or the template does not compile.
    pub fn load(path: &Path, tokenizer: &Tokenizer) -> Result<Option<Self>, LoadError> {
        match Sources::read(path)? {
            Some(sources) => Self::compiled(sources, tokenizer.names().clone()).map(Some),
            None => Ok(None),
        }
    }

    /// Compiles the template in `file`, in the place of the model's own.
    ///
    /// # Errors
    /// Where the file is missing or malformed or the template does not compile.
    pub fn load_file(file: &Path, tokenizer: &Tokenizer) -> Result<Self, LoadError> {
        Self::compiled(Sources::read_file(file)?, tokenizer.names().clone())
    }

    fn compiled(sources: Sources, names: Map<String, Value>) -> Result<Self, LoadError> {
        let mut template = Self {
            environment: dialect::environment(FUEL),
            names,
        };
        for (name, source) in &sources.named {
            let source = dialect::without_generation_tags(source);
            template
                .environment
                .add_template_owned(name.clone(), source)
                .map_err(|error| sources.refuse(format!("chat template: {error}")))?;
        }
        match template.environment.get_template(DEFAULT) {
            Ok(_) => Ok(template),
            Err(_) => Err(sources.refuse("`chat_template` has no default template".to_owned())),
        }
    }

    /// Whether the source has this text in it, in any of its templates.
    pub fn mentions(&self, text: &str) -> bool {
        [DEFAULT, TOOL_USE].into_iter().any(|name| {
            let template = self.environment.get_template(name);
            template.is_ok_and(|template| template.source().contains(text))
        })
    }

    /// The text to be encoded without more special tokens: a template writes them itself.
    pub fn render(&self, conversation: &Conversation<'_>) -> Result<String, TemplateError> {
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

    fn variables(&self, conversation: &Conversation<'_>) -> Jinja {
        let mut variables = self.names.clone();
        variables.extend(conversation.variables.clone());
        let messages = conversation.messages.iter().map(read_arguments);
        // The types are strings, JSON and times, which serialise without fail.
        let messages = messages.filter_map(|message| serde_json::to_value(message).ok());
        variables.insert("messages".to_owned(), messages.collect());
        let tools = if conversation.tools.is_empty() {
            Value::Null
        } else {
            Value::from(conversation.tools)
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
    TemplateError::Failed(error)
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
