//! The fields that say how an answer is drawn and where it ends; OpenAI's wires and the open
//! servers' share their names.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::Fields;
use crate::ask::Sampling;
use crate::refusal::Refusal;

/// Longer than any text that somebody waits for in an answer.
const LONGEST_STOP_BYTES: usize = 1024;
/// Four is what OpenAI takes; open servers take more.
const MOST_STOPS: usize = 16;
const MOST_STOP_IDS: usize = 256;
/// As many as OpenAI takes, and some.
const MOST_BIASES: usize = 1024;
const MOST_METADATA: usize = 64;
/// What is logged and answered of a request is bounded by this.
const LONGEST_MODEL_BYTES: usize = 256;
/// More than any server writes at once.
const MOST_CHOICES: u32 = 128;

pub(super) fn model(fields: &Fields<'_>) -> Result<String, Refusal> {
    let model = fields.text("model")?;
    if model.len() > LONGEST_MODEL_BYTES {
        let message = format!("must be at most {LONGEST_MODEL_BYTES} bytes long");
        return Err(Refusal::field("model", message));
    }
    Ok(model.to_owned())
}

pub(super) fn sampling(fields: &Fields<'_>) -> Result<Sampling, Refusal> {
    Ok(Sampling {
        temperature: fields.number("temperature", 0.0, 2.0)?,
        top_p: fields.number("top_p", 0.0, 1.0)?,
        top_k: fields.count("top_k")?,
        min_p: fields.number("min_p", 0.0, 1.0)?,
        typical_p: fields.number("typical_p", 0.0, 1.0)?,
        repetition_penalty: fields.number("repetition_penalty", 0.01, 10.0)?,
        presence_penalty: fields.number("presence_penalty", -2.0, 2.0)?,
        frequency_penalty: fields.number("frequency_penalty", -2.0, 2.0)?,
        // A negative seed is a seed like any other.
        seed: match fields.present("seed") {
            None => None,
            Some(seed) => Some(
                seed.as_u64()
                    .or_else(|| seed.as_i64().map(i64::cast_unsigned))
                    .ok_or_else(|| fields.wrong("seed", "must be a whole number"))?,
            ),
        },
        logit_bias: logit_bias(fields)?,
        min_tokens: fields.count("min_tokens")?,
        stop_token_ids: stop_token_ids(fields)?,
        ignore_eos: fields.flag("ignore_eos")?,
    })
}

fn logit_bias(fields: &Fields<'_>) -> Result<BTreeMap<u32, f32>, Refusal> {
    let Some(value) = fields.present("logit_bias") else {
        return Ok(BTreeMap::new());
    };
    let Value::Object(biases) = value else {
        return Err(fields.wrong("logit_bias", "must be an object"));
    };
    if biases.len() > MOST_BIASES {
        let message = format!("must have at most {MOST_BIASES} entries");
        return Err(fields.wrong("logit_bias", message));
    }
    let bias = |(token, bias): (&String, &Value)| {
        let token = token.parse::<u32>().ok()?;
        let bias = bias
            .as_f64()
            .filter(|bias| (-100.0..=100.0).contains(bias))?;
        #[allow(clippy::cast_possible_truncation, reason = "a bias needs no more")]
        Some((token, bias as f32))
    };
    let biases: Option<BTreeMap<u32, f32>> = biases.iter().map(bias).collect();
    biases.ok_or_else(|| {
        let message = "must map ids of tokens to numbers from -100 to 100";
        fields.wrong("logit_bias", message)
    })
}

fn stop_token_ids(fields: &Fields<'_>) -> Result<Vec<u32>, Refusal> {
    let ids = fields.list("stop_token_ids")?.unwrap_or_default();
    let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids: Option<Vec<u32>> = ids.iter().map(id).collect();
    let ids = ids.filter(|ids| ids.len() <= MOST_STOP_IDS);
    ids.ok_or_else(|| {
        let message = format!("must be a list of up to {MOST_STOP_IDS} ids of tokens");
        fields.wrong("stop_token_ids", message)
    })
}

/// A text, or a list of them, at `field`.
pub(super) fn stop(fields: &Fields<'_>, field: &str) -> Result<Vec<String>, Refusal> {
    let wrong = || {
        let message = format!("must be a string or a list of up to {MOST_STOPS} strings");
        fields.wrong(field, message)
    };
    let checked = |at: String, stop: &str| match stop.len() {
        1..=LONGEST_STOP_BYTES => Ok(stop.to_owned()),
        _ => {
            let message = format!("must be between 1 and {LONGEST_STOP_BYTES} bytes long");
            Err(Refusal::field(at, message))
        }
    };
    match fields.present(field) {
        None => Ok(Vec::new()),
        Some(Value::String(stop)) => Ok(vec![checked(fields.path(field), stop)?]),
        Some(Value::Array(stops)) if stops.len() <= MOST_STOPS => {
            let stops = stops.iter().enumerate().map(|(index, stop)| {
                let at = format!("{}[{index}]", fields.path(field));
                checked(at, stop.as_str().ok_or_else(wrong)?)
            });
            stops.collect()
        }
        Some(_) => Err(wrong()),
    }
}

/// How many answers are wanted.
pub(super) fn choices(fields: &Fields<'_>) -> Result<u32, Refusal> {
    match fields.present("n").map(Value::as_u64) {
        None => Ok(1),
        Some(Some(n)) if (1..=u64::from(MOST_CHOICES)).contains(&n) => Ok(n as u32),
        Some(_) => {
            let message = format!("must be a whole number from 1 to {MOST_CHOICES}");
            Err(fields.wrong("n", message))
        }
    }
}

pub(super) fn include_usage(fields: &Fields<'_>) -> Result<bool, Refusal> {
    match fields.object("stream_options")? {
        None => Ok(false),
        Some(options) => options.flag("include_usage"),
    }
}

/// Whoever asks, for providers that want to know their abusers apart.
pub(super) fn user(fields: &Fields<'_>, field: &str) -> Result<Option<String>, Refusal> {
    Ok(fields.any_text(field)?.map(str::to_owned))
}

/// Texts by name, for rules; other values are no metadata but are let through where they are
/// carried.
pub(super) fn metadata(fields: &Fields<'_>) -> Result<BTreeMap<String, String>, Refusal> {
    let Some(value) = fields.present("metadata") else {
        return Ok(BTreeMap::new());
    };
    let Value::Object(entries) = value else {
        return Err(fields.wrong("metadata", "must be an object"));
    };
    if entries.len() > MOST_METADATA {
        let message = format!("must have at most {MOST_METADATA} entries");
        return Err(fields.wrong("metadata", message));
    }
    let texts = entries.iter();
    let texts = texts.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    Ok(texts.collect())
}
