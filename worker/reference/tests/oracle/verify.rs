//! Both along one prompt, as a user asks for it.

use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use tempfile::{NamedTempFile, TempDir};
use weir_model::Gguf;
use weir_reference::{Question, RELEASE, Verified, VerifyError, verify};

use crate::fixture::fixtures;
use crate::written;

fn triage() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/triage/model")
}

fn question(source: PathBuf) -> Question {
    Question {
        source,
        reference: None,
        prompt: "my card was charged twice".to_owned(),
        tokens: 8,
    }
}

/// A copy of the model of the example with one matrix of one layer turned over.
fn damaged() -> TempDir {
    let folder = TempDir::new().unwrap();
    for entry in std::fs::read_dir(triage()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let path = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let range = {
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let tensor = tensors
            .tensor("model.layers.0.mlp.down_proj.weight")
            .unwrap();
        let start = tensor.data().as_ptr() as usize - bytes.as_ptr() as usize;
        start..start + tensor.data().len()
    };
    // The sign of each number in bf16.
    for high in bytes[range].iter_mut().skip(1).step_by(2) {
        *high ^= 0x80;
    }
    std::fs::write(&path, bytes).unwrap();
    folder
}

fn told(verified: &Verified) {
    println!("{}: {:?}", verified.architecture, verified.apart);
}

#[test]
fn the_model_of_the_example_is_computed_as_candle_computes_it() {
    let verified = verify(&question(triage())).unwrap();
    told(&verified);
    assert!(verified.agrees() && !verified.is_packed);
    assert_eq!(verified.apart.positions, verified.prompt_tokens + 8);
    assert_eq!(verified.apart.agreeing, verified.apart.positions);
    assert!(verified.apart.share() < 1e-3);
}

#[test]
fn a_damaged_copy_is_told_apart_by_where_it_differs() {
    let copy = damaged();
    let verified = verify(&Question {
        reference: Some(triage()),
        ..question(copy.path().to_owned())
    })
    .unwrap();
    told(&verified);
    assert!(!verified.agrees());
    let disagreement = verified.apart.first_disagreement.unwrap();
    assert!(disagreement.position < verified.apart.positions);
    assert_ne!(disagreement.ours.0, disagreement.reference.0);
    assert!(disagreement.ours.1 > 0.0 && disagreement.reference.1 > 0.0);
    // Each copy by itself is whole.
    assert!(verify(&question(copy.path().to_owned())).unwrap().agrees());
}

#[test]
fn a_file_of_packed_weights_is_given_more_room() {
    let folder = TempDir::new().unwrap();
    for kind in written::KINDS {
        let source = folder.path().join(format!("{kind:?}.gguf"));
        written::write(&source, *kind);
        let verified = verify(&question(source)).unwrap();
        println!("{kind:?}: {:.1e} spreads", verified.distance());
        told(&verified);
        assert!(verified.agrees(), "{kind:?}");
        let is_plain = matches!(kind, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
        assert_eq!(verified.is_packed, !is_plain);
    }
}

/// A copy of a file in Q4_0 or Q8_0 with the scales of one matrix turned over.
fn damaged_blocks(source: &Path, tensor: &str, block_bytes: usize) -> NamedTempFile {
    let gguf = Gguf::open(source).unwrap();
    let data = gguf.tensor(tensor).unwrap();
    let mut bytes = std::fs::read(source).unwrap();
    let data = data.bytes();
    let start = bytes.windows(data.len()).position(|window| window == data);
    let range = start.unwrap()..start.unwrap() + data.len();
    for scale in bytes[range].iter_mut().skip(1).step_by(block_bytes) {
        *scale ^= 0x80;
    }
    let copy = NamedTempFile::with_suffix(".gguf").unwrap();
    std::fs::write(copy.path(), bytes).unwrap();
    copy
}

#[test]
fn a_packed_copy_with_one_wrong_matrix_is_told_apart_whichever_it_is() {
    let folder = TempDir::new().unwrap();
    for (kind, block_bytes) in [(GgmlDType::Q4_0, 18), (GgmlDType::Q8_0, 34)] {
        let whole = folder.path().join(format!("{kind:?}.gguf"));
        written::write(&whole, kind);
        for part in [
            "attn_q",
            "attn_k",
            "attn_v",
            "attn_output",
            "ffn_gate",
            "ffn_up",
            "ffn_down",
        ] {
            for layer in 0..2 {
                let tensor = format!("blk.{layer}.{part}.weight");
                let copy = damaged_blocks(&whole, &tensor, block_bytes);
                let verified = verify(&Question {
                    reference: Some(whole.clone()),
                    ..question(copy.path().to_owned())
                });
                let verified = verified.unwrap();
                println!("{kind:?} {tensor}: {:.3}", verified.distance());
                assert!(
                    !verified.agrees(),
                    "{kind:?} {tensor}: {:?}",
                    verified.apart
                );
            }
        }
    }
}

#[test]
fn a_model_of_other_tokens_is_not_held_against_this_one() {
    let refused = verify(&Question {
        reference: Some(triage()),
        prompt: "de la mi".to_owned(),
        ..question(fixtures().join("gguf/qwen3.gguf"))
    });
    assert!(
        matches!(refused, Err(VerifyError::Vocabulary { .. })),
        "{refused:?}"
    );
}

#[test]
fn more_than_the_context_is_refused() {
    let refused = verify(&Question {
        tokens: 600,
        ..question(triage())
    });
    let Err(error @ VerifyError::TooLong { most: 512, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().ends_with("a context of 512"));
}

#[test]
fn more_tokens_than_can_be_counted_are_refused() {
    let refused = verify(&Question {
        tokens: usize::MAX,
        ..question(triage())
    });
    assert!(
        matches!(refused, Err(VerifyError::TooLong { most: 512, .. })),
        "{refused:?}"
    );
}

#[test]
fn the_release_that_is_named_is_the_one_that_is_linked() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let manifest = std::fs::read_to_string(root).unwrap();
    let pinned = format!("version = \"={RELEASE}\"");
    let candles = manifest.lines().filter(|line| line.starts_with("candle-"));
    let candles: Vec<&str> = candles.collect();
    assert_eq!(candles.len(), 3);
    assert!(
        candles.iter().all(|line| line.contains(&pinned)),
        "{candles:?}"
    );
}
