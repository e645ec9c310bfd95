//! Log-probabilities as this wire spells them; they are made up.

use serde_json::{Value, json};

use crate::answer::{alternative, logprob};

/// One entry for each piece, with the `top` likeliest alternatives.
pub(super) fn entries(pieces: &[String], top: usize) -> Vec<Value> {
    let entry = |piece: &String| {
        let mut entry = spelled(piece, piece, 0);
        entry["top_logprobs"] = (0..top)
            .map(|rank| spelled(&alternative(piece, rank), piece, rank))
            .collect();
        entry
    };
    pieces.iter().map(entry).collect()
}

fn spelled(token: &str, piece: &str, rank: usize) -> Value {
    json!({"token": token, "bytes": token.as_bytes(), "logprob": logprob(piece, rank)})
}
