//! One choice as it grows, with its log-probabilities in four lists: tokens, their log-probabilities,
//! the likeliest in their places, and where in the text each of them begins.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use weir_engine::model::Detokenizer;
use weir_worker_api as api;

use super::super::response::{finish_reason, token_text};
use crate::serving::Serving;

/// An impossible token: JSON has no infinity, and sums should not break over one.
const LEAST_LOGPROB: f32 = -9999.0;

/// What tokens are shown with.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    pub alternatives: usize,
}

pub struct Choice {
    text: String,
    logprobs: Option<Logprobs>,
    finish: Value,
}

impl Choice {
    pub fn new(serving: &Arc<Serving>, scale: Option<Scale>) -> Self {
        Self {
            text: String::new(),
            logprobs: scale.map(|scale| Logprobs::new(serving.clone(), scale)),
            finish: Value::Null,
        }
    }

    /// Shows the prompt again, of which `first` is the first token.
    pub fn begin(&mut self, text: &str, first: u32) {
        self.text.push_str(text);
        if let Some(logprobs) = &mut self.logprobs {
            logprobs.begin(first);
        }
    }

    /// More tokens of the prompt, whose text is there already.
    pub fn read(&mut self, tokens: &[api::Token]) {
        if let Some(logprobs) = &mut self.logprobs {
            logprobs.push(tokens);
        }
    }

    pub fn grow(&mut self, tokens: &api::Tokens) {
        self.text.push_str(&tokens.text);
        self.read(&tokens.tokens);
    }

    pub fn finish(&mut self, finished: &api::Finished) {
        self.finish = finish_reason(finished.reason()).into();
    }

    pub fn is_empty(&self) -> bool {
        let unsaid = |logprobs: &Logprobs| logprobs.tokens.is_empty();
        self.text.is_empty() && self.finish.is_null() && self.logprobs.as_ref().is_none_or(unsaid)
    }

    pub fn object(mut self, index: u32) -> Value {
        self.take(index)
    }

    /// What has come since it was last taken.
    pub fn take(&mut self, index: u32) -> Value {
        json!({
            "index": index,
            "text": std::mem::take(&mut self.text),
            "logprobs": self.logprobs.as_mut().map(Logprobs::take),
            "finish_reason": self.finish.take(),
        })
    }
}

struct Logprobs {
    serving: Arc<Serving>,
    scale: Scale,
    detokenizer: Detokenizer,
    /// Characters of the tokens so far.
    characters: usize,
    tokens: Vec<Value>,
    logprobs: Vec<Value>,
    likeliest: Vec<Value>,
    offsets: Vec<Value>,
}

impl Logprobs {
    fn new(serving: Arc<Serving>, scale: Scale) -> Self {
        Self {
            detokenizer: serving.tokenizer.detokenizer(),
            serving,
            scale,
            characters: 0,
            tokens: Vec::new(),
            logprobs: Vec::new(),
            likeliest: Vec::new(),
            offsets: Vec::new(),
        }
    }

    fn begin(&mut self, first: u32) {
        let text = self.place(first);
        self.tokens.push(text.into());
        self.logprobs.push(Value::Null);
        self.likeliest.push(Value::Null);
    }

    fn push(&mut self, tokens: &[api::Token]) {
        for token in tokens {
            let text = self.place(token.id);
            let logprob = number(token.evidence.unwrap_or_default().logprob);
            let mut likeliest = Map::new();
            for other in token.alternatives.iter().take(self.scale.alternatives) {
                let name = match other.id == token.id {
                    true => text.clone(),
                    false => token_text(&self.serving, other.id),
                };
                // Of two tokens that look alike, the likelier is shown.
                likeliest.entry(name).or_insert(number(other.logprob));
            }
            likeliest.insert(text.clone(), logprob.clone());
            self.tokens.push(text.into());
            self.logprobs.push(logprob);
            self.likeliest.push(likeliest.into());
        }
    }

    /// Notes where a token begins, and gives its text there: a word has its space before it.
    fn place(&mut self, id: u32) -> String {
        self.offsets.push(self.characters.into());
        match self.detokenizer.push(id) {
            Ok(text) if !text.is_empty() => {
                self.characters += text.chars().count();
                text
            }
            _ => token_text(&self.serving, id),
        }
    }

    fn take(&mut self) -> Value {
        json!({
            "tokens": std::mem::take(&mut self.tokens),
            "token_logprobs": std::mem::take(&mut self.logprobs),
            "top_logprobs": std::mem::take(&mut self.likeliest),
            "text_offset": std::mem::take(&mut self.offsets),
        })
    }
}

fn number(logprob: f32) -> Value {
    f64::from(logprob.max(LEAST_LOGPROB)).into()
}
