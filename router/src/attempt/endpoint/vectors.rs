//! The vectors that an endpoint made, read as a whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::reader::tokens;
use crate::answer::{Piece, Stop, Usage};
use crate::attempt::Finish;

/// The vectors and how it ended; nothing where the answer is none.
pub(super) fn read(answer: &Value, inputs: usize) -> Option<(Piece, Finish)> {
    let data = answer["data"]
        .as_array()
        .filter(|data| data.len() == inputs)?;
    let mut vectors = vec![Vec::new(); inputs];
    for entry in data {
        let index = usize::try_from(entry["index"].as_u64()?).ok()?;
        *vectors.get_mut(index)? = vector(&entry["embedding"])?;
    }
    let piece = Piece {
        vectors,
        ..Piece::default()
    };
    let usage = Usage {
        prompt: tokens(&answer["usage"], "prompt_tokens").unwrap_or(0),
        ..Usage::default()
    };
    let finish = Finish {
        stops: vec![Stop::Turn],
        usage,
        native: None,
    };
    Some((piece, finish))
}

fn vector(value: &Value) -> Option<Vec<f32>> {
    if let Some(text) = value.as_str() {
        let bytes = STANDARD.decode(text).ok()?;
        let (values, rest) = bytes.as_chunks::<4>();
        let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes));
        return rest.is_empty().then(|| values.collect());
    }
    #[allow(clippy::cast_possible_truncation, reason = "vectors have 32 bits")]
    let number = |value: &Value| value.as_f64().map(|value| value as f32);
    value.as_array()?.iter().map(number).collect()
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
        let (piece, finish) = read(&answer, 2).unwrap();
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
            assert!(read(&wrong, 1).is_none(), "{wrong}");
        }
    }
}
