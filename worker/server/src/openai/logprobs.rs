//! `logprobs` of a chat: how likely the tokens of its answer are.
//!
//! Tokens are kept as they came and spelled where they are written out: what is shown of each, and of
//! each that could have been in its place, takes ten times as much.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use weir_worker_api as api;

use crate::serving::Serving;

/// An impossible token: JSON has no infinity, and sums should not break over one.
const LEAST_LOGPROB: f32 = -9999.0;

/// A log-probability as it is shown.
pub fn number(logprob: f32) -> f64 {
    logprob.max(LEAST_LOGPROB).into()
}

/// That of a token itself.
pub fn own_number(token: &api::Token) -> f64 {
    number(token.evidence.unwrap_or_default().logprob)
}

#[derive(Serialize)]
pub struct Logprobs {
    content: Content,
    /// Nobody refuses here.
    refusal: (),
}

struct Content {
    serving: Arc<Serving>,
    tokens: Vec<api::Token>,
}

impl Logprobs {
    /// Of the tokens that have text; those that steer the model have none.
    pub fn of(serving: &Arc<Serving>, mut tokens: Vec<api::Token>) -> Self {
        tokens.retain(|token| !serving.eos.contains(&token.id));
        let serving = serving.clone();
        Self {
            content: Content { serving, tokens },
            refusal: (),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.content.tokens.is_empty()
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = |id, logprob| Told::of(&self.serving, id, logprob);
        serializer.collect_seq(self.tokens.iter().map(|token| {
            let others = token.alternatives.iter();
            Written {
                own: told(token.id, own_number(token)),
                top_logprobs: others
                    .map(|other| told(other.id, number(other.logprob)))
                    .collect(),
            }
        }))
    }
}

#[derive(Serialize)]
struct Written {
    #[serde(flatten)]
    own: Told,
    top_logprobs: Vec<Told>,
}

#[derive(Serialize)]
struct Told {
    token: String,
    logprob: f64,
    bytes: Option<Vec<u8>>,
}

impl Told {
    fn of(serving: &Serving, id: u32, logprob: f64) -> Self {
        let token = serving.token_text(id);
        // Half a character has no bytes that this wire could show.
        let whole = !token.contains(char::REPLACEMENT_CHARACTER);
        Self {
            bytes: whole.then(|| token.clone().into_bytes()),
            token,
            logprob,
        }
    }
}
