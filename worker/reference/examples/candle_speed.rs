//! How many tokens a second candle's own models read and write: what `bench/worker` puts beside
//! ours, with the arguments and the output of weir-model's `speed`.
//!
//! `cargo run --release -p weir-reference --example candle_speed -- SOURCE PROMPT DEPTH TOKENS`; a
//! folder is computed in f32, because on CPUs candle makes f32 of bf16 for every product. `RAYON_NUM_THREADS` says on
//! how many threads.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use weir_reference::{Options, Reference};

/// As many as a step of our engine computes at most.
const CHUNK: usize = 512;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| -> anyhow::Result<usize> {
        let word = words.get(place);
        let word = word.context("SOURCE PROMPT DEPTH TOKENS are needed")?;
        Ok(word.parse()?)
    };
    let (prompt, depth, tokens) = (number(1)?, number(2)?, number(3)?);
    let began = Instant::now();
    let options = Options::new(prompt.max(depth + tokens).max(1));
    let mut reference = Reference::open(Path::new(&words[0]), &options)?;
    let load = began.elapsed().as_secs_f64();
    // The first pass touches every page of the weights.
    reference.read(&[0])?;
    reference.clear()?;
    let read = timed(&mut reference, (0, prompt), CHUNK)?;
    reference.clear()?;
    timed(&mut reference, (0, depth), CHUNK)?;
    let write = timed(&mut reference, (depth, tokens), 1)?;
    println!("{{\"load\": {load:.3}, \"read\": {read:.2}, \"write\": {write:.2}}}");
    Ok(())
}

/// Tokens a second over `count` of them from a place on, so many at a time.
fn timed(
    reference: &mut Reference,
    (first, count): (usize, usize),
    at_once: usize,
) -> anyhow::Result<f64> {
    // Ids that any vocabulary has.
    let tokens: Vec<u32> = (first..first + count)
        .map(|place| place as u32 * 7919 % 32_000)
        .collect();
    let began = Instant::now();
    for tokens in tokens.chunks(at_once) {
        reference.read(tokens)?;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
