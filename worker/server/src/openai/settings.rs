//! The fields that say how an answer is written, which every request for one has in common.

use std::collections::HashMap;

use serde::Deserialize;
use weir_worker_api as api;

use super::fields::Fields;
use crate::refusal::Refusal;

/// Whether the answer is to be streamed, and with what it took at the end.
pub fn streaming(fields: &mut Fields) -> Result<(bool, bool), Refusal> {
    let stream = fields.take("stream")?.unwrap_or(false);
    let Some(options) = fields.take("stream_options")? else {
        return Ok((stream, false));
    };
    if !stream {
        return Err(Refusal::invalid("stream_options", "needs `stream: true`"));
    }
    let mut options = Fields::of("stream_options.", options)?;
    Ok((stream, options.take("include_usage")?.unwrap_or(false)))
}

pub fn sampling(fields: &mut Fields) -> Result<api::Sampling, Refusal> {
    let bias: HashMap<String, f32> = fields.take("logit_bias")?.unwrap_or_default();
    let bias = bias.into_iter().map(|(id, value)| {
        let id = id.parse().map_err(|_| {
            let why = format!("names `{id}`, which is not a token id");
            Refusal::invalid("logit_bias", why)
        })?;
        Ok((id, value))
    });
    Ok(api::Sampling {
        temperature: fields.take("temperature")?,
        top_k: fields.take("top_k")?,
        top_p: fields.take("top_p")?,
        min_p: fields.take("min_p")?,
        typical_p: fields.take("typical_p")?,
        repetition_penalty: fields.take("repetition_penalty")?,
        presence_penalty: fields.take("presence_penalty")?,
        frequency_penalty: fields.take("frequency_penalty")?,
        seed: fields.take::<i64>("seed")?.map(i64::cast_unsigned),
        logit_bias: bias.collect::<Result<_, Refusal>>()?,
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

pub fn limits(fields: &mut Fields) -> Result<api::Limits, Refusal> {
    // The older name counts only where the newer one is absent.
    let older = fields.take("max_tokens")?;
    let max_tokens = fields.take("max_completion_tokens")?.or(older);
    let stop = match fields.take("stop")? {
        None => Vec::new(),
        Some(OneOrMany::One(stop)) => vec![stop],
        Some(OneOrMany::Many(stop)) => stop,
    };
    Ok(api::Limits {
        max_tokens,
        min_tokens: fields.take("min_tokens")?,
        stop,
        stop_token_ids: fields.take("stop_token_ids")?.unwrap_or_default(),
        ignore_eos: fields.take("ignore_eos")?.unwrap_or(false),
    })
}
