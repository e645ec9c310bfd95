//! Log-probabilities as this wire spells them; they are made up, or what the request asks for.

use http::HeaderMap;
use serde_json::{Value, json};

use crate::answer::{alternative, logprob};
use crate::refusal::Refusal;

/// The request header that says what is told of tokens.
const HEADER: &str = "x-stand-in-logprobs";

/// How they are told where they are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logprobs {
    /// With so many of the likeliest.
    pub(super) top: usize,
    /// Of every token, where that was said.
    each: Option<f64>,
}

impl Logprobs {
    /// With the `top` likeliest, if they are asked for at all, and as the request's header says.
    pub(super) fn of(top: Option<usize>, headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let Some(top) = top else {
            return Ok(None);
        };
        let Some(told) = headers.get(HEADER) else {
            return Ok(Some(Self { top, each: None }));
        };
        match told.to_str().unwrap_or_default() {
            "none" => Ok(None),
            "refused" => Err(Refusal::of("logprobs", "not supported with this model")),
            text => match text.parse() {
                Ok(each) => Ok(Some(Self {
                    top,
                    each: Some(each),
                })),
                Err(_) => {
                    let needs = format!("`{text}` is neither a number, nor `none` or `refused`");
                    Err(Refusal::field(HEADER, needs))
                }
            },
        }
    }

    /// Of `piece`, or of what could have come in its place.
    pub(super) fn at(self, piece: &str, rank: usize) -> f64 {
        match self.each {
            Some(each) => each - rank as f64,
            None => logprob(piece, rank),
        }
    }

    /// One entry for each piece.
    pub(super) fn entries(self, pieces: &[String]) -> Vec<Value> {
        let entry = |piece: &String| {
            let mut entry = self.spelled(piece, piece, 0);
            entry["top_logprobs"] = (0..self.top)
                .map(|rank| self.spelled(&alternative(piece, rank), piece, rank))
                .collect();
            entry
        };
        pieces.iter().map(entry).collect()
    }

    fn spelled(self, token: &str, piece: &str, rank: usize) -> Value {
        json!({"token": token, "bytes": token.as_bytes(), "logprob": self.at(piece, rank)})
    }
}
