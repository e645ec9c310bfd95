//! Checks a request to generate, field by field, and turns it into settings that cannot be wrong.
//!
//! What this worker cannot do is refused by the name of the field, never ignored.

use weir_engine::{
    Penalties, Sampling, WritingLimits,
    model::{GenerationDefaults, ModelFacts},
};
use weir_worker_api as api;

use crate::refusal::Refusal;

/// As on the OpenAI wire.
const MOST_ALTERNATIVES: u32 = 20;
/// More answers to one prompt than anybody reads, and each takes a place in the queue.
const MOST_CHOICES: u32 = 16;
/// Bounds the text that is held back, and the time to look through it.
const MOST_STOPS: usize = 16;
const LONGEST_STOP_BYTES: usize = 1024;
/// Each is looked for among all tokens, with every token that is written.
const MOST_STOP_TOKENS: usize = 64;
/// Each is added with every token that is written.
const MOST_BIASES: usize = 1024;

/// The settings of a request, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    pub sampling: Sampling,
    pub penalties: Penalties,
    /// Unset: the worker draws one.
    pub seed: Option<u64>,
    pub limits: WritingLimits,
    pub stop: Vec<String>,
    pub choices: u32,
    pub alternatives: usize,
    pub prompt_alternatives: Option<usize>,
}

pub struct Checker<'a> {
    pub defaults: &'a GenerationDefaults,
    pub facts: &'a ModelFacts,
    /// Tokens with which the model ends its turn.
    pub eos: &'a [u32],
}

impl Checker<'_> {
    pub fn check(&self, request: &api::GenerateRequest) -> Result<Settings, Refusal> {
        let sampling = request.sampling.clone().unwrap_or_default();
        let limits = request.limits.clone().unwrap_or_default();
        Ok(Settings {
            sampling: self.sampling(&sampling)?,
            penalties: self.penalties(&sampling)?,
            seed: sampling.seed,
            limits: self.limits(&limits, request.prompt_logprobs.is_some())?,
            stop: stops(limits.stop)?,
            choices: at_most("choices", request.choices.max(1), MOST_CHOICES)?,
            alternatives: at_most("top_logprobs", request.top_logprobs, MOST_ALTERNATIVES)?
                as usize,
            prompt_alternatives: prompt_alternatives(request)?,
        })
    }

    fn sampling(&self, asked: &api::Sampling) -> Result<Sampling, Refusal> {
        let free = Sampling::default();
        let defaults = self.defaults;
        let temperature = asked.temperature.or(defaults.temperature);
        let top_k = asked.top_k.or(defaults.top_k);
        let top_p = asked.top_p.or(defaults.top_p);
        let min_p = asked.min_p.or(defaults.min_p);
        let typical_p = asked.typical_p.or(defaults.typical_p);
        Ok(Sampling {
            temperature: within(
                "sampling.temperature",
                temperature.unwrap_or(free.temperature),
                0.0..=2.0,
            )?,
            top_k: top_k.map_or(free.top_k, |k| k as usize),
            top_p: within("sampling.top_p", top_p.unwrap_or(free.top_p), 0.0..=1.0)?,
            min_p: within("sampling.min_p", min_p.unwrap_or(free.min_p), 0.0..=1.0)?,
            typical_p: within(
                "sampling.typical_p",
                typical_p.unwrap_or(free.typical_p),
                0.0..=1.0,
            )?,
        })
    }

    fn penalties(&self, asked: &api::Sampling) -> Result<Penalties, Refusal> {
        let none = Penalties::default();
        let repetition = asked
            .repetition_penalty
            .or(self.defaults.repetition_penalty)
            .unwrap_or(none.repetition);
        let presence = asked.presence_penalty.unwrap_or(none.presence);
        let frequency = asked.frequency_penalty.unwrap_or(none.frequency);
        no_more_than("sampling.logit_bias", asked.logit_bias.len(), MOST_BIASES)?;
        let mut bias = Vec::with_capacity(asked.logit_bias.len());
        for (id, value) in &asked.logit_bias {
            self.known_token("sampling.logit_bias", *id)?;
            bias.push((*id, within("sampling.logit_bias", *value, -100.0..=100.0)?));
        }
        // A map has no order, and the order of additions must not matter.
        bias.sort_by_key(|(id, _)| *id);
        Ok(Penalties {
            repetition: within("sampling.repetition_penalty", repetition, 0.01..=100.0)?,
            presence: within("sampling.presence_penalty", presence, -2.0..=2.0)?,
            frequency: within("sampling.frequency_penalty", frequency, -2.0..=2.0)?,
            bias: bias.into(),
        })
    }

    /// Nothing is written only where the prompt is to be scored.
    fn limits(&self, asked: &api::Limits, is_scored: bool) -> Result<WritingLimits, Refusal> {
        if asked.max_tokens == Some(0) && !is_scored {
            return Err(Refusal::invalid("limits.max_tokens", "must be at least 1"));
        }
        let max_tokens = asked.max_tokens.map_or(usize::MAX, |most| most as usize);
        let min_tokens = asked.min_tokens.map_or(0, |least| least as usize);
        if min_tokens > max_tokens {
            return Err(Refusal::invalid(
                "limits.min_tokens",
                format!("is {min_tokens}, more than `limits.max_tokens`"),
            ));
        }
        let mut ends: Vec<u32> = Vec::new();
        if !asked.ignore_eos {
            ends.extend(self.eos);
        }
        let field = "limits.stop_token_ids";
        no_more_than(field, asked.stop_token_ids.len(), MOST_STOP_TOKENS)?;
        for id in &asked.stop_token_ids {
            self.known_token(field, *id)?;
            ends.push(*id);
        }
        ends.sort_unstable();
        ends.dedup();
        Ok(WritingLimits {
            max_tokens,
            min_tokens,
            ends: ends.into(),
        })
    }

    fn known_token(&self, field: &str, id: u32) -> Result<(), Refusal> {
        check_token(field, id, self.facts.vocabulary)
    }
}

/// Refuses a token id that the model has no row for.
pub fn check_token(field: &str, id: u32, vocabulary: u32) -> Result<(), Refusal> {
    if id < vocabulary {
        return Ok(());
    }
    Err(Refusal::invalid(
        field,
        format!("names token {id}, but the vocabulary has {vocabulary}"),
    ))
}

fn prompt_alternatives(request: &api::GenerateRequest) -> Result<Option<usize>, Refusal> {
    let field = "prompt_logprobs";
    let Some(asked) = request.prompt_logprobs else {
        return Ok(None);
    };
    if request.resume.is_some() {
        let why = "was answered where the answer was begun, and cannot be again";
        return Err(Refusal::invalid(field, why));
    }
    at_most(field, asked, MOST_ALTERNATIVES).map(|asked| Some(asked as usize))
}

fn stops(stops: Vec<String>) -> Result<Vec<String>, Refusal> {
    let field = "limits.stop";
    no_more_than(field, stops.len(), MOST_STOPS)?;
    if stops.iter().any(String::is_empty) {
        return Err(Refusal::invalid(field, "has an empty string"));
    }
    if stops.iter().any(|stop| stop.len() > LONGEST_STOP_BYTES) {
        let why = format!("has a string of more than {LONGEST_STOP_BYTES} bytes");
        return Err(Refusal::invalid(field, why));
    }
    Ok(stops)
}

fn no_more_than(field: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count <= most {
        return Ok(());
    }
    let why = format!("has {count} entries; at most {most} are taken");
    Err(Refusal::invalid(field, why))
}

fn within(field: &str, value: f32, range: std::ops::RangeInclusive<f32>) -> Result<f32, Refusal> {
    // Not a number is in no range.
    if range.contains(&value) {
        return Ok(value);
    }
    let why = format!("is {value}, not from {} to {}", range.start(), range.end());
    Err(Refusal::invalid(field, why))
}

fn at_most(field: &str, value: u32, most: u32) -> Result<u32, Refusal> {
    if value <= most {
        return Ok(value);
    }
    Err(Refusal::invalid(
        field,
        format!("is {value}, more than {most}"),
    ))
}
