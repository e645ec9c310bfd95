//! `weir model verify` as a person runs it.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn triage() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/triage/model")
}

fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../worker/model/tests/fixtures/gguf")
        .join(file)
}

fn verify(source: &Path, more: &[&str]) -> Output {
    let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
    weir.args(["model", "verify"])
        .arg(source)
        .args(more)
        .output()
        .unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_model_that_is_computed_right_is_told_so() {
    let output = verify(
        &triage(),
        &["--prompt", "my card was charged twice", "--tokens", "4"],
    );
    let (out, error) = said(&output);
    assert!(output.status.success(), "{out}{error}");
    assert!(error.is_empty(), "{error}");
    for line in [
        "ours                 Llama, weights as they are, all else in f32",
        "reference            candle 0.11.1, its own model",
        "first differs        nowhere",
    ] {
        assert!(
            out.lines().any(|said| said == line),
            "no {line:?} in\n{out}"
        );
    }
    assert!(out.contains("verdict              they agree"), "{out}");
    assert!(out.contains(" of the prompt, 4 written"), "{out}");
}

#[test]
fn a_model_with_other_weights_fails_and_says_where() {
    let copy = tempfile::TempDir::new().unwrap();
    for entry in std::fs::read_dir(triage()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    // The last matrices of the file change their signs.
    let path = copy.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let from = bytes.len() / 4 * 3;
    for high in bytes[from..].iter_mut().skip(1).step_by(2) {
        *high ^= 0x80;
    }
    std::fs::write(&path, bytes).unwrap();
    let triage = triage();
    let output = verify(copy.path(), &["--reference", triage.to_str().unwrap()]);
    let (out, error) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{out}{error}");
    assert!(out.contains("first differs        after token"), "{out}");
    assert!(out.contains("verdict              they differ"), "{out}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("spreads apart"), "{error}");
}

#[test]
fn what_candle_does_not_have_is_one_line_and_a_failure() {
    for (file, says) in [
        (
            "granite.gguf",
            "candle's own models do not have granite in GGUF files",
        ),
        ("gemma3.gguf", "candle's own Gemma3 model"),
    ] {
        let output = verify(&fixture(file), &["--prompt", "de la"]);
        let (out, error) = said(&output);
        assert_eq!(output.status.code(), Some(1), "{out}{error}");
        assert!(out.is_empty(), "{out}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(says), "{error}");
    }
    let output = verify(Path::new("nowhere"), &[]);
    let (_, error) = said(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains("there is no model folder at nowhere"),
        "{error}"
    );
}
