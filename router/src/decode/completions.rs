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
/// More than an evaluation sends at once.
const MOST_PROMPTS: usize = 256;
/// To all prompts together: what is held of them until the last is sure grows with their number.
const MOST_ANSWERS: u32 = 512;

/// Reads the body of a request.
pub(crate) fn completions(mut body: Map<String, Value>) -> Result<Ask, Refusal> {
    let fields = Fields::whole(&body);
    let mut needs = Vec::new();
    let logprobs = fields.count("logprobs")?;
    if logprobs.is_some_and(|most| most > MOST_ALTERNATIVES) {
        let message = format!("must be at most {MOST_ALTERNATIVES}");
        return Err(fields.wrong("logprobs", message));
    }
    let (input, each) = (prompts(&fields)?, settings::choices(&fields)?);
    let echo = fields.flag("echo")?;
    let max_tokens = match fields.count("max_tokens")? {
        Some(0) if !echo => return Err(fields.wrong("max_tokens", "must be at least 1, or echo")),
        most => most.unwrap_or(DEFAULT_TOKENS),
    };
    let asks_for_best = best_of(&fields, each)?;
    let mut ask = Ask {
        wire: Wire::Completions,
        model: settings::model(&fields)?,
        choices: choices(&fields, &input, each)?,
        input,
        tools: Vec::new(),
        tool_choice: ToolChoice::Auto,
        single_call: false,
        form: form::of_chat(&fields, &mut needs)?,
        sampling: settings::sampling(&fields)?,
        max_tokens: Some(max_tokens),
        stop: settings::stop(&fields, "stop")?,
        logprobs,
        echo,
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
        body: Map::new(),
    };
    if !asks_for_best {
        body.shift_remove("best_of");
    }
    ask.body = body;
    Ok(ask)
}

/// Whether more is to be written than answered: as many as are answered are the best of themselves.
fn best_of(fields: &Fields<'_>, choices: u32) -> Result<bool, Refusal> {
    match fields.count("best_of")? {
        Some(best_of) if best_of < choices => Err(fields.wrong("best_of", "must be at least n")),
        best_of => Ok(best_of.is_some_and(|best_of| best_of > choices)),
    }
}

/// How many answers there are to all prompts, where each gets so many.
fn choices(fields: &Fields<'_>, input: &Input, each: u32) -> Result<u32, Refusal> {
    let prompts = match input {
        Input::Many(prompts) => prompts.len() as u32,
        _ => 1,
    };
    let answers = prompts.saturating_mul(each);
    match answers <= MOST_ANSWERS {
        true => Ok(answers),
        false => {
            let message =
                format!("and prompts ask for {answers} answers, more than {MOST_ANSWERS}");
            Err(fields.wrong("n", message))
        }
    }
}

/// A text, the ids of its tokens, or a list of either; a list of one is the same as that one.
fn prompts(fields: &Fields<'_>) -> Result<Input, Refusal> {
    let wrong = |message| fields.wrong("prompt", message);
    let items = match fields.present("prompt") {
        None => return Err(wrong("is missing")),
        Some(Value::String(text)) => return Ok(Input::Text(text.clone())),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong("must be text, ids of tokens, or a list of either")),
    };
    if let Some(Value::Number(_)) = items.first() {
        return tokens(items).ok_or_else(|| wrong("must be a list of ids of tokens"));
    }
    if items.is_empty() || items.len() > MOST_PROMPTS {
        let message = format!("must have between 1 and {MOST_PROMPTS} entries");
        return Err(fields.wrong("prompt", message));
    }
    let each = items.iter().enumerate().map(|(index, item)| {
        let read = match item {
            Value::String(text) => Some(Input::Text(text.clone())),
            Value::Array(ids) => tokens(ids),
            _ => None,
        };
        let at = || fields.path(&format!("prompt[{index}]"));
        read.ok_or_else(|| Refusal::field(at(), "must be text or a list of ids of tokens"))
    });
    let mut prompts = each.collect::<Result<Vec<_>, _>>()?;
    match prompts.len() {
        1 => Ok(prompts.remove(0)),
        _ => Ok(Input::Many(prompts)),
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
