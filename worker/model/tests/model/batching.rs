//! A sequence gives the same bits alone, in any batch, in any chunks, wherever its blocks lie, and
//! on any number of threads.

use std::num::NonZeroUsize;

use proptest::prelude::*;
use safetensors::Dtype;
use weir_model::{
    BLOCK_TOKENS, Batch, BatchError, Groups, KernelClass, KeyValueType, KvCache, LoadOptions,
    Logits, Model, SequenceSlice,
};

use crate::logits::fixtures;
use crate::run::{self, Sequence};
use crate::tiny::Tiny;

fn load(tiny: &Tiny, threads: usize, kernel_class: KernelClass) -> Model {
    load_with(tiny, threads, (kernel_class, KeyValueType::Auto))
}

fn load_with(
    tiny: &Tiny,
    threads: usize,
    (kernel_class, key_value_type): (KernelClass, KeyValueType),
) -> Model {
    let options = LoadOptions {
        threads: NonZeroUsize::new(threads).unwrap(),
        kernel_class,
        key_value_type,
        ..LoadOptions::default()
    };
    Model::load(tiny.path(), &options).unwrap()
}

fn bits(logits: &[Vec<f32>]) -> Vec<Vec<u32>> {
    logits
        .iter()
        .map(|row| row.iter().map(|logit| logit.to_bits()).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn neighbours_chunks_and_threads_change_no_bit(
        sequences in prop::collection::vec(prop::collection::vec(4u32..61, 1..50), 1..5),
        cuts in prop::collection::vec(1usize..20, 64),
        threads in 1usize..4,
        bf16 in any::<bool>(),
        class in prop::sample::select(KernelClass::ALL.to_vec()),
        kept in prop::sample::select(KeyValueType::ALL.to_vec()),
    ) {
        let tiny = Tiny::new();
        tiny.write(if bf16 { Dtype::BF16 } else { Dtype::F32 });
        let mut reference = load_with(&tiny, 1, (class, kept));
        let alone: Vec<_> = sequences
            .iter()
            .map(|tokens| bits(&run::alone(&mut reference, tokens)))
            .collect();

        let mut model = load_with(&tiny, threads, (class, kept));
        let mut cache = KvCache::new(&model, Groups::both(20), BLOCK_TOKENS).unwrap();
        // Blocks of different sequences interleave, from the back.
        let mut running: Vec<Sequence> = sequences
            .iter()
            .enumerate()
            .map(|(index, tokens)| {
                let blocks: Vec<u32> = (0..4).map(|block| 19 - (block * 5 + index as u32)).collect();
                Sequence::new(tokens, &blocks)
            })
            .collect();
        let mut together = vec![Vec::new(); sequences.len()];
        let mut cuts = cuts.into_iter().cycle();
        while running.iter().any(|sequence| sequence.done < sequence.tokens.len()) {
            let lens: Vec<usize> = running
                .iter()
                .map(|sequence| (sequence.tokens.len() - sequence.done).min(cuts.next().unwrap() - 1))
                .collect();
            let mut logits = run::step(&mut model, &mut cache, &mut running, &lens).into_iter();
            for (rows, len) in together.iter_mut().zip(lens) {
                rows.extend(logits.by_ref().take(len));
            }
        }
        for (alone, together) in alone.iter().zip(&together) {
            prop_assert_eq!(alone, &bits(together));
        }
    }
}

/// A batch of one sequence of three tokens, as a test may spoil it.
struct Parts {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    slots: Groups<Vec<u32>>,
    outputs: Vec<u32>,
    start: usize,
    len: usize,
    context_len: usize,
    tables: Groups<Vec<u32>>,
}

impl Parts {
    fn refusal(&self, model: &mut Model, blocks: Groups<usize>) -> Option<BatchError> {
        let mut cache = KvCache::new(model, blocks, BLOCK_TOKENS).unwrap();
        let sequence = SequenceSlice {
            start: self.start,
            len: self.len,
            context_len: self.context_len,
            block_tables: Groups::each(|group| &self.tables.of(group)[..]),
            adapter: None,
        };
        let batch = Batch {
            tokens: &self.tokens,
            positions: &self.positions,
            sequences: &[sequence],
            slots: Groups::each(|group| &self.slots.of(group)[..]),
            outputs: &self.outputs,
        };
        model.forward(&mut cache, &batch, &mut Logits::new()).err()
    }
}

fn refusal(spoil: impl FnOnce(&mut Parts)) -> Option<BatchError> {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    let mut model = load(&tiny, 1, KernelClass::detect());
    let mut parts = Parts {
        tokens: vec![5, 6, 7],
        positions: vec![0, 1, 2],
        slots: Groups {
            global: vec![16, 17, 18],
            windowed: Vec::new(),
        },
        outputs: vec![2],
        start: 0,
        len: 3,
        context_len: 3,
        tables: Groups {
            global: vec![1],
            windowed: Vec::new(),
        },
    };
    spoil(&mut parts);
    let blocks = Groups {
        global: 4,
        windowed: 0,
    };
    parts.refusal(&mut model, blocks)
}

#[test]
fn a_batch_that_contradicts_itself_or_the_cache_is_refused_before_anything_is_computed() {
    assert_eq!(refusal(|_| {}), None);
    let said = |error: Option<BatchError>| error.unwrap().to_string();
    assert_eq!(
        said(refusal(|parts| parts.tokens[1] = 61)),
        "token id 61 is outside the vocabulary of 61"
    );
    assert_eq!(
        said(refusal(|parts| {
            parts.positions.pop();
        })),
        "a batch of 3 tokens has 2 positions"
    );
    assert_eq!(
        said(refusal(|parts| {
            parts.slots.global.pop();
        })),
        "a batch of 3 tokens has 2 global slots"
    );
    assert_eq!(
        said(refusal(|parts| parts.len = 2)),
        "a batch of 3 tokens has 2 tokens in sequences"
    );
    assert_eq!(
        said(refusal(|parts| parts.outputs[0] = 3)),
        "output 3 is not one of the batch's 3 tokens"
    );
    assert_eq!(
        said(refusal(|parts| parts.tables.global[0] = 4)),
        "sequence 0: its global block table names a block that the cache does not have"
    );
    assert_eq!(
        said(refusal(|parts| parts.tables.global.clear())),
        "sequence 0: its global block table is too short"
    );
    assert_eq!(
        said(refusal(|parts| parts.slots.global[2] = 2)),
        "sequence 0: its global block table does not lead to a slot"
    );
    assert_eq!(
        said(refusal(|parts| parts.positions[2] = 3)),
        "sequence 0: has positions that do not lead up to its context"
    );
    assert_eq!(
        said(refusal(|parts| parts.context_len = 2)),
        "sequence 0: has a context that is shorter than its tokens"
    );
    assert_eq!(
        said(refusal(|parts| parts.start = 1)),
        "sequence 0: does not begin where the one before ends"
    );
}

/// Three tokens far into a sequence of a model of which one layer has a window.
fn windowed_refusal(spoil: impl FnOnce(&mut Parts)) -> Option<BatchError> {
    let file = fixtures().join("gguf/gemma2.gguf");
    let mut model = Model::load(&file, &LoadOptions::default()).unwrap();
    let layout = model.block_layout(BLOCK_TOKENS);
    assert_eq!((layout.layers, layout.window), (Groups::both(1), 8));
    let mut parts = Parts {
        tokens: vec![5, 6, 7],
        positions: vec![94, 95, 96],
        slots: Groups {
            global: vec![14, 15, 96],
            windowed: vec![30, 31, 32],
        },
        outputs: vec![2],
        start: 0,
        len: 3,
        context_len: 97,
        tables: Groups {
            global: vec![5, 4, 3, 2, 1, 0, 6],
            // The first meets positions from 87 on.
            windowed: vec![u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX, 1, 2],
        },
    };
    spoil(&mut parts);
    let blocks = Groups {
        global: 7,
        windowed: 3,
    };
    parts.refusal(&mut model, blocks)
}

#[test]
fn what_lies_before_a_window_may_be_anywhere_and_what_lies_within_may_not() {
    assert_eq!(windowed_refusal(|_| {}), None);
    let said = |error: Option<BatchError>| error.unwrap().to_string();
    assert_eq!(
        said(windowed_refusal(|parts| parts.tables.windowed[5] = 3)),
        "sequence 0: its windowed block table names a block that the cache does not have"
    );
    assert_eq!(
        said(windowed_refusal(|parts| parts.tables.global[0] = u32::MAX)),
        "sequence 0: its global block table names a block that the cache does not have"
    );
    assert_eq!(
        said(windowed_refusal(|parts| {
            parts.tables.windowed.pop();
        })),
        "sequence 0: its windowed block table is too short"
    );
    assert_eq!(
        said(windowed_refusal(|parts| parts.slots.windowed[1] = 15)),
        "sequence 0: its windowed block table does not lead to a slot"
    );
    assert_eq!(
        said(windowed_refusal(|parts| parts.slots.windowed.clear())),
        "a batch of 3 tokens has 0 windowed slots"
    );
}

#[test]
fn a_batch_of_nothing_gives_no_logits() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    let mut model = load(&tiny, 2, KernelClass::detect());
    let mut cache = KvCache::new(&model, Groups::both(1), BLOCK_TOKENS).unwrap();
    let nothing = run::step(&mut model, &mut cache, &mut [], &[]);
    assert!(nothing.is_empty());
}

#[test]
fn a_position_beyond_the_context_is_refused() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    let options = LoadOptions {
        context_tokens: Some(2),
        ..LoadOptions::default()
    };
    let mut model = Model::load(tiny.path(), &options).unwrap();
    let mut cache = KvCache::new(&model, Groups::both(1), BLOCK_TOKENS).unwrap();
    let sequence = SequenceSlice {
        start: 0,
        len: 3,
        context_len: 3,
        block_tables: Groups::both(&[0]),
        adapter: None,
    };
    let batch = Batch {
        tokens: &[5, 6, 7],
        positions: &[0, 1, 2],
        sequences: &[sequence],
        slots: Groups::both(&[0, 1, 2]),
        outputs: &[],
    };
    let error = model
        .forward(&mut cache, &batch, &mut Logits::new())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "position 2 is outside the context of 2 tokens"
    );
}

#[test]
fn a_cache_of_another_model_is_refused() {
    let (small, large) = (Tiny::new(), Tiny::new());
    small.write(Dtype::BF16);
    large.write(Dtype::F32);
    let mut model = load(&large, 1, KernelClass::detect());
    let other = load(&small, 1, KernelClass::detect());
    let mut cache = KvCache::new(&other, Groups::both(1), BLOCK_TOKENS).unwrap();
    let batch = Batch {
        tokens: &[],
        positions: &[],
        sequences: &[],
        slots: Groups::both(&[]),
        outputs: &[],
    };
    assert_eq!(
        model.forward(&mut cache, &batch, &mut Logits::new()),
        Err(BatchError::Cache)
    );
}
