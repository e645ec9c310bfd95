//! Phase 2: the body of an OpenAI chat request becomes an [`Ask`], or names the field at fault.

mod body;
pub(crate) mod fields;

use serde_json::{Map, Value};

use crate::ask::{Ask, Message, Sampling};
use crate::refusal::Refusal;
pub(crate) use body::{Bounds, Held, Incoming};

/// More than any conversation has; each message costs more in our words than on the wire.
const MOST_MESSAGES: usize = 10_000;
/// What is logged and answered of a request is bounded by this.
const LONGEST_MODEL_BYTES: usize = 256;
/// Longer than any text that somebody waits for in an answer.
const LONGEST_STOP_BYTES: usize = 1024;
/// Four is what OpenAI takes; open servers take more.
const MOST_STOPS: usize = 16;

/// Reads a chat request.
pub(crate) fn chat(bytes: &[u8]) -> Result<Ask, Refusal> {
    let body = serde_json::from_slice::<Value>(bytes)
        .map_err(|error| Refusal::NotJson(error.to_string()))?;
    let Value::Object(body) = body else {
        return Err(Refusal::NotJson("it must be an object".into()));
    };
    let fields = Fields(&body);
    let (messages, parts) = messages(fields.present("messages"))?;
    let (mut beyond_worker, advisory_for_worker) = fields::beyond_worker(&body);
    match fields.present("n").map(Value::as_u64) {
        None | Some(Some(1)) => {}
        Some(Some(2..)) => {
            let message = "a request gets one choice here; for more, send it more often";
            return Err(Refusal::field("n", message));
        }
        Some(Some(0) | None) => {
            return Err(Refusal::field("n", "must be a whole number from 1 up"));
        }
    }
    beyond_worker.extend(parts);
    Ok(Ask {
        model: model(&fields)?,
        messages,
        sampling: sampling(&fields)?,
        max_tokens: max_tokens(&fields)?,
        stop: stop(fields.present("stop"))?,
        stream: fields.flag("stream")?,
        include_usage: include_usage(fields.present("stream_options"))?,
        beyond_worker,
        advisory_for_worker,
        body,
    })
}

fn model(fields: &Fields<'_>) -> Result<String, Refusal> {
    let model = fields.text("model")?;
    if model.len() > LONGEST_MODEL_BYTES {
        let message = format!("must be at most {LONGEST_MODEL_BYTES} bytes long");
        return Err(Refusal::field("model", message));
    }
    Ok(model)
}

fn sampling(fields: &Fields<'_>) -> Result<Sampling, Refusal> {
    Ok(Sampling {
        temperature: fields.number("temperature", 0.0, 2.0)?,
        top_p: fields.number("top_p", 0.0, 1.0)?,
        top_k: fields.count("top_k")?,
        min_p: fields.number("min_p", 0.0, 1.0)?,
        repetition_penalty: fields.number("repetition_penalty", 0.01, 10.0)?,
        presence_penalty: fields.number("presence_penalty", -2.0, 2.0)?,
        frequency_penalty: fields.number("frequency_penalty", -2.0, 2.0)?,
        // A negative seed is a seed like any other.
        seed: match fields.present("seed") {
            None => None,
            Some(seed) => Some(
                seed.as_u64()
                    .or_else(|| seed.as_i64().map(i64::cast_unsigned))
                    .ok_or_else(|| Refusal::field("seed", "must be a whole number"))?,
            ),
        },
    })
}

fn max_tokens(fields: &Fields<'_>) -> Result<Option<u32>, Refusal> {
    for field in ["max_completion_tokens", "max_tokens"] {
        if let Some(count) = fields.count(field)? {
            if count == 0 {
                return Err(Refusal::field(field, "must be at least 1"));
            }
            return Ok(Some(count));
        }
    }
    Ok(None)
}

fn stop(value: Option<&Value>) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::field("stop", "must be a string or a list of up to 16 strings");
    let checked = |at: String, stop: &str| match stop.len() {
        1..=LONGEST_STOP_BYTES => Ok(stop.to_owned()),
        _ => {
            let message = format!("must be between 1 and {LONGEST_STOP_BYTES} bytes long");
            Err(Refusal::field(at, message))
        }
    };
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(stop)) => Ok(vec![checked("stop".to_owned(), stop)?]),
        Some(Value::Array(stops)) if stops.len() <= MOST_STOPS => {
            let stops = stops.iter().enumerate().map(|(index, stop)| {
                checked(format!("stop[{index}]"), stop.as_str().ok_or_else(wrong)?)
            });
            stops.collect()
        }
        Some(_) => Err(wrong()),
    }
}

fn include_usage(options: Option<&Value>) -> Result<bool, Refusal> {
    match options {
        None => Ok(false),
        Some(Value::Object(options)) => match options.get("include_usage") {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(wanted)) => Ok(*wanted),
            Some(_) => Err(Refusal::field(
                "stream_options.include_usage",
                "must be true or false",
            )),
        },
        Some(_) => Err(Refusal::field("stream_options", "must be an object")),
    }
}

/// The messages as text, and the fields of those parts that are not text.
fn messages(value: Option<&Value>) -> Result<(Vec<Message>, Vec<String>), Refusal> {
    let Some(Value::Array(items)) = value else {
        return Err(Refusal::field("messages", "must be a list of messages"));
    };
    if items.is_empty() || items.len() > MOST_MESSAGES {
        let message = format!("must have between 1 and {MOST_MESSAGES} messages");
        return Err(Refusal::field("messages", message));
    }
    let mut parts = Vec::new();
    let messages = items.iter().enumerate();
    let messages =
        messages.map(|(index, item)| message(&format!("messages[{index}]"), item, &mut parts));
    Ok((messages.collect::<Result<_, _>>()?, parts))
}

fn message(at: &str, item: &Value, parts: &mut Vec<String>) -> Result<Message, Refusal> {
    let Value::Object(item) = item else {
        return Err(Refusal::field(at, "must be an object"));
    };
    let role = match item.get("role").and_then(Value::as_str) {
        // Newer OpenAI models call it so; to every other model it is the system.
        Some("developer" | "system") => "system",
        Some("function" | "tool") => "tool",
        Some(role @ ("user" | "assistant")) => role,
        // The word is not repeated: it may be of any length.
        Some(_) => {
            let message = "must be system, developer, user, assistant, tool or function";
            return Err(Refusal::field(format!("{at}.role"), message));
        }
        None => return Err(Refusal::field(format!("{at}.role"), "is missing")),
    };
    let tool_calls = match item.get("tool_calls") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(calls)) => calls.iter().map(Value::to_string).collect(),
        Some(_) => return Err(Refusal::field(format!("{at}.tool_calls"), "must be a list")),
    };
    let content = content(at, item.get("content"), parts)?;
    if content.is_none() && role != "assistant" {
        return Err(Refusal::field(format!("{at}.content"), "is missing"));
    }
    Ok(Message {
        role: role.to_owned(),
        content: content.unwrap_or_default(),
        tool_call_id: item
            .get("tool_call_id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        tool_calls,
    })
}

fn content(
    at: &str,
    value: Option<&Value>,
    beyond: &mut Vec<String>,
) -> Result<Option<String>, Refusal> {
    let wrong = |at: String| Refusal::field(at, "must be text or a list of parts");
    let parts = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => return Ok(Some(text.clone())),
        Some(Value::Array(parts)) => parts,
        Some(_) => return Err(wrong(format!("{at}.content"))),
    };
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        let at = format!("{at}.content[{index}]");
        match part.get("type").and_then(Value::as_str) {
            Some(kind @ ("text" | "refusal")) => match part.get(kind).and_then(Value::as_str) {
                Some(piece) => text.push_str(piece),
                None => return Err(Refusal::field(format!("{at}.{kind}"), "must be text")),
            },
            Some(_) => beyond.push(at),
            None => return Err(wrong(at)),
        }
    }
    Ok(Some(text))
}

/// The fields of a body; `null` is absent.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn present(&self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn text(&self, field: &str) -> Result<String, Refusal> {
        match self.present(field) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            Some(_) => Err(Refusal::field(field, "must be text")),
            None => Err(Refusal::field(field, "is missing")),
        }
    }

    fn flag(&self, field: &str) -> Result<bool, Refusal> {
        match self.present(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Refusal::field(field, "must be true or false")),
        }
    }

    fn count(&self, field: &str) -> Result<Option<u32>, Refusal> {
        let Some(value) = self.present(field) else {
            return Ok(None);
        };
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        match count {
            Some(count) => Ok(Some(count)),
            None => Err(Refusal::field(field, "must be a whole number from 0 up")),
        }
    }

    fn number(&self, field: &str, from: f64, to: f64) -> Result<Option<f32>, Refusal> {
        let Some(value) = self.present(field) else {
            return Ok(None);
        };
        match value.as_f64().filter(|number| (from..=to).contains(number)) {
            #[allow(
                clippy::cast_possible_truncation,
                reason = "a sampling setting needs no more"
            )]
            Some(number) => Ok(Some(number as f32)),
            None => {
                let message = format!("must be a number from {from} to {to}");
                Err(Refusal::field(field, message))
            }
        }
    }
}

#[cfg(test)]
mod tests;
