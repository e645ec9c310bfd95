//! One choice as it grows, with its log-probabilities in four lists: tokens, their log-probabilities,
//! the likeliest in their places, and where in the text each of them begins.

use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};
use weir_engine::model::Detokenizer;
use weir_worker_api as api;

use super::super::{
    logprobs::{number, own_number},
    response::finish_reason,
};
use crate::serving::Serving;

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

    pub fn object(mut self, index: u32) -> Told {
        self.take(index)
    }

    /// What has come since it was last taken.
    pub fn take(&mut self, index: u32) -> Told {
        Told {
            index,
            text: std::mem::take(&mut self.text),
            logprobs: self.logprobs.as_mut().map(Logprobs::take),
            finish_reason: self.finish.take(),
        }
    }
}

/// A choice, or what is new of it.
#[derive(Serialize)]
pub struct Told {
    index: u32,
    text: String,
    logprobs: Option<Lists>,
    finish_reason: Value,
}

struct Logprobs {
    serving: Arc<Serving>,
    scale: Scale,
    detokenizer: Detokenizer,
    /// Characters of the tokens so far.
    characters: usize,
    tokens: Vec<Placed>,
}

/// A token in its place.
struct Placed {
    /// As it is there: a word has its space before it.
    text: String,
    offset: usize,
    /// What is known of it as it came; nothing where it follows nothing.
    known: Option<api::Token>,
}

impl Logprobs {
    fn new(serving: Arc<Serving>, scale: Scale) -> Self {
        Self {
            detokenizer: serving.tokenizer.detokenizer(),
            serving,
            scale,
            characters: 0,
            tokens: Vec::new(),
        }
    }

    fn begin(&mut self, first: u32) {
        self.place(first, None);
    }

    fn push(&mut self, tokens: &[api::Token]) {
        for token in tokens {
            let others = token.alternatives.iter();
            let known = api::Token {
                id: token.id,
                evidence: token.evidence,
                alternatives: others.take(self.scale.alternatives).cloned().collect(),
                ..api::Token::default()
            };
            self.place(token.id, Some(known));
        }
    }

    fn place(&mut self, id: u32, known: Option<api::Token>) {
        let offset = self.characters;
        let text = match self.detokenizer.push(id) {
            Ok(text) if !text.is_empty() => {
                self.characters += text.chars().count();
                text
            }
            _ => self.serving.token_text(id),
        };
        self.tokens.push(Placed {
            text,
            offset,
            known,
        });
    }

    fn take(&mut self) -> Lists {
        Lists {
            serving: self.serving.clone(),
            tokens: std::mem::take(&mut self.tokens),
        }
    }
}

impl Placed {
    fn number(&self) -> Option<f64> {
        self.known.as_ref().map(own_number)
    }

    fn likeliest(&self, serving: &Serving) -> Option<Map<String, Value>> {
        let known = self.known.as_ref()?;
        let mut likeliest = Map::new();
        for other in &known.alternatives {
            let name = match other.id == known.id {
                true => self.text.clone(),
                false => serving.token_text(other.id),
            };
            // Of two tokens that look alike, the likelier is shown.
            likeliest
                .entry(name)
                .or_insert(number(other.logprob).into());
        }
        likeliest.insert(self.text.clone(), own_number(known).into());
        Some(likeliest)
    }
}

/// Tokens as they are written out: only then is spelled what could have been in their places, which
/// takes ten times as much.
struct Lists {
    serving: Arc<Serving>,
    tokens: Vec<Placed>,
}

impl Serialize for Lists {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tokens = || self.tokens.iter();
        let texts: Vec<&str> = tokens().map(|token| &*token.text).collect();
        let numbers: Vec<Option<f64>> = tokens().map(Placed::number).collect();
        let offsets: Vec<usize> = tokens().map(|token| token.offset).collect();
        let mut lists = serializer.serialize_map(Some(4))?;
        lists.serialize_entry("tokens", &texts)?;
        lists.serialize_entry("token_logprobs", &numbers)?;
        lists.serialize_entry("top_logprobs", &Likeliest(self))?;
        lists.serialize_entry("text_offset", &offsets)?;
        lists.end()
    }
}

struct Likeliest<'a>(&'a Lists);

impl Serialize for Likeliest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Lists { serving, tokens } = self.0;
        serializer.collect_seq(tokens.iter().map(|token| token.likeliest(serving)))
    }
}
