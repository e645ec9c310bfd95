//! What adapters take of a step: so many sequences, one token each, with the model alone and with
//! adapters mixed. `bench/adapters` calls it.
//!
//! `cargo run --release -p weir-model --example adapters -- FILE ADAPTER ROUNDS STREAMS:ADAPTERS...`
//! reads the adapter as often as needed, each time into its own memory, and computes every mix in
//! each round, one after the other. Prints a line for each mix: `{"streams": n, "adapters": n,
//! "bytes": of an adapter, "step": seconds}`, the median of the rounds.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use weir_model::{
    Adapter, BLOCK_TOKENS, Batch, Groups, KeyValueType, KvCache, LoadOptions, Logits, Model,
    SequenceSlice,
};

/// So many sequences, shared evenly by so many adapters.
struct Mix {
    streams: usize,
    adapters: usize,
    steps: Vec<f64>,
}

impl Mix {
    fn of(word: &str) -> anyhow::Result<Self> {
        let (streams, adapters) = word.split_once(':').context("STREAMS:ADAPTERS")?;
        Ok(Self {
            streams: streams.parse()?,
            adapters: adapters.parse()?,
            steps: Vec::new(),
        })
    }
}

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [file, folder, rounds, mixes @ ..] = &words[..] else {
        anyhow::bail!("FILE ADAPTER ROUNDS STREAMS:ADAPTERS... are needed");
    };
    let rounds: usize = rounds.parse()?;
    let mut mixes: Vec<Mix> = mixes
        .iter()
        .map(|mix| Mix::of(mix))
        .collect::<anyhow::Result<_>>()?;
    let options = LoadOptions {
        key_value_type: KeyValueType::F16,
        ..LoadOptions::default()
    };
    let mut model = Model::load(Path::new(file), &options)?;
    let base = model.adapter_base();
    let most = mixes.iter().map(|mix| mix.adapters).max().unwrap_or(0);
    let adapters: Vec<Adapter> = (0..most)
        .map(|_| base.read(Path::new(folder), u64::MAX))
        .collect::<Result<_, _>>()?;
    let streams = mixes.iter().map(|mix| mix.streams).max().unwrap_or(0);
    let mut cache = KvCache::new(&model, Groups::both(streams), BLOCK_TOKENS)?;
    let mut logits = Logits::new();
    // The first round touches every page, and does not count.
    for round in 0..=rounds {
        for mix in &mut mixes {
            let began = Instant::now();
            step(
                (&mut model, &mut cache, &mut logits),
                mix.streams,
                &adapters[..mix.adapters],
            )?;
            if round > 0 {
                mix.steps.push(began.elapsed().as_secs_f64());
            }
        }
    }
    let bytes = adapters.first().map_or(0, Adapter::bytes);
    for mix in mixes {
        let (streams, adapters, step) = (mix.streams, mix.adapters, median(mix.steps));
        println!(
            "{{\"streams\": {streams}, \"adapters\": {adapters}, \"bytes\": {bytes}, \"step\": {step:.6}}}"
        );
    }
    Ok(())
}

/// The last token that fits into the first block of each sequence.
fn step(
    (model, cache, logits): (&mut Model, &mut KvCache, &mut Logits),
    streams: usize,
    adapters: &[Adapter],
) -> anyhow::Result<()> {
    let last = BLOCK_TOKENS - 1;
    let ids: Vec<u32> = (0..streams as u32).collect();
    let sequences: Vec<SequenceSlice<'_>> = (0..streams)
        .map(|row| SequenceSlice {
            start: row,
            len: 1,
            context_len: last + 1,
            block_tables: Groups::both(&ids[row..=row]),
            adapter: adapters.get(row % adapters.len().max(1)),
        })
        .collect();
    let slots: Vec<u32> = ids
        .iter()
        .map(|row| row * BLOCK_TOKENS as u32 + last as u32)
        .collect();
    let batch = Batch {
        tokens: &ids,
        positions: &vec![last as u32; streams],
        sequences: &sequences,
        slots: Groups::both(&slots[..]),
        outputs: &ids,
    };
    model.forward(cache, &batch, logits)?;
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}
