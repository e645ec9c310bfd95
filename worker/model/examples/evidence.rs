//! What evidence takes of a step: the fused pass over the logits of each row, beside the forward
//! pass that made them. `bench/evidence` calls it.
//!
//! `cargo run --release -p weir-model --example evidence -- FILE ROWS...` prints a line for each
//! number of rows: `{"rows": n, "step": seconds, "evidence": seconds}`, each the median of some.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use weir_kernels::{Cpu, Finish, available_threads, finish_rows};
use weir_model::{
    BLOCK_TOKENS, Batch, Groups, KeyValueType, KvCache, LoadOptions, Logits, Model, SequenceSlice,
};

/// Steps of each size, all within one block of keys and values.
const STEPS: usize = 12;

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let file = words.next().context("FILE ROWS... are needed")?;
    let options = LoadOptions {
        key_value_type: KeyValueType::F16,
        ..LoadOptions::default()
    };
    let mut model = Model::load(Path::new(&file), &options)?;
    for word in words {
        let rows: usize = word.parse()?;
        let (step, evidence) = times(&mut model, rows)?;
        println!("{{\"rows\": {rows}, \"step\": {step:.6}, \"evidence\": {evidence:.6}}}");
    }
    Ok(())
}

/// The medians of a step of so many sequences, one token each, and of the evidence of its rows.
fn times(model: &mut Model, rows: usize) -> anyhow::Result<(f64, f64)> {
    let mut cache = KvCache::new(model, Groups::both(rows), BLOCK_TOKENS)?;
    let mut logits = Logits::new();
    let blocks: Vec<[u32; 1]> = (0..rows as u32).map(|row| [row]).collect();
    let (mut steps, mut evidences) = (Vec::new(), Vec::new());
    let cpu = Cpu::new(model.facts().kernel_class, available_threads());
    let vocabulary = model.facts().vocabulary as usize;
    let finish = Finish {
        divisor: 1.0,
        cap: None,
    };
    let mut summaries = Vec::new();
    for position in 0..STEPS {
        let sequences: Vec<SequenceSlice<'_>> = (0..rows)
            .map(|row| SequenceSlice {
                start: row,
                len: 1,
                context_len: position + 1,
                block_tables: Groups::both(&blocks[row][..]),
                adapter: None,
            })
            .collect();
        let ids: Vec<u32> = (0..rows as u32).collect();
        let slots: Vec<u32> = ids
            .iter()
            .map(|row| row * BLOCK_TOKENS as u32 + position as u32)
            .collect();
        let began = Instant::now();
        let batch = Batch {
            tokens: &ids,
            positions: &vec![position as u32; rows],
            sequences: &sequences,
            slots: Groups::both(&slots[..]),
            outputs: &ids,
        };
        model.forward(&mut cache, &batch, &mut logits)?;
        steps.push(began.elapsed().as_secs_f64());
        let mut rows_of_logits: Vec<f32> =
            (0..rows).flat_map(|row| logits.row(row)).copied().collect();
        let began = Instant::now();
        finish_rows(
            &cpu,
            (&mut rows_of_logits, vocabulary),
            finish,
            &mut summaries,
        );
        black_box(&summaries);
        evidences.push(began.elapsed().as_secs_f64());
    }
    Ok((median(steps), median(evidences)))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
