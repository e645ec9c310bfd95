//! Completions: the older wire, on which a prompt is text or token ids and is continued.
//!
//! It is the only one that tells how likely a prompt is, which is what evaluations ask for.

mod choice;
mod stream;
mod whole;

use axum::{body::Body, extract::State, response::Response};
use weir_worker_api::{self as api, prompt::Form};

use self::choice::{Choice, Scale};
use super::{
    Wire,
    error::WireError,
    fields::Fields,
    form, noting, parse,
    prompts::{most_tokens, prompt_bytes, prompts},
    read,
    settings::{limits, sampling, streaming},
    written::written,
};
use crate::{
    refusal::Refusal,
    serving::{
        Serving,
        gathered::{Gathered, Numbers},
    },
};

/// More than an evaluation sends at once.
const MOST_PROMPTS: usize = 256;
/// Streamed answers all have their place in the queue before the first event.
const MOST_STREAMED: usize = 16;
/// What this wire writes where nothing is said.
const MAX_TOKENS: u32 = 16;

/// A request, in the contract's words.
#[derive(Debug)]
struct Completion {
    model: String,
    prompts: Vec<Form>,
    /// Without its prompt.
    generate: api::GenerateRequest,
    form_field: Option<&'static str>,
    echo: bool,
    logprobs: Option<u32>,
    stream: bool,
    include_usage: bool,
    dropped: Vec<String>,
}

pub async fn completions(State(wire): State<Wire>, body: Body) -> Result<Response, WireError> {
    let Wire { serving, reading } = wire;
    let named = |refusal| WireError::named(refusal, on_this_wire);
    let (body, place) = read(&reading, body).await?;
    let mut asked = Completion::decode(&body).map_err(named)?;
    drop(body);
    let mut room = place.parsed();
    let dropped = std::mem::take(&mut asked.dropped);
    let form_field = asked.form_field;
    let named = |refusal: Refusal| {
        named(refusal.with_field_named(|field| match form_field {
            Some(name) if field == "constraint" => name.to_owned(),
            _ => field.to_owned(),
        }))
    };
    let response = match asked.stream {
        true => stream::answer(serving, asked, room).await.map_err(named)?,
        false => {
            // A single prompt has its place in the queue.
            if asked.prompts.len() > 1 {
                room.keep(asked.bytes())?;
            }
            let answer = whole::answer(&serving, asked, room).await.map_err(named)?;
            written(&serving.sending, answer).await?
        }
    };
    Ok(noting(response, &dropped))
}

/// What a field of the contract is called here.
fn on_this_wire(field: &str) -> String {
    match field {
        "prompt.tokens" => "prompt",
        "choices" => "n",
        "top_logprobs" | "prompt_logprobs" => "logprobs",
        other => other
            .strip_prefix("sampling.")
            .or_else(|| other.strip_prefix("limits."))
            .unwrap_or(other),
    }
    .to_owned()
}

impl Completion {
    fn decode(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields = Fields::of("", parse(body)?)?;
        let model = fields.need_model()?;
        if let Some(suffix) = fields.take::<String>("suffix")?
            && !suffix.is_empty()
        {
            return Err(Refusal::unsupported("suffix"));
        }
        let choices = fields.take("n")?.unwrap_or(1);
        if choices == 0 {
            return Err(Refusal::invalid("n", "must be at least 1"));
        }
        // As many as are answered are the best of themselves.
        if let Some(best_of) = fields.take::<u32>("best_of")?
            && best_of != choices
        {
            return Err(Refusal::unsupported("best_of"));
        }
        let (stream, include_usage) = streaming(&mut fields)?;
        let echo = fields.take("echo")?.unwrap_or(false);
        let logprobs = fields.take("logprobs")?;
        let mut limits = limits(&mut fields)?;
        limits.max_tokens = limits.max_tokens.or(Some(MAX_TOKENS));
        let is_read_only = echo && limits.max_tokens == Some(0);
        let (form_field, form) = form::form(&mut fields)?.unzip();
        let completion = Self {
            prompts: prompts(&mut fields, "prompt", MOST_PROMPTS)?,
            generate: api::GenerateRequest {
                model: model.clone(),
                sampling: Some(sampling(&mut fields)?),
                limits: Some(limits),
                constraint: form.map(|form| api::Constraint { form: Some(form) }),
                choices,
                top_logprobs: logprobs.unwrap_or(0),
                prompt_logprobs: match logprobs {
                    Some(_) if echo => logprobs,
                    _ => is_read_only.then_some(0),
                },
                cache_salt: fields.take("cache_salt")?.unwrap_or_default(),
                ..api::GenerateRequest::default()
            },
            model,
            form_field,
            echo,
            logprobs,
            stream,
            include_usage,
            dropped: fields.rest(),
        };
        completion.checked()
    }

    fn checked(self) -> Result<Self, Refusal> {
        let choices = self.generate.choices;
        let answers = self.prompts.len().saturating_mul(choices as usize);
        if self.stream && answers > MOST_STREAMED {
            let why = format!("and prompts ask for {answers} streams, more than {MOST_STREAMED}");
            return Err(Refusal::invalid("n", why));
        }
        if self.echo {
            // How long token ids are is found out when they are read.
            let texts = self.prompts.iter().filter_map(|prompt| match prompt {
                Form::Text(text) => Some(text.len()),
                _ => None,
            });
            self.gathered().echo(texts.sum(), choices as usize)?;
        }
        if self.stream && self.echo && self.logprobs.is_some() && choices > 1 {
            let why = "must be 1 where a prompt with its log-probabilities is streamed";
            return Err(Refusal::invalid("n", why));
        }
        Ok(self)
    }

    /// Of its prompts.
    fn bytes(&self) -> usize {
        self.prompts.iter().map(prompt_bytes).sum()
    }

    /// What its prompts take at most where they are shown with each choice, with what is told of their
    /// tokens.
    fn shown_bytes(&self, serving: &Serving) -> usize {
        let longest = serving.most_prompt_bytes / serving.engine.context_tokens().max(1);
        // A number with the id of its token.
        let each = self
            .scale()
            .map_or(0, |scale| 16 * (scale.alternatives + 1));
        let prompts = self.prompts.iter().map(|prompt| match prompt {
            // Most tokens have some four bytes.
            Form::Text(text) => text.len() + text.len() / 4 * each,
            other => most_tokens(other).saturating_mul(longest + each),
        });
        prompts
            .sum::<usize>()
            .saturating_mul(self.generate.choices as usize)
    }

    fn request(&self, prompt: &Form) -> api::GenerateRequest {
        api::GenerateRequest {
            prompt: Some(api::Prompt {
                form: Some(prompt.clone()),
            }),
            ..self.generate.clone()
        }
    }

    /// What is shown of tokens that are sent as one, the prompt's with each choice again.
    fn gathered(&self) -> Gathered {
        let each_choice = self.generate.choices as usize;
        let written = self.scale().map(|scale| Numbers {
            each: (scale.alternatives + 1).saturating_mul(each_choice),
            field: "logprobs",
        });
        let written = written.unwrap_or_default();
        let read = if self.echo {
            written
        } else {
            Numbers::default()
        };
        Gathered::new(read, written)
    }

    /// What each token is shown with, where anything is.
    fn scale(&self) -> Option<Scale> {
        self.logprobs.map(|alternatives| Scale {
            alternatives: alternatives as usize,
        })
    }
}

/// A prompt as it is shown again.
fn prompt_text(serving: &Serving, prompt: Form, ids: &[u32]) -> Result<String, Refusal> {
    match prompt {
        Form::Text(text) => Ok(text),
        _ => serving
            .tokenizer
            .decode(ids)
            .map_err(|_| Refusal::Internal {
                step: "showing the prompt",
            }),
    }
}
