//! `prompt_logprobs` of a chat: how likely the tokens of its prompt are, as vLLM tells it.

use serde_json::{Map, Value, json};
use weir_worker_api as api;

use super::{fields::Fields, response::token_text};
use crate::{refusal::Refusal, serving::Serving};

/// Bounds what one answer takes in memory, each with the text of its token.
const MOST_NUMBERS: usize = 300_000;

/// How many alternatives of each token are asked for.
pub fn asked(fields: &mut Fields, is_streamed: bool) -> Result<Option<u32>, Refusal> {
    let asked = fields.take("prompt_logprobs")?;
    match asked.is_some() && is_streamed {
        true => Err(Refusal::invalid("prompt_logprobs", "needs `stream: false`")),
        false => Ok(asked),
    }
}

/// For each token of a prompt what is known of it.
pub struct PromptLogprobs {
    alternatives: usize,
    tokens: Vec<Value>,
}

impl PromptLogprobs {
    pub fn new(alternatives: u32) -> Self {
        Self {
            alternatives: alternatives as usize,
            // The first follows nothing.
            tokens: vec![Value::Null],
        }
    }

    /// # Errors
    /// Where that is too much of a prompt of so many tokens.
    pub fn bound(&self, prompt_tokens: usize) -> Result<(), Refusal> {
        match prompt_tokens.saturating_mul(self.alternatives + 1) > MOST_NUMBERS {
            true => {
                let why = format!("asks for more than {MOST_NUMBERS} numbers in one answer");
                Err(Refusal::invalid("prompt_logprobs", why))
            }
            false => Ok(()),
        }
    }

    pub fn push(&mut self, serving: &Serving, tokens: &[api::Token]) {
        for token in tokens {
            let alternatives = (1_u32..).zip(&token.alternatives);
            let mut known = Map::new();
            for (rank, other) in alternatives.take(self.alternatives) {
                let told = one(serving, other.id, other.logprob, Some(rank));
                known.insert(other.id.to_string(), told);
            }
            let own = token.evidence.unwrap_or_default().logprob;
            // The rank of one that is none of the likeliest is not known.
            known
                .entry(token.id.to_string())
                .or_insert_with(|| one(serving, token.id, own, None));
            self.tokens.push(known.into());
        }
    }

    pub fn list(self) -> Value {
        self.tokens.into()
    }
}

fn one(serving: &Serving, id: u32, logprob: f32, rank: Option<u32>) -> Value {
    let text = token_text(serving, id);
    json!({ "logprob": f64::from(logprob), "rank": rank, "decoded_token": text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_numbers_than_an_answer_may_hold_are_refused_by_name() {
        let two = PromptLogprobs::new(2);
        assert_eq!(two.bound(MOST_NUMBERS / 3), Ok(()));
        let refused = two.bound(MOST_NUMBERS / 3 + 1).unwrap_err();
        assert_eq!(refused.field(), Some("prompt_logprobs"));
    }
}
