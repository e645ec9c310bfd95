//! GGUF files that llama.cpp converted and quantised.

use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use safetensors::SafeTensors;
use tempfile::TempDir;
use weir_reference::{Apart, Options, Ours, Reference, ReferenceError, load};

use crate::fixture::fixtures;
use crate::written;

/// Two orders of summation of the same numbers, in spreads of the logits.
const TOLERANCE: f32 = 1e-4;

/// Between two who both round what they multiply packed weights with: each is up to 0.2 from the
/// exact logits of this model, which makes much of small differences.
const TOLERANCE_PACKED: f32 = 0.4;

/// Each file, and what candle's model of it lacks; nothing where it agrees.
const FILES: &[(&str, &[&str])] = &[
    ("gemma2.gguf", &["do not have gemma2 in GGUF files"]),
    (
        "gemma3.gguf",
        &["opens its gate with silu, not with gelu", "keeps no window"],
    ),
    ("granite.gguf", &["do not have granite in GGUF files"]),
    (
        "granite4-without-rope.gguf",
        &["do not have granite in GGUF files"],
    ),
    ("granite4.gguf", &["do not have granite in GGUF files"]),
    (
        "llama.gguf",
        &["does not take blk.0.attn_k.bias and 8 others"],
    ),
    ("mistral.gguf", &[]),
    (
        "phi3.gguf",
        &[
            "keeps no window (24 tokens, of 40)",
            "turns whole heads, not 6 of 8",
            "does not take rope_factors_long.weight",
        ],
    ),
    ("qwen2.gguf", &[]),
    ("qwen3.gguf", &[]),
    ("smollm3.gguf", &["do not have smollm3 in GGUF files"]),
    ("split-00001-of-00003.gguf", &["reads one file, not 3"]),
    ("types.gguf", &["has heads of 128, not of 8"]),
];

fn path(file: &str) -> PathBuf {
    fixtures().join("gguf").join(file)
}

/// The tokens that a file's reference was made with; some for a part of a split.
fn tokens(file: &str) -> Vec<u32> {
    let stem = file.split_once('.').unwrap().0;
    let kept = path(&format!("{stem}.safetensors"));
    let Ok(bytes) = std::fs::read(kept) else {
        return vec![3, 4, 5];
    };
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor("tokens").unwrap();
    let ids = tensor.data().as_chunks::<4>().0.iter();
    ids.map(|id| u32::from_le_bytes(*id)).collect()
}

fn apart(file: &str, in_spite_of_gaps: bool) -> Result<Apart, ReferenceError> {
    let tokens = tokens(file);
    let options = Options {
        in_spite_of_gaps,
        ..Options::new(tokens.len())
    };
    let theirs = Reference::open(&path(file), &options)?.follow(&tokens)?;
    let model = load(&path(file), None).unwrap();
    let ours = Ours::new(model, tokens.len()).unwrap().read(&tokens);
    Ok(Apart::of(&ours.unwrap(), &theirs))
}

#[test]
fn every_file_is_in_the_table() {
    let kept = std::fs::read_dir(fixtures().join("gguf")).unwrap();
    let mut kept: Vec<String> = kept
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".gguf") && !name.starts_with("split-0000"))
        .collect();
    kept.push("split-00001-of-00003.gguf".to_owned());
    kept.sort_unstable();
    let listed: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(kept, listed);
}

#[test]
fn every_file_agrees_with_candles_own_model_where_that_lacks_nothing() {
    let mut wrong = Vec::new();
    for (file, _) in FILES.iter().filter(|(_, lacks)| lacks.is_empty()) {
        match apart(file, false) {
            Ok(apart) => {
                println!("{file}: apart by {:.1e} spreads", apart.share());
                if !apart.is_within(TOLERANCE) {
                    wrong.push(format!("{file}: {apart:?}"));
                }
            }
            Err(error) => wrong.push(format!("{file}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_candle_lacks_is_named_and_makes_it_differ() {
    let mut wrong = Vec::new();
    for (file, lacks) in FILES.iter().filter(|(_, lacks)| !lacks.is_empty()) {
        match apart(file, false) {
            Ok(_) => wrong.push(format!("{file} was not refused")),
            Err(error) => {
                let said = error.to_string();
                let unsaid = lacks.iter().filter(|lack| !said.contains(**lack));
                wrong.extend(unsaid.map(|lack| format!("{file}: no {lack:?} in {said:?}")));
            }
        }
        // What it does not have, or not the whole of, it cannot open.
        if let Ok(apart) = apart(file, true) {
            println!("{file}: apart by {:.1e} spreads", apart.share());
            if apart.is_within(50.0 * TOLERANCE) {
                wrong.push(format!("{file} agrees, and is listed as lacking {lacks:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How far ours and candle's are from the numbers that the packed weights stand for, and from one
/// another.
fn roundings(folder: &Path, kind: GgmlDType) -> [Apart; 3] {
    let (packed, whole) = (folder.join("packed.gguf"), folder.join("whole.gguf"));
    written::write(&packed, kind);
    written::write_unpacked(&whole, kind);
    let tokens: Vec<u32> = (0..40).map(|at| at * 37 % written::VOCABULARY).collect();
    let theirs = |file| {
        let mut reference = Reference::open(file, &Options::new(tokens.len())).unwrap();
        reference.follow(&tokens).unwrap()
    };
    let mut ours = Ours::new(load(&packed, None).unwrap(), tokens.len()).unwrap();
    let (ours, candles, exact) = (ours.read(&tokens).unwrap(), theirs(&packed), theirs(&whole));
    [(&ours, &exact), (&candles, &exact), (&ours, &candles)]
        .map(|(one, other)| Apart::of(one, other))
}

#[test]
fn packed_weights_of_every_type_are_rounded_no_further_from_their_numbers_than_by_candle() {
    let folder = TempDir::new().unwrap();
    let mut wrong = Vec::new();
    for kind in written::KINDS {
        let [ours, candles, between] = roundings(folder.path(), *kind).map(|apart| apart.share());
        println!(
            "{kind:?}: ours {ours:.1e}, candle's {candles:.1e}, between {between:.1e} spreads"
        );
        let allowed = TOLERANCE.max(1.5 * candles);
        if ours.is_nan() || ours > allowed || between > TOLERANCE_PACKED {
            wrong.push(format!(
                "{kind:?}: ours {ours}, candle's {candles}, between {between}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
