//! Vectors, as numbers or as their bytes.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::gathered::Gathered;
use super::{About, Content, Voice, data};
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

    fn gather(&mut self, piece: &mut Piece) -> usize {
        piece.native = None;
        0
    }

    /// Written as it is sent: as text the vectors take three times their memory.
    fn whole(&mut self, gathered: Gathered, end: &End) -> Content {
        let choice = gathered.choices.into_iter().next().unwrap_or_default();
        let usage = json!({
            "prompt_tokens": end.usage.prompt, "total_tokens": end.usage.prompt,
        });
        let model = json!(self.about.model);
        let as_bytes = self.as_bytes;
        let vectors = choice.vectors.into_iter().enumerate();
        let vectors = vectors.map(move |(index, vector)| {
            let comma = if index == 0 { "" } else { "," };
            let vector = written(&vector, as_bytes);
            format!("{comma}{{\"object\":\"embedding\",\"index\":{index},\"embedding\":{vector}}}")
        });
        let begin = std::iter::once("{\"object\":\"list\",\"data\":[".to_owned());
        let end = std::iter::once(format!("],\"model\":{model},\"usage\":{usage}}}"));
        Content::Parts(Box::new(begin.chain(vectors).chain(end)))
    }
}

/// Written by hand: as JSON values, numbers would take ten times their memory.
fn written(vector: &[f32], as_bytes: bool) -> String {
    if as_bytes {
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
