//! How long conversations that begin alike wait for their first tokens.
//!
//! `cargo run --release -p weir-engine --example shared_prefix -- FILE TOKENIZER CACHE SHARED OWN
//! COUNT AT_ONCE` asks COUNT conversations of a model, AT_ONCE at a time. Their prompts have SHARED
//! tokens in common and OWN tokens of their own; CACHE is Enabled or Disabled; TOKENIZER is a model
//! with a tokenizer, which is never asked for text. Prints how long the first one waited for its
//! first token, the median of the others, the longest, and the time to the last of all.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::{
    error::Error,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::iter};
use weir_engine::{
    Engine, EngineOptions, Event, Guide, Origin, Penalties, Sampling, Showing, Writing,
    WritingLimits,
    model::{BLOCK_TOKENS, Extent, Groups, KvCache, LoadOptions, Model, STEP_TOKENS, Tokenizer},
};

const SEQUENCES: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [file, tokenizer, cache, numbers @ ..] = &words[..] else {
        return Err("FILE TOKENIZER CACHE SHARED OWN COUNT AT_ONCE are needed".into());
    };
    let numbers: Vec<usize> = numbers
        .iter()
        .map(|n| n.parse())
        .collect::<Result<_, _>>()?;
    let [shared, own, count, at_once] = numbers[..] else {
        return Err("SHARED OWN COUNT AT_ONCE are needed".into());
    };
    let longest = shared + own + 1;
    let options = LoadOptions {
        context_tokens: Some(u32::try_from(longest)?),
        ..LoadOptions::default()
    };
    let model = Model::load(Path::new(file), &options)?;
    let vocabulary = model.facts().vocabulary;
    let tokenizer = Tokenizer::load(Path::new(tokenizer), vocabulary)?;
    let extent = Extent {
        longest,
        back_to: None,
    };
    let most = model.block_layout(BLOCK_TOKENS).most(extent, STEP_TOKENS);
    let blocks = Groups::each(|group| SEQUENCES * most.of(group));
    let memory = KvCache::new(&model, blocks, BLOCK_TOKENS)?;
    let options = EngineOptions {
        max_sequences: SEQUENCES,
        max_waiting: count,
        prefix_cache: cache == "Enabled",
    };
    let (engine, _ended) = Engine::start(model, memory, options)?;
    let id = |seed: usize, at: usize| (seed * 7919 + at * at * 31 + at * 97) as u32 % vocabulary;
    // Whatever comes ends the answer, so that none of it is text.
    let ends: Arc<[u32]> = (0..vocabulary).collect();
    let ask = |conversation: usize| {
        let common = (0..shared).map(|at| id(0, at));
        let prompt = common.chain((0..own).map(|at| id(conversation + 1, at)));
        first_token(&engine, &tokenizer, prompt.collect(), ends.clone())
    };
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut waits: Vec<Duration> =
        runtime.block_on(iter((0..count).map(ask)).buffered(at_once).collect());
    let all = began.elapsed();
    let first = waits.remove(0);
    waits.sort_unstable();
    let median = waits.get(waits.len() / 2).copied().unwrap_or(first);
    let longest = waits.last().copied().unwrap_or(first).max(first);
    println!(
        "first {first:.2?}, median of the others {median:.2?}, longest {longest:.2?}, all {all:.2?}"
    );
    Ok(())
}

async fn first_token(
    engine: &Engine,
    tokenizer: &Tokenizer,
    prompt: Arc<[u32]>,
    ends: Arc<[u32]>,
) -> Duration {
    let writing = Writing {
        prompt,
        produced: Vec::new(),
        sampling: Sampling::greedy(),
        penalties: Penalties::default(),
        seed: 0,
        choice: 0,
        limits: WritingLimits {
            max_tokens: 1,
            min_tokens: 0,
            ends,
        },
        alternatives: 0,
        prompt_alternatives: None,
        origin: Origin::default(),
        guide: Guide::default(),
    };
    let showing = Showing {
        tokenizer: tokenizer.clone(),
        stop: Vec::new(),
        shown_bytes: 0,
    };
    let began = Instant::now();
    let answer = engine.write(writing, showing);
    let mut answer = answer.expect("the queue has a place for each");
    while let Some(event) = answer.next().await {
        if matches!(event, Ok(Event::Tokens { .. })) {
            break;
        }
    }
    began.elapsed()
}
