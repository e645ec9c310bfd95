//! What is loaded, and the room that is left for keys and values: decided before weights are read.

use std::path::Path;

use weir_engine::model::{BLOCK_TOKENS, Groups, LoadError, LoadOptions, Plan, Quantization};

use crate::{memory::Memory, room};

/// The plan, and the blocks that have room beside its weights. Where it is left to us, weights are
/// rounded to eight bits when that makes room: for the context that was asked for, or, where none
/// was, for twice as much of the model's own as there is beside the weights as they are.
///
/// # Errors
/// Says what is wrong with the files, or what the least would need and what there is.
pub fn planned(
    folder: &Path,
    options: &LoadOptions,
    memory: Option<Memory>,
    sequences: usize,
) -> Result<(Plan, Groups<usize>), LoadError> {
    let asked = options.context_tokens.is_some();
    let of = |options: &LoadOptions| {
        let plan = Plan::of(folder, options)?;
        let blocks = room::blocks(&plan, memory, sequences, asked);
        Ok::<_, LoadError>((plan, blocks))
    };
    let (plan, blocks) = of(options)?;
    let held = blocks.as_ref().map_or(0, tokens);
    if options.quantization != Quantization::Auto || held >= plan.context_tokens() as usize {
        return blocks.map(|blocks| (plan, blocks));
    }
    let rounded = of(&LoadOptions {
        quantization: Quantization::Q8,
        ..options.clone()
    });
    match (blocks, rounded) {
        // A file that keeps its own types is refused here: it stays with what was said first.
        (blocks, Err(_)) => blocks.map(|blocks| (plan, blocks)),
        (Ok(_), Ok((rounded, Ok(more)))) if tokens(&more) >= 2 * held => Ok((rounded, more)),
        (Ok(blocks), Ok(_)) => Ok((plan, blocks)),
        (Err(_), Ok((rounded, blocks))) => blocks.map(|blocks| (rounded, blocks)),
    }
}

/// How long one sequence may get that has all blocks.
fn tokens(blocks: &Groups<usize>) -> usize {
    // A model without global layers has no blocks of theirs.
    let count = match blocks.global {
        0 => blocks.windowed,
        global => global,
    };
    count * BLOCK_TOKENS
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn triage() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/triage/model")
    }

    /// Says what a start is refused with, of a copy of the example with a weight that no load
    /// accepts.
    fn refusal(quantization: Quantization, memory: Memory) -> LoadError {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(triage()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let weights = folder.path().join("model.safetensors");
        let mut bytes = std::fs::read(&weights).unwrap();
        let end = bytes.len();
        bytes[end - 64..].fill(0xff);
        std::fs::write(weights, bytes).unwrap();
        let options = LoadOptions {
            context_tokens: Some(512),
            quantization,
            memory_bytes: Some(memory.bytes),
            ..LoadOptions::default()
        };
        let planned = planned(folder.path(), &options, Some(memory), 8);
        planned
            .and_then(|(plan, _)| plan.load())
            .map(|_| ())
            .unwrap_err()
    }

    #[test]
    fn a_context_without_room_is_refused_before_weights_are_read() {
        let plan = Plan::of(&triage(), &LoadOptions::default()).unwrap();
        let spare = 100_000;
        let memory = Memory {
            bytes: plan.weight_bytes() + 2 * spare,
            is_shared: false,
        };
        let refused = refusal(Quantization::None, memory);
        assert_eq!(refused.reason(), "OutOfMemory");
        let LoadError::ContextMemory {
            tokens,
            needed,
            available,
        } = refused
        else {
            panic!("{refused}");
        };
        let each = plan.block_bytes(BLOCK_TOKENS).global as u64;
        let blocks = 512 / BLOCK_TOKENS as u64;
        assert_eq!((tokens, needed, available), (512, blocks * each, spare));
        let ample = Memory {
            bytes: u64::MAX,
            ..memory
        };
        let refused = refusal(Quantization::None, ample);
        assert!(matches!(refused, LoadError::NotFinite { .. }), "{refused}");
        // Eight bits make room, and so it comes to the weights.
        let refused = refusal(Quantization::Auto, memory);
        assert!(matches!(refused, LoadError::NotFinite { .. }), "{refused}");
    }

    #[test]
    fn a_context_that_nobody_asked_for_is_worth_eight_bits_where_they_double_it() {
        let whole = Plan::of(&triage(), &LoadOptions::default()).unwrap();
        let block = whole.block_bytes(BLOCK_TOKENS).global as u64;
        let of = |quantization, blocks: u64| {
            let memory = Memory {
                bytes: whole.weight_bytes() + 2 * blocks * block,
                is_shared: false,
            };
            let options = LoadOptions {
                quantization,
                memory_bytes: Some(memory.bytes),
                ..LoadOptions::default()
            };
            let (plan, blocks) = planned(&triage(), &options, Some(memory), 1).unwrap();
            (plan.weight_bytes() < whole.weight_bytes(), tokens(&blocks))
        };
        let (rounded, tokens) = of(Quantization::Auto, 2);
        assert!(rounded && tokens > 64, "{tokens}");
        assert_eq!(of(Quantization::None, 2), (false, 32));
        // All of it fits beside the weights as they are.
        assert_eq!(of(Quantization::Auto, 40), (false, 512));
    }
}
