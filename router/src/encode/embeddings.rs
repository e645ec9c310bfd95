//! Vectors, as numbers or as their bytes.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::gathered::Gathered;
use super::{About, Voice, data};
use crate::answer::{Begin, End, Piece};
use crate::ask::Ask;
use crate::refusal::{Family, Refusal};

pub(super) struct Embeddings {
    about: About,
    as_bytes: bool,
}

impl Embeddings {
    pub fn new(about: About, ask: &Ask) -> Self {
        let format = ask.body.get("encoding_format");
        Self {
            about,
            as_bytes: format.is_some_and(|format| format == "base64"),
        }
    }

    /// Written by hand: as JSON values, numbers would take ten times their memory.
    fn vector(&self, vector: &[f32]) -> String {
        if self.as_bytes {
            let bytes: Vec<u8> = vector
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            return format!("\"{}\"", STANDARD.encode(bytes));
        }
        let mut text = String::from("[");
        for (index, value) in vector.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            // What is no number has no form in JSON; a vector of a model holds none.
            let value = if value.is_finite() { *value } else { 0.0 };
            write!(text, "{comma}{value}").expect("writing to a string cannot fail");
        }
        text.push(']');
        text
    }
}

impl Voice for Embeddings {
    /// Nobody asks for a stream of them.
    fn begin(&mut self, _: &Begin) -> String {
        String::new()
    }

    fn piece(&mut self, _: Piece) -> String {
        String::new()
    }

    fn end(&mut self, _: End) -> String {
        String::new()
    }

    fn fail(&mut self, refusal: &Refusal) -> String {
        data(&refusal.body_on(Family::OpenAI))
    }

    fn ping(&self) -> &'static str {
        ": ping\n\n"
    }

    fn whole(&mut self, gathered: Gathered, end: &End) -> String {
        let choice = gathered.choices.into_iter().next().unwrap_or_default();
        let vectors = choice.vectors.iter().enumerate().map(|(index, vector)| {
            let vector = self.vector(vector);
            format!("{{\"object\":\"embedding\",\"index\":{index},\"embedding\":{vector}}}")
        });
        let vectors: Vec<String> = vectors.collect();
        let usage = json!({
            "prompt_tokens": end.usage.prompt, "total_tokens": end.usage.prompt,
        });
        let model = json!(self.about.model);
        let vectors = vectors.join(",");
        format!("{{\"object\":\"list\",\"data\":[{vectors}],\"model\":{model},\"usage\":{usage}}}")
    }
}
