//! A worker whose weights' file shrinks under it dies as the system has it, and says of what.

use std::{fs::File, os::unix::process::ExitStatusExt, path::Path, process::Command};

use serde_json::json;

use crate::harness::{Worker, about, copy, triage};

/// The number that Linux gives it on every machine that we build for.
const SIGBUS: i32 = 7;

fn truncate(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(100).unwrap();
}

/// Asks something, and expects the worker to die of it with the file's name on its lips.
async fn expect_death(mut worker: Worker, file: &str) {
    let body = about("where is my parcel?", json!({}));
    // There is nobody left to answer.
    assert!(worker.post(&body).send().await.is_err());
    let status = worker.wait().await;
    assert_eq!(status.signal(), Some(SIGBUS), "{status}");
    let line = worker.until_said(&["shrank while it was served"]).await;
    assert!(line.starts_with("CrashLoop: the weights' file "), "{line}");
    assert!(line.contains(file), "{line} does not name {file}");
}

#[tokio::test]
async fn a_weights_file_that_shrinks_is_named() {
    let model = copy();
    let worker = Worker::serving(model.path(), &[]).await;
    truncate(&model.path().join("model.safetensors"));
    expect_death(worker, "model.safetensors").await;
}

#[tokio::test]
async fn a_file_of_packed_weights_that_shrinks_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().to_str().unwrap();
    let args = ["--quantization", "Q8", "--packed-cache", folder];
    let first = Worker::start(&args).await;
    first.until_said(&["packed weights kept"]).await;
    let second = Worker::serving(&triage(), &args).await;
    let mut entries = cache.path().read_dir().unwrap();
    let packed = entries.find_map(|entry| {
        let path = entry.unwrap().path();
        path.extension()
            .is_some_and(|end| end == "packed")
            .then_some(path)
    });
    let packed = packed.unwrap();
    truncate(&packed);
    expect_death(second, packed.to_str().unwrap()).await;
    // What the first has was packed by itself.
    first.chat(&about("where is my parcel?", json!({}))).await;
}

#[tokio::test]
async fn the_same_signal_from_elsewhere_ends_it_without_a_word_about_files() {
    let mut worker = Worker::start(&[]).await;
    let pid = worker.id().to_string();
    // The first is taken for an overflow of a stack by the standard library, which then lets go.
    let status = loop {
        let sent = Command::new("kill").args(["-BUS", &pid]).status();
        assert!(sent.unwrap().success());
        if let Some(status) = worker.ended() {
            break status;
        }
    };
    assert_eq!(status.signal(), Some(SIGBUS), "{status}");
    worker.expect_unsaid("the weights' file");
}
