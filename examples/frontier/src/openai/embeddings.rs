//! `/v1/embeddings`: vectors of length 1 that depend on nothing but the text.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{said, server_error};
use crate::intake::{self, Received};
use crate::pieces::{count, pieces};
use crate::refusal::Refusal;
use crate::spoil::Whole;
use crate::{StandIn, fields};

const MOST_TEXTS: usize = 2048;
const MOST_DIMENSIONS: u64 = 3072;
const DIMENSIONS: u64 = 256;

/// Most tokens of all texts together.
const MOST_TOKENS: u64 = 8192;

/// Most numbers in one answer.
const MOST_NUMBERS: u64 = 1024 * 1024;

pub(crate) async fn embeddings(State(stand_in): State<Arc<StandIn>>, request: Request) -> Response {
    let received = intake::receive(&stand_in, request).await;
    said(received.and_then(|received| embed(&received)))
}

fn embed(received: &Received) -> Result<Response, Refusal> {
    let body = &received.body;
    let model = fields::required_text(body, "model")?;
    let texts = fields::texts(body, "input", MOST_TEXTS)?;
    if texts.is_empty() {
        return Err(Refusal::of("input", "field required"));
    }
    let dimensions = fields::number(body, "dimensions", 1..=MOST_DIMENSIONS)?;
    let dimensions = dimensions.unwrap_or(DIMENSIONS);
    if dimensions * texts.len() as u64 > MOST_NUMBERS {
        let wrong = format!("makes more than {MOST_NUMBERS} numbers with these dimensions");
        return Err(Refusal::of("input", &wrong));
    }
    let tokens: u64 = texts.iter().map(|text| count(text)).sum();
    if tokens > MOST_TOKENS {
        let wrong = format!("has {tokens} tokens, more than {MOST_TOKENS}");
        return Err(Refusal::of("input", &wrong));
    }
    let is_base64 = match fields::text(body, "encoding_format")? {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Refusal::of("encoding_format", "must be float or base64")),
    };
    let data = texts.iter().enumerate().map(|(index, text)| {
        let vector = vector(text, dimensions);
        let embedding = if is_base64 {
            packed(&vector)
        } else {
            json!(vector)
        };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    });
    received.whole(Whole {
        body: json!({
            "object": "list",
            "data": data.collect::<Vec<_>>(),
            "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }),
        error: server_error(received.trouble()),
    })
}

/// The sum of a direction for each piece, so that texts that share pieces lie nearer, at length 1.
fn vector(text: &str, dimensions: u64) -> Vec<f32> {
    let mut vector = vec![0.0_f32; usize::try_from(dimensions).unwrap_or_default()];
    for piece in pieces(text) {
        for (place, value) in vector.iter_mut().enumerate() {
            let mut hasher = DefaultHasher::new();
            (piece.trim_start(), place).hash(&mut hasher);
            // Between -1 and 1.
            *value += (hasher.finish() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0;
        }
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
    vector
}

fn packed(vector: &[f32]) -> Value {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    STANDARD.encode(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_of_length_1_and_nearer_to_what_shares_its_words() {
        let one = vector("my invoice is wrong", 64);
        let near = vector("my invoice is late", 64);
        let far = vector("zebra xylophone quartz", 64);
        let dot = |other: &[f32]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
        assert!((dot(&one) - 1.0).abs() < 1e-5);
        assert!(dot(&near) > dot(&far) + 0.2);
        assert_eq!(vector("my invoice is wrong", 64), one);
    }
}
