//! From a chat to the text that the model reads.
//!
//! A conversation is bounded before anything of it is rendered: its text by what the context can hold,
//! and what stands in it as JSON by the number of its values, each of which takes a hundred times its
//! own length.

use std::time::SystemTime;

use serde_json::{Map, Value};
use weir_engine::model::{Conversation, Message, TemplateError};
use weir_policy::json::{MOST_VALUES, most_values};
use weir_worker_api as api;

use super::{
    Serving,
    call_id::with_short_ids,
    tools::{Offered, Style, in_system, told},
};
use crate::{refusal::Refusal, renderer::RenderError};

/// A conversation with its calls, tools and thoughts may be so many times as long as the text that a
/// context can hold.
const BESIDE: usize = 4;

impl Serving {
    /// With the beginning of an answer where that is wanted.
    pub(super) async fn render(
        &self,
        chat: &api::Chat,
        begin_answer: bool,
    ) -> Result<String, Refusal> {
        let Some(template) = &self.template else {
            let why = "is a chat, but the model has no chat template: send text or tokens";
            return Err(Refusal::invalid("prompt.chat", why));
        };
        if chat.messages.is_empty() {
            return Err(Refusal::invalid("prompt.chat.messages", "is empty"));
        }
        let bytes = self.within_bounds(chat)?;
        let field = "prompt.chat.template_kwargs_json";
        let variables = match chat.template_kwargs_json.as_str() {
            "" => Map::new(),
            json => serde_json::from_str(json)
                .map_err(|error| Refusal::invalid(field, format!("is no object: {error}")))?,
        };
        let messages = chat.messages.iter().map(message);
        let messages = messages.collect::<Result<Vec<_>, _>>()?;
        let (messages, tools) = self.with_tools(messages, Offered::read(chat)?.as_ref());
        let conversation = Conversation {
            messages,
            tools,
            variables,
            add_generation_prompt: begin_answer,
            now: SystemTime::now(),
        };
        let rendered = template.render(&conversation, bytes).await;
        rendered.map_err(|error| match error {
            RenderError::Busy => self.no_place(),
            RenderError::Process(cause) => {
                tracing::error!(%cause, "no process renders");
                Refusal::Internal {
                    step: "rendering the prompt",
                }
            }
            RenderError::Template(TemplateError::Failed { why }) => Refusal::invalid(
                "prompt.chat",
                format!("could not be rendered by the model's template: {why}"),
            ),
            RenderError::Template(_) | RenderError::Died(_) => {
                Refusal::invalid("prompt.chat", format!("is refused: {error}"))
            }
        })
    }
}

impl Serving {
    /// How many bytes it has, where it is worth looking at.
    fn within_bounds(&self, chat: &api::Chat) -> Result<usize, Refusal> {
        let said: usize = chat.messages.iter().map(|of| of.content.len()).sum();
        let calls = chat.messages.iter().flat_map(|of| &of.tool_calls_json);
        let written = calls
            .chain(&chat.tools_json)
            .chain([&chat.template_kwargs_json]);
        let (mut values, mut bytes) = (chat.messages.len(), said);
        for json in written {
            values += most_values(json.as_bytes());
            bytes += json.len();
        }
        bytes += chat
            .messages
            .iter()
            .map(|of| of.reasoning.len())
            .sum::<usize>();
        if values > MOST_VALUES {
            return Err(Refusal::TooManyValues { limit: MOST_VALUES });
        }
        // Templates leave out what was thought long ago, but nothing that was said.
        let most = self.most_prompt_bytes;
        if said > most || bytes > most.saturating_mul(BESIDE) {
            return Err(Refusal::TooLongText {
                bytes,
                context_tokens: self.engine.context_tokens(),
            });
        }
        Ok(bytes)
    }

    /// As many may wait to be rendered and tokenized as wait to be computed.
    pub(super) fn no_place(&self) -> Refusal {
        let waiting = self.engine.options().max_waiting;
        Refusal::overloaded(waiting).at_pace(self.metrics.pace())
    }
}

impl Serving {
    /// The conversation as the template is to have it, and the tools that it is given.
    fn with_tools(
        &self,
        messages: Vec<Message>,
        offered: Option<&Offered>,
    ) -> (Vec<Message>, Vec<Value>) {
        let definitions = offered.map(Offered::definitions).unwrap_or_default();
        match &self.tool_style {
            Style::Told => (told(messages, offered), Vec::new()),
            Style::List {
                in_system: true, ..
            } => (in_system(messages, &definitions), Vec::new()),
            style if style.has_short_ids() => (with_short_ids(messages), definitions),
            _ => (messages, definitions),
        }
    }
}

fn message(message: &api::Message) -> Result<Message, Refusal> {
    let present = |text: &String| (!text.is_empty()).then(|| text.clone());
    Ok(Message {
        role: message.role.clone(),
        content: message.content.clone(),
        tool_call_id: present(&message.tool_call_id),
        tool_calls: objects("prompt.chat.messages.tool_calls", &message.tool_calls_json)?,
        reasoning: present(&message.reasoning),
    })
}

fn objects(field: &str, texts: &[String]) -> Result<Vec<Value>, Refusal> {
    let object = |text: &String| {
        let object: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| Refusal::invalid(field, format!("is no object: {error}")))?;
        Ok(Value::Object(object))
    };
    texts.iter().map(object).collect()
}
