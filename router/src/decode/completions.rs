//! A request for a completion of a text.

use serde_json::{Map, Value};

use super::fields::Fields;
use super::{form, settings};
use crate::ask::{Ask, Input, ToolChoice};
use crate::refusal::Refusal;
use crate::wire::Wire;

/// What OpenAI writes where nobody said how long.
const DEFAULT_TOKENS: u32 = 16;
/// The most alternatives beside a token on this wire.
const MOST_ALTERNATIVES: u32 = 20;

/// Reads the body of a request.
pub(crate) fn completions(body: Map<String, Value>) -> Result<Ask, Refusal> {
    let fields = Fields::whole(&body);
    let mut needs = Vec::new();
    let logprobs = fields.count("logprobs")?;
    if logprobs.is_some_and(|most| most > MOST_ALTERNATIVES) {
        let message = format!("must be at most {MOST_ALTERNATIVES}");
        return Err(fields.wrong("logprobs", message));
    }
    Ok(Ask {
        wire: Wire::Completions,
        model: settings::model(&fields)?,
        input: prompt(&fields)?,
        tools: Vec::new(),
        tool_choice: ToolChoice::Auto,
        single_call: false,
        form: form::of_chat(&fields, &mut needs)?,
        sampling: settings::sampling(&fields)?,
        max_tokens: Some(fields.positive("max_tokens")?.unwrap_or(DEFAULT_TOKENS)),
        stop: settings::stop(&fields, "stop")?,
        choices: settings::choices(&fields)?,
        logprobs,
        effort: None,
        shows_thinking: false,
        user: settings::user(&fields, "user")?,
        metadata: settings::metadata(&fields)?,
        cache_salt: fields
            .any_text("cache_salt")?
            .unwrap_or_default()
            .to_owned(),
        dimensions: None,
        betas: Vec::new(),
        stream: fields.flag("stream")?,
        include_usage: settings::include_usage(&fields)?,
        needs,
        body,
    })
}

/// One text, or the ids of its tokens; a list of one of them is the same.
fn prompt(fields: &Fields<'_>) -> Result<Input, Refusal> {
    let wrong = || fields.wrong("prompt", "must be a text or a list of ids of tokens");
    let value = fields
        .present("prompt")
        .ok_or_else(|| fields.wrong("prompt", "is missing"))?;
    let items = match value {
        Value::String(text) => return Ok(Input::Text(text.clone())),
        Value::Array(items) => items,
        _ => return Err(wrong()),
    };
    match items.as_slice() {
        [] => Err(wrong()),
        [Value::String(text)] => Ok(Input::Text(text.clone())),
        [Value::Array(ids)] => tokens(ids).ok_or_else(wrong),
        [Value::Number(_), ..] => tokens(items).ok_or_else(wrong),
        _ => {
            let message = "must be one prompt: send several in requests of their own, since each \
                           is decided on its own";
            Err(fields.wrong("prompt", message))
        }
    }
}

/// The ids of tokens, of which there must be one.
pub(super) fn tokens(items: &[Value]) -> Option<Input> {
    let id = |item: &Value| item.as_u64().and_then(|id| u32::try_from(id).ok());
    let tokens: Option<Vec<u32>> = items.iter().map(id).collect();
    tokens
        .filter(|tokens| !tokens.is_empty())
        .map(Input::Tokens)
}
