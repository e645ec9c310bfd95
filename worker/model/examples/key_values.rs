//! What keys and values of eight bits bring beside those of sixteen: bytes of a token, and tokens a
//! second behind a long context, in turns on the same machine.
//!
//! `cargo run --release -p weir-model --example key_values -- FILE DEPTH TOKENS ROUNDS` fills a context
//! of DEPTH tokens in each type, and then writes TOKENS more in each, one at a time, ROUNDS times.
//! Prints `{"type": ..., "bytes": of a token, "write": tokens per second of the best round}` for
//! each, and what they are of one another round by round.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use weir_model::{
    BLOCK_TOKENS, Batch, Groups, KeyValueType, KvCache, LoadOptions, Logits, Model, STEP_TOKENS,
    SequenceSlice,
};

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
        let mut run = Run::new(Path::new(&words[0]), kind, depth + tokens)?;
        let began = Instant::now();
        while run.done < depth {
            run.extend(STEP_TOKENS.min(depth - run.done))?;
        }
        let read = depth as f64 / began.elapsed().as_secs_f64();
        println!("{}: {read:.1} tokens read a second", kind.name());
        runs.push((run, Vec::new()));
    }
    for _ in 0..rounds {
        for (run, speeds) in &mut runs {
            run.done = depth;
            let began = Instant::now();
            for _ in 0..tokens {
                run.extend(1)?;
            }
            speeds.push(tokens as f64 / began.elapsed().as_secs_f64());
        }
    }
    for (run, speeds) in &runs {
        let best = speeds.iter().fold(0.0_f64, |most, speed| most.max(*speed));
        let (name, bytes) = (run.model.facts().key_value_type, run.token_bytes());
        println!("{{\"type\": \"{name}\", \"bytes\": {bytes}, \"write\": {best:.2}}}");
    }
    let ratios = runs[0].1.iter().zip(&runs[1].1);
    let ratios = ratios.map(|(sixteen, eight)| format!("{:.3}", eight / sixteen));
    println!("{}", ratios.collect::<Vec<_>>().join(" "));
    Ok(())
}

/// One sequence and its cache.
struct Run {
    model: Model,
    cache: KvCache,
    blocks: Vec<u32>,
    logits: Logits,
    done: usize,
}

impl Run {
    fn new(path: &Path, key_value_type: KeyValueType, tokens: usize) -> anyhow::Result<Self> {
        let options = LoadOptions {
            key_value_type,
            ..LoadOptions::default()
        };
        let model = Model::load(path, &options)?;
        let blocks: Vec<u32> = (0..tokens.div_ceil(BLOCK_TOKENS) as u32).collect();
        Ok(Self {
            cache: KvCache::new(&model, Groups::both(blocks.len()), BLOCK_TOKENS)?,
            model,
            blocks,
            logits: Logits::new(),
            done: 0,
        })
    }

    /// Of both groups.
    fn token_bytes(&self) -> usize {
        let bytes = KvCache::block_bytes(&self.model, BLOCK_TOKENS);
        (bytes.global + bytes.windowed) / BLOCK_TOKENS
    }

    fn extend(&mut self, count: usize) -> anyhow::Result<()> {
        let places = self.done as u32..(self.done + count) as u32;
        self.done += count;
        let vocabulary = self.model.facts().vocabulary;
        let tokens: Vec<u32> = places
            .clone()
            .map(|place| place.wrapping_mul(7919) % vocabulary)
            .collect();
        let positions: Vec<u32> = places.collect();
        let batch = Batch {
            tokens: &tokens,
            positions: &positions,
            sequences: &[SequenceSlice {
                start: 0,
                len: count,
                context_len: self.done,
                block_tables: Groups::both(&self.blocks[..]),
                adapter: None,
            }],
            slots: Groups::both(&positions[..]),
            outputs: &[count as u32 - 1],
        };
        self.model
            .forward(&mut self.cache, &batch, &mut self.logits)?;
        Ok(())
    }
}
