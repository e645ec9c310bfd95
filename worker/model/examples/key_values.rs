//! What keys and values of eight bits bring beside those of sixteen: bytes of a token, and tokens a
//! second behind a long context, in turns on the same machine.
//!
//! `cargo run --release -p weir-model --example key_values -- FILE DEPTH TOKENS ROUNDS` fills a context
//! of DEPTH tokens in each type, and then writes TOKENS more in each, one at a time, ROUNDS times.
//! Prints `{"type": ..., "bytes": of a token, "write": tokens per second of the best round}` for
//! each, and what they are of one another round by round.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::path::Path;

use anyhow::Context;
use weir_model::{BLOCK_TOKENS, KeyValueType, KvCache, LoadOptions, Model, STEP_TOKENS};

#[path = "sequence/run.rs"]
mod run;

use run::Run;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| -> anyhow::Result<usize> {
        let word = words.get(place);
        Ok(word
            .context("FILE DEPTH TOKENS ROUNDS are needed")?
            .parse()?)
    };
    let (depth, tokens, rounds) = (number(1)?, number(2)?, number(3)?);
    let mut runs = Vec::new();
    for kind in [KeyValueType::F16, KeyValueType::Fp8] {
        let options = LoadOptions {
            key_value_type: kind,
            ..LoadOptions::default()
        };
        let model = Model::load(Path::new(&words[0]), &options)?;
        let mut run = Run::new(model, depth + tokens)?;
        let read = run.timed(depth, STEP_TOKENS)?;
        println!("{}: {read:.1} tokens read a second", kind.name());
        runs.push((run, Vec::new()));
    }
    for _ in 0..rounds {
        for (run, speeds) in &mut runs {
            run.done = depth;
            speeds.push(run.timed(tokens, 1)?);
        }
    }
    for (run, speeds) in &runs {
        let best = speeds.iter().fold(0.0_f64, |most, speed| most.max(*speed));
        let (name, bytes) = (run.model.facts().key_value_type, token_bytes(&run.model));
        println!("{{\"type\": \"{name}\", \"bytes\": {bytes}, \"write\": {best:.2}}}");
    }
    let ratios = runs[0].1.iter().zip(&runs[1].1);
    let ratios = ratios.map(|(sixteen, eight)| format!("{:.3}", eight / sixteen));
    println!("{}", ratios.collect::<Vec<_>>().join(" "));
    Ok(())
}

/// Of both groups.
fn token_bytes(model: &Model) -> usize {
    let bytes = KvCache::block_bytes(model, BLOCK_TOKENS);
    (bytes.global + bytes.windowed) / BLOCK_TOKENS
}
