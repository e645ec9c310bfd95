//! The vectors that an endpoint made, read as a whole.

use std::fmt::{self, Formatter};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::Number;

use super::reader::MOST_TOKENS;
use crate::answer::{Piece, Stop, Usage};
use crate::attempt::Finish;

/// As it is told; numbers are read as what they become, since as values they would take eight times
/// the memory.
#[derive(Deserialize)]
struct Answer {
    data: Vec<Entry>,
    usage: Option<Counted>,
}

#[derive(Deserialize)]
struct Entry {
    index: usize,
    embedding: Numbers,
}

#[derive(Deserialize)]
struct Counted {
    prompt_tokens: Option<Number>,
}

struct Numbers(Vec<f32>);

/// The vectors and how it ended; nothing where the answer is none.
pub(super) fn read(answer: &[u8], inputs: usize) -> Option<(Piece, Finish)> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    if answer.data.len() != inputs {
        return None;
    }
    let mut vectors = vec![Vec::new(); inputs];
    for entry in answer.data {
        *vectors.get_mut(entry.index)? = entry.embedding.0;
    }
    let counted = answer.usage.and_then(|usage| usage.prompt_tokens?.as_u64());
    let piece = Piece {
        vectors,
        ..Piece::default()
    };
    let usage = Usage {
        prompt: counted.filter(|count| *count <= MOST_TOKENS).unwrap_or(0),
        ..Usage::default()
    };
    let finish = Finish {
        stops: vec![Stop::Turn],
        usage,
        native: None,
    };
    Some((piece, finish))
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading).map(Numbers)
    }
}

/// Takes a list of numbers, or the text of their bytes.
struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Vec<f32>;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("numbers, or their bytes in base64")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<f32>, E> {
        let bytes = STANDARD.decode(text).map_err(E::custom)?;
        let (values, rest) = bytes.as_chunks::<4>();
        let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes));
        match rest {
            [] => Ok(values.collect()),
            _ => Err(E::custom("a number is cut")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<f32>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element()? {
            values.push(value);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn vectors_are_read_as_numbers_and_as_bytes_at_their_places() {
        let answer = json!({
            "data": [
                { "index": 1, "embedding": [0.5, -1] },
                { "index": 0, "embedding": "AACAPwAAAMA=" },
            ],
            "usage": { "prompt_tokens": 7 },
        });
        let (piece, finish) = read(answer.to_string().as_bytes(), 2).unwrap();
        assert_eq!(piece.vectors, [vec![1.0, -2.0], vec![0.5, -1.0]]);
        assert_eq!(finish.usage.prompt, 7);
    }

    #[test]
    fn what_is_no_vector_for_each_input_is_no_answer() {
        for wrong in [
            json!({}),
            json!({ "data": [] }),
            json!({ "data": [{ "index": 1, "embedding": [1] }] }),
            json!({ "data": [{ "index": 0, "embedding": "AAA=" }] }),
            json!({ "data": [{ "index": 0, "embedding": ["x"] }] }),
        ] {
            assert!(read(wrong.to_string().as_bytes(), 1).is_none(), "{wrong}");
        }
    }
}
