//! A request for vectors.

use serde_json::{Map, Value};

use super::fields::Fields;
use super::{completions, settings};
use crate::ask::{Ask, Form, Input, Sampling, ToolChoice};
use crate::refusal::Refusal;
use crate::wire::Wire;

/// As many as OpenAI takes.
const MOST_INPUTS: usize = 2048;

/// Reads the body of a request.
pub(crate) fn embeddings(body: Map<String, Value>) -> Result<Ask, Refusal> {
    let fields = Fields::whole(&body);
    if !matches!(
        fields.any_text("encoding_format")?,
        None | Some("float" | "base64")
    ) {
        return Err(fields.wrong("encoding_format", "must be float or base64"));
    }
    Ok(Ask {
        wire: Wire::Embeddings,
        model: settings::model(&fields)?,
        input: Input::Many(inputs(&fields)?),
        tools: Vec::new(),
        tool_choice: ToolChoice::Auto,
        single_call: false,
        form: Form::Text,
        sampling: Sampling::default(),
        max_tokens: None,
        stop: Vec::new(),
        choices: 1,
        logprobs: None,
        echo: false,
        effort: None,
        shows_thinking: false,
        user: settings::user(&fields, "user")?,
        metadata: settings::metadata(&fields)?,
        cache_salt: fields
            .any_text("cache_salt")?
            .unwrap_or_default()
            .to_owned(),
        dimensions: fields.positive("dimensions")?,
        betas: Vec::new(),
        stream: false,
        include_usage: false,
        needs: Vec::new(),
        body,
    })
}

/// A text, the ids of its tokens, or a list of either.
fn inputs(fields: &Fields<'_>) -> Result<Vec<Input>, Refusal> {
    let wrong = || {
        let message =
            format!("must be text, ids of tokens, or a list of up to {MOST_INPUTS} of them");
        fields.wrong("input", message)
    };
    let items = match fields.present("input") {
        None => return Err(fields.wrong("input", "is missing")),
        Some(Value::String(text)) => return Ok(vec![Input::Text(text.clone())]),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong()),
    };
    if let Some(Value::Number(_)) = items.first() {
        return Ok(vec![completions::tokens(items).ok_or_else(wrong)?]);
    }
    if items.is_empty() || items.len() > MOST_INPUTS {
        return Err(wrong());
    }
    let inputs = items.iter().map(|item| match item {
        Value::String(text) => Some(Input::Text(text.clone())),
        Value::Array(ids) => completions::tokens(ids),
        _ => None,
    });
    inputs.collect::<Option<_>>().ok_or_else(wrong)
}
