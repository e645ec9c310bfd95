//! The first token, before anybody waits for one.

use std::sync::Arc;

use weir_engine::{
    Engine, Event, Sampling, Showing, Writing, WritingLimits, model::Tokenizer,
};

use crate::failure::Failure;

/// Writes one token, so that the first request does not wait for pages of the weights.
pub async fn warm_up(engine: &Engine, tokenizer: &Tokenizer) -> Result<(), Failure> {
    let writing = Writing {
        prompt: Arc::new([tokenizer.beginning().unwrap_or(0)]),
        produced: Vec::new(),
        sampling: Sampling::greedy(),
        penalties: weir_engine::Penalties::default(),
        seed: 0,
        choice: 0,
        limits: WritingLimits {
            max_tokens: 1,
            min_tokens: 0,
            ends: Arc::new([]),
        },
        alternatives: 0,
    };
    let showing = Showing {
        tokenizer: tokenizer.clone(),
        stop: Vec::new(),
        shown_bytes: 0,
    };
    let mut answer = engine
        .write(writing, showing)
        .map_err(|error| Failure::new("CrashLoop", &error))?;
    while let Some(event) = answer.next().await {
        match event {
            Ok(Event::Tokens { .. } | Event::Finished { .. }) => {}
            Err(error) => return Err(Failure::new("CrashLoop", &error)),
        }
    }
    Ok(())
}
