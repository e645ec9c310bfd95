//! Tokens as an engine tells of them.

use weir_cascade::Token;

/// One of this probability.
pub fn token(probability: f32) -> Token {
    Token {
        logprob: probability.ln(),
        margin: 2.0,
        entropy: Some(0.3),
        ..Token::default()
    }
}
