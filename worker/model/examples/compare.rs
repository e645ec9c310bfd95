//! Holds our logits against references in a folder of models, as `fixtures/random_models.py`
//! writes them: a part of the tokens at once, the others one by one.
//!
//! `cargo run --release -p weir-model --example compare -- FOLDER`

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::path::Path;

use anyhow::{Context, ensure};
use safetensors::SafeTensors;
use serde::Deserialize;
use weir_model::{BLOCK_TOKENS, Batch, Groups, KvCache, LoadOptions, Logits, Model, SequenceSlice};

/// Relative to the largest logit of the reference, or to 1.
const TOLERANCE: f32 = 2e-4;

#[derive(Deserialize)]
struct Tokens {
    tokens: Vec<u32>,
    /// How many of them are given at once.
    prefill: usize,
}

fn main() -> anyhow::Result<()> {
    let folder = std::env::args()
        .nth(1)
        .context("a folder of models is needed")?;
    let mut models: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    models.sort_by_key(std::fs::DirEntry::path);
    let (mut wrong, mut worst) = (0, 0.0_f32);
    for model in &models {
        match distance(&model.path()) {
            Ok(distance) => {
                worst = worst.max(distance);
                if distance <= TOLERANCE {
                    continue;
                }
                println!("{}: apart by {distance:.1e}", model.path().display());
            }
            Err(error) => println!("{}: {error:#}", model.path().display()),
        }
        wrong += 1;
    }
    println!(
        "{} models, {wrong} wrong, apart by at most {worst:.1e}",
        models.len()
    );
    ensure!(
        wrong == 0,
        "{wrong} models are not computed as their references say"
    );
    Ok(())
}

fn distance(folder: &Path) -> anyhow::Result<f32> {
    let Tokens { tokens, prefill } =
        serde_json::from_slice(&std::fs::read(folder.join("tokens.json"))?)?;
    let mut model = Model::load(folder, &LoadOptions::default())?;
    let blocks: Vec<u32> = (0..tokens.len().div_ceil(BLOCK_TOKENS) as u32).collect();
    let mut cache = KvCache::new(&model, Groups::both(blocks.len()), BLOCK_TOKENS)?;
    let mut ours = Vec::new();
    let ends = std::iter::once(prefill).chain(prefill + 1..=tokens.len());
    let mut start = 0;
    for end in ends {
        let positions: Vec<u32> = (start as u32..end as u32).collect();
        let outputs: Vec<u32> = (0..(end - start) as u32).collect();
        let batch = Batch {
            tokens: &tokens[start..end],
            positions: &positions,
            sequences: &[SequenceSlice {
                start: 0,
                len: end - start,
                context_len: end,
                block_tables: Groups::both(&blocks[..]),
                adapter: None,
            }],
            slots: Groups::both(&positions[..]),
            outputs: &outputs,
        };
        let mut logits = Logits::new();
        model.forward(&mut cache, &batch, &mut logits)?;
        (0..logits.rows()).for_each(|row| ours.extend_from_slice(logits.row(row)));
        start = end;
    }
    let bytes = std::fs::read(folder.join("reference.safetensors"))?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let theirs = tensors.tensor("logits")?;
    let theirs = theirs
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let (mut apart, mut largest) = (0.0_f32, 1.0_f32);
    for (ours, theirs) in ours.iter().zip(theirs) {
        ensure!(
            ours.is_finite() && theirs.is_finite(),
            "a logit is not finite"
        );
        apart = apart.max((ours - theirs).abs());
        largest = largest.max(theirs.abs());
    }
    Ok(apart / largest)
}
