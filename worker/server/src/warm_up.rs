//! The first tokens, before anybody waits for one.

use std::sync::Arc;

use weir_engine::{
    Engine, Event, Origin, Sampling, Showing, Writing, WritingLimits,
    model::{Batch, Groups, KvCache, Logits, Model, SequenceSlice, Tokenizer},
};

use crate::{
    capacity::{Capacity, Point, measure},
    failure::Failure,
};

/// Computes one token, to see that the model's numbers lead to an answer: of those that are finite
/// one by one, a sum or a product may not be. Then measures what the replica can do.
///
/// # Errors
/// Says of the model's logits what no answer can be written by.
pub fn try_out(
    (model, cache): (&mut Model, &mut KvCache),
    tokenizer: &Tokenizer,
    name: &str,
) -> Result<Capacity, Failure> {
    let batch = Batch {
        tokens: &[first(tokenizer)],
        positions: &[0],
        sequences: &[SequenceSlice {
            start: 0,
            len: 1,
            context_len: 1,
            block_tables: Groups::both(&[0]),
            adapter: None,
        }],
        slots: Groups::both(&[0]),
        outputs: &[0],
    };
    let mut logits = Logits::new();
    model
        .forward(cache, &batch, &mut logits)
        .map_err(|error| Failure::new("CrashLoop", &error))?;
    let row = logits.row(0);
    let why = match row {
        _ if !row.iter().all(|logit| logit.is_finite()) => "are not finite",
        [first, second, ..] if first == second && row.iter().all(|logit| logit == first) => {
            "are all the same"
        }
        _ => {
            let points = measure((model, cache), first(tokenizer));
            let points = points.map_err(|error| Failure::new("CrashLoop", &error))?;
            tracing::info!(points = told(&points), "capacity measured");
            return Ok(Capacity::of(&points).unwrap_or_default());
        }
    };
    let message = format!("model {name}: its logits {why}");
    Err(Failure::of("Unsupported", &message))
}

/// As `1: 40/s, 2: 78/s`.
fn told(points: &[Point]) -> String {
    let told = points.iter().map(|point| {
        let Point {
            sequences,
            tokens_per_second,
        } = point;
        format!("{sequences}: {tokens_per_second:.0}/s")
    });
    told.collect::<Vec<_>>().join(", ")
}

/// What a prompt begins with.
fn first(tokenizer: &Tokenizer) -> u32 {
    tokenizer.beginning().unwrap_or(0)
}

/// Writes one token, so that the first request does not wait for pages of the weights.
pub async fn warm_up(engine: &Engine, tokenizer: &Tokenizer) -> Result<(), Failure> {
    let writing = Writing {
        prompt: Arc::new([first(tokenizer)]),
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
        prompt_alternatives: None,
        origin: Origin::default(),
        guide: weir_engine::Guide::default(),
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
            Ok(Event::Prompt(_) | Event::Tokens { .. } | Event::Finished { .. }) => {}
            Err(error) => return Err(Failure::new("CrashLoop", &error)),
        }
    }
    // Whoever comes first finds nothing of it.
    let mut load = engine.load();
    let idle = load.wait_for(|load| load.running == 0 && load.waiting == 0);
    idle.await
        .map_err(|error| Failure::new("CrashLoop", &error))?;
    Ok(())
}
