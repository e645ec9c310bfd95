//! Text to token ids and back, in the shapes of vLLM.

use std::sync::Arc;

use axum::{body::Body, extract::State, response::Response};
use serde_json::json;
use weir_worker_api::{self as api, prompt::Form};

use super::{
    Wire, error::WireError, fields::Fields, parse, read, request::conversation, tools,
    written::written,
};
use crate::{refusal::Refusal, serving::Serving};

pub async fn tokenize(State(wire): State<Wire>, body: Body) -> Result<Response, WireError> {
    let Wire { serving, reading } = wire;
    let (body, place) = read(&reading, body).await?;
    let mut fields = Fields::of("", parse(&body)?)?;
    drop(body);
    let _room = place.parsed();
    // What is wrong with the request itself is named as it stands there.
    let request =
        request(&mut fields).map_err(|refusal| WireError::named(refusal, str::to_owned))?;
    let wants_text = fields.take("return_token_strs")?.unwrap_or(false);
    nothing_else(&fields)?;
    let is_text =
        matches!(&request.prompt, Some(prompt) if matches!(prompt.form, Some(Form::Text(_))));
    let ids = serving.tokenize(request).await;
    let ids = ids.map_err(|refusal| match is_text {
        true => WireError::named(refusal, str::to_owned),
        false => refusal.into(),
    })?;
    let answer = json!({
        "count": ids.len(),
        "max_model_len": serving.engine.context_tokens(),
        "tokens": ids,
        "token_strs": wants_text.then(|| spelled(&serving, &ids)),
    });
    Ok(written(&serving.sending, answer).await?)
}

fn request(fields: &mut Fields) -> Result<api::TokenizeRequest, Refusal> {
    let model = fields.take("model")?.unwrap_or_default();
    let form = match fields.take("prompt")? {
        Some(prompt) => Form::Text(prompt),
        None if fields.has("messages") => {
            let mut chat = conversation(fields)?;
            tools::offer(fields, &mut chat)?;
            Form::Chat(chat)
        }
        None => {
            return Err(Refusal::invalid(
                "prompt",
                "is missing, and so is `messages`",
            ));
        }
    };
    Ok(api::TokenizeRequest {
        model,
        prompt: Some(api::Prompt { form: Some(form) }),
        add_special_tokens: fields.take("add_special_tokens")?,
        add_generation_prompt: fields.take("add_generation_prompt")?,
    })
}

fn spelled(serving: &Arc<Serving>, ids: &[u32]) -> Vec<String> {
    let spelled = ids.iter().map(|id| serving.tokenizer.spelling(*id));
    spelled.map(Option::unwrap_or_default).collect()
}

pub async fn detokenize(State(wire): State<Wire>, body: Body) -> Result<Response, WireError> {
    let Wire { serving, reading } = wire;
    let (body, place) = read(&reading, body).await?;
    let mut fields = Fields::of("", parse(&body)?)?;
    drop(body);
    let _room = place.parsed();
    let model: String = fields.take("model")?.unwrap_or_default();
    let tokens = fields.need("tokens")?;
    nothing_else(&fields)?;
    let text = serving.detokenize(&model, tokens).await?;
    Ok(written(&serving.sending, json!({ "prompt": text })).await?)
}

/// Nothing here only advises: another field would change what the answer is.
fn nothing_else(fields: &Fields) -> Result<(), Refusal> {
    match fields.rest().first() {
        Some(field) => Err(Refusal::unsupported(field)),
        None => Ok(()),
    }
}
