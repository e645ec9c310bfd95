//! A chat request of this wire, in the contract's words.
//!
//! Three kinds of fields: those that have their effect; those that ask for something this worker
//! cannot do, which are refused; and those that only advise, which are named as dropped.

use serde_json::Value;
use weir_worker_api as api;

use super::{
    fields::Fields,
    form, parse, prompt_logprobs,
    settings::{limits, sampling, streaming},
    tools,
};
use crate::{
    refusal::Refusal,
    serving::gathered::{Gathered, Numbers},
};

/// Asking for any of these and not getting it would be a wrong answer.
const UNSUPPORTED: [&str; 5] = [
    "functions",
    "function_call",
    "audio",
    "prediction",
    "web_search_options",
];

#[derive(Debug)]
pub struct ChatRequest {
    pub model: String,
    pub generate: api::GenerateRequest,
    /// The field that asks for the answer's form.
    pub form_field: Option<&'static str>,
    pub stream: bool,
    pub include_usage: bool,
    /// The field that says how many, where log-probabilities are to be shown.
    pub logprobs: Option<&'static str>,
    /// Fields that have no effect here.
    pub dropped: Vec<String>,
}

impl ChatRequest {
    pub fn decode(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields = Fields::of("", parse(body)?)?;
        let model = fields.need_model()?;
        refuse_unsupported(&mut fields)?;
        let (logprobs, top_logprobs) = logprobs(&mut fields)?;
        let (stream, include_usage) = streaming(&mut fields)?;
        let (form_field, form) = form::form(&mut fields)?.unzip();
        let mut chat = conversation(&mut fields)?;
        tools::offer(&mut fields, &mut chat)?;
        let generate = api::GenerateRequest {
            model: model.clone(),
            prompt: Some(api::Prompt {
                form: Some(api::prompt::Form::Chat(chat)),
            }),
            sampling: Some(sampling(&mut fields)?),
            limits: Some(limits(&mut fields)?),
            constraint: form.map(|form| api::Constraint { form: Some(form) }),
            choices: fields.take("n")?.unwrap_or(1),
            top_logprobs,
            prompt_logprobs: prompt_logprobs::asked(&mut fields, stream)?,
            cache_salt: fields.take("cache_salt")?.unwrap_or_default(),
            ..api::GenerateRequest::default()
        };
        if generate.choices == 0 {
            return Err(Refusal::invalid("n", "must be at least 1"));
        }
        Ok(Self {
            model,
            generate,
            form_field,
            stream,
            include_usage,
            logprobs,
            dropped: fields.rest(),
        })
    }
}

impl ChatRequest {
    /// What is gathered before it is sent: nothing of a stream.
    pub fn gathered(&self) -> Option<Gathered> {
        let (asked, each_choice) = (&self.generate, self.generate.choices as usize);
        let of_prompt = asked.prompt_logprobs.map(|alternatives| Numbers {
            each: alternatives as usize + 1,
            field: "prompt_logprobs",
        });
        let of_answer = self.logprobs.map(|field| Numbers {
            each: (asked.top_logprobs as usize + 1).saturating_mul(each_choice),
            field,
        });
        let of_prompt = of_prompt.unwrap_or_default();
        (!self.stream).then(|| Gathered::new(of_prompt, of_answer.unwrap_or_default()))
    }
}

fn refuse_unsupported(fields: &mut Fields) -> Result<(), Refusal> {
    for name in UNSUPPORTED {
        match fields.take::<Value>(name)? {
            None => {}
            Some(Value::Array(list)) if list.is_empty() => {}
            Some(_) => return Err(Refusal::unsupported(name)),
        }
    }
    if let Some(modalities) = fields.take::<Vec<String>>("modalities")?
        && modalities != ["text"]
    {
        return Err(Refusal::unsupported("modalities"));
    }
    Ok(())
}

/// The field that says how many numbers of a token are to be shown, if any are, and how many
/// alternatives.
fn logprobs(fields: &mut Fields) -> Result<(Option<&'static str>, u32), Refusal> {
    let logprobs = fields.take("logprobs")?.unwrap_or(false);
    match (logprobs, fields.take("top_logprobs")?) {
        (false, None) => Ok((None, 0)),
        (false, Some(_)) => Err(Refusal::invalid("top_logprobs", "needs `logprobs: true`")),
        (true, None) => Ok((Some("logprobs"), 0)),
        (true, Some(top)) => Ok((Some("top_logprobs"), top)),
    }
}

/// The messages and what their template is told beside them.
pub fn conversation(fields: &mut Fields) -> Result<api::Chat, Refusal> {
    let messages: Vec<Value> = fields.need("messages")?;
    if messages.is_empty() {
        return Err(Refusal::invalid("messages", "is empty"));
    }
    let messages = messages.into_iter().enumerate();
    let kwargs: Option<serde_json::Map<String, Value>> = fields.take("chat_template_kwargs")?;
    Ok(api::Chat {
        messages: messages
            .map(|(index, message)| message_of(index, message))
            .collect::<Result<_, _>>()?,
        template_kwargs_json: kwargs.map_or_else(String::new, |k| Value::Object(k).to_string()),
        ..api::Chat::default()
    })
}

fn message_of(index: usize, message: Value) -> Result<api::Message, Refusal> {
    let mut fields = Fields::of(format!("messages[{index}]."), message)?;
    let role: String = fields.need("role")?;
    let role = match role.as_str() {
        // The newer name of the same: templates know the older one.
        "developer" => "system".to_owned(),
        "system" | "user" | "assistant" | "tool" => role,
        _ => {
            let why = format!("is `{role}`; known are developer, system, user, assistant, tool");
            return Err(Refusal::invalid(fields.path("role"), why));
        }
    };
    let calls: Vec<Value> = fields.take("tool_calls")?.unwrap_or_default();
    let path = fields.path("content");
    let content = match fields.take::<Value>("content")? {
        Some(content) => text_of(&path, content)?,
        None if role == "assistant" => String::new(),
        None => return Err(Refusal::invalid(path, "is missing")),
    };
    Ok(api::Message {
        role,
        content,
        tool_call_id: fields.take("tool_call_id")?.unwrap_or_default(),
        tool_calls_json: calls.iter().map(Value::to_string).collect(),
        reasoning: fields.take("reasoning_content")?.unwrap_or_default(),
    })
}

/// Content is text, or a list of parts of which only text is understood.
fn text_of(path: &str, content: Value) -> Result<String, Refusal> {
    match content {
        Value::String(text) => Ok(text),
        Value::Array(parts) => {
            let mut text = String::new();
            for (index, part) in parts.into_iter().enumerate() {
                let mut part = Fields::of(format!("{path}[{index}]."), part)?;
                let kind: String = part.need("type")?;
                if kind != "text" {
                    return Err(Refusal::Unsupported {
                        field: part.path("type"),
                        why: format!(": it is `{kind}`, and only `text` is"),
                    });
                }
                text.push_str(&part.need::<String>("text")?);
            }
            Ok(text)
        }
        _ => Err(Refusal::invalid(
            path,
            "is neither text nor a list of parts",
        )),
    }
}
