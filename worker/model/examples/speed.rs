//! How many tokens a second a model reads and writes: `bench/worker` calls it beside its peers.
//!
//! `cargo run --release -p weir-model --example speed -- FILE PROMPT DEPTH TOKENS` reads a prompt of
//! PROMPT tokens from an empty context, fills a context of DEPTH tokens, and writes TOKENS more,
//! one at a time. A quantization may follow, and a folder for packed weights, which are kept before
//! anything is timed but the load.
//! Prints `{"load": seconds, "first_token": seconds, "load_phases": seconds by phase, "packed": count,
//! "mapped": count, "read": tokens per second, "write": tokens per second}`.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::Context;
use weir_model::{KeyValueType, LoadOptions, LoadReport, Model, Quantization, STEP_TOKENS};

#[path = "sequence/run.rs"]
mod run;

use run::Run;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| -> anyhow::Result<usize> {
        let word = words
            .get(place)
            .context("FILE PROMPT DEPTH TOKENS are needed")?;
        Ok(word.parse()?)
    };
    let (prompt, depth, tokens) = (number(1)?, number(2)?, number(3)?);
    let quantization = words.get(4).map_or("Auto", String::as_str);
    let quantization = Quantization::ALL
        .into_iter()
        .find(|known| known.name() == quantization);
    let options = LoadOptions {
        key_value_type: KeyValueType::F16,
        quantization: quantization.context("Auto, None, Q8 or Q4")?,
        packed_cache: words.get(5).map(PathBuf::from),
        ..LoadOptions::default()
    };
    let began = Instant::now();
    let mut model = Model::load(Path::new(&words[0]), &options)?;
    let load = began.elapsed().as_secs_f64();
    let (report, upkeep) = (model.report().clone(), model.take_upkeep());
    let mut run = Run::new(model, prompt.max(depth + tokens))?;
    // The first pass touches every page of the weights.
    run.extend(1)?;
    let first = began.elapsed().as_secs_f64();
    if let Some(upkeep) = upkeep {
        upkeep.run(SystemTime::now(), &|| false)?;
    }
    run.done = 0;
    let read = run.timed(prompt, STEP_TOKENS)?;
    run.done = 0;
    run.timed(depth, STEP_TOKENS)?;
    let write = run.timed(tokens, 1)?;
    let loading = loading(&report);
    println!(
        "{{\"load\": {load:.3}, \"first_token\": {first:.3}, {loading}, \"read\": {read:.2}, \"write\": {write:.2}}}"
    );
    Ok(())
}

/// The fields that say how the load went.
fn loading(report: &LoadReport) -> String {
    let phases = report.phases.each().map(|(name, duration)| {
        let seconds = duration.as_secs_f64();
        format!("\"{name}\": {seconds:.3}")
    });
    format!(
        "\"load_phases\": {{{}}}, \"packed\": {}, \"mapped\": {}",
        phases.join(", "),
        report.packed,
        report.mapped
    )
}
