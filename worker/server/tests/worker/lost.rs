//! A worker whose weights' file shrinks under it dies as the system has it, and says of what.

use std::{fs::File, os::unix::process::ExitStatusExt, path::Path, process::Command};

use serde_json::json;

use crate::harness::{Worker, about, copy};

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
