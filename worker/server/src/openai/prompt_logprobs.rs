//! `prompt_logprobs` of a chat: how likely the tokens of its prompt are, as vLLM tells it.

use std::{iter::once, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeMap};
use weir_worker_api as api;

use super::{
    fields::Fields,
    logprobs::{number, own_number},
};
use crate::{refusal::Refusal, serving::Serving};

/// How many alternatives of each token are asked for.
pub fn asked(fields: &mut Fields, is_streamed: bool) -> Result<Option<u32>, Refusal> {
    let asked = fields.take("prompt_logprobs")?;
    match asked.is_some() && is_streamed {
        true => Err(Refusal::invalid("prompt_logprobs", "needs `stream: false`")),
        false => Ok(asked),
    }
}

/// Tokens of a prompt, as they came, without its first.
pub struct PromptLogprobs {
    serving: Arc<Serving>,
    tokens: Vec<api::Token>,
}

impl PromptLogprobs {
    pub fn of(serving: &Arc<Serving>) -> Self {
        Self {
            serving: serving.clone(),
            tokens: Vec::new(),
        }
    }

    pub fn extend(&mut self, tokens: Vec<api::Token>) {
        self.tokens.extend(tokens);
    }
}

impl Serialize for PromptLogprobs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let serving = &*self.serving;
        let known = self.tokens.iter().map(|token| Known { serving, token });
        // The first follows nothing.
        serializer.collect_seq(once(None).chain(known.map(Some)))
    }
}

/// What is known of a token: by their ids, itself and those that could have been in its place.
struct Known<'a> {
    serving: &'a Serving,
    token: &'a api::Token,
}

#[derive(Serialize)]
struct Told {
    logprob: f64,
    rank: Option<u32>,
    decoded_token: String,
}

impl Serialize for Known<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = |id, logprob, rank| Told {
            logprob,
            rank,
            decoded_token: self.serving.token_text(id),
        };
        let (own, others) = (self.token, &self.token.alternatives);
        let mut known = serializer.serialize_map(None)?;
        for (rank, other) in (1..).zip(others) {
            let other_told = told(other.id, number(other.logprob), Some(rank));
            known.serialize_entry(&other.id, &other_told)?;
        }
        // The rank of one that is none of the likeliest is not known.
        if others.iter().all(|other| other.id != own.id) {
            known.serialize_entry(&own.id, &told(own.id, own_number(own), None))?;
        }
        known.end()
    }
}
