//! What it takes to follow the evidence of an answer, token by token, with a verdict after each:
//! what the router adds to every token. `bench/evidence` calls it.
//!
//! `cargo run --release -p weir-cascade --example follow` prints `{"nanoseconds": per token}`, the
//! median over answers of 512 tokens.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::hint::black_box;
use std::time::Instant;

use weir_cascade::{Asked, Attempt, Config, FinishReason, HoldBack, Token};

const TOKENS: u32 = 512;
const ANSWERS: usize = 400;

fn main() {
    let mut times: Vec<f64> = (0..ANSWERS).map(|_| answer()).collect();
    times.sort_by(f64::total_cmp);
    println!("{{\"nanoseconds\": {:.1}}}", times[ANSWERS / 2]);
}

/// Nanoseconds for each token of one answer that is held to its end.
fn answer() -> f64 {
    let config = Config {
        hold_back: HoldBack::Tokens(TOKENS),
        ..Config::default()
    };
    let began = Instant::now();
    let mut attempt = Attempt::new(config, Asked::default());
    for place in 0..TOKENS {
        attempt.observe(&token(place));
        attempt.text(" word");
        black_box(attempt.checkpoint());
    }
    black_box(attempt.finish(FinishReason::Stop));
    began.elapsed().as_secs_f64() * 1e9 / f64::from(TOKENS)
}

/// Mostly sure, now and then not.
fn token(place: u32) -> Token {
    let doubt = (place.wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0;
    Token {
        logprob: -doubt * doubt,
        margin: 4.0 * (1.0 - doubt),
        entropy: Some(2.0 * doubt),
        ..Token::default()
    }
}
