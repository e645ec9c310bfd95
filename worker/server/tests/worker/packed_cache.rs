//! A worker keeps its packed weights for the next one, and starts where it cannot.

use serde_json::{Value, json};

use crate::harness::{Worker, about};

/// What the worker said of its load.
async fn loaded(worker: &Worker) -> Value {
    let line = worker.until_said(&["model loaded"]).await;
    serde_json::from_str(&line).unwrap()
}

/// Tokens that follow from the weights alone.
async fn answer(worker: &Worker) -> String {
    let body = about("where is my parcel?", json!({ "temperature": 0 }));
    let answer = worker.chat(&body).await;
    let content = answer.pointer("/choices/0/message/content");
    content.unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_second_start_maps_what_the_first_packed() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("packed");
    let folder = folder.to_str().unwrap();
    let args = ["--quantization", "Q4", "--packed-cache", folder];
    let first = Worker::start(&args).await;
    first.until_said(&["packed weights kept", folder]).await;
    let packed = loaded(&first).await;
    assert_eq!(packed["mapped"], 0);
    let second = Worker::start(&args).await;
    let mapped = loaded(&second).await;
    assert_eq!(mapped["packed"], 0);
    assert_eq!(mapped["mapped"], packed["packed"]);
    assert_eq!(mapped["digest"], packed["digest"]);
    assert_eq!(answer(&second).await, answer(&first).await);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_a_warning() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let folder = file.path().join("below");
    let folder = folder.to_str().unwrap();
    let worker = Worker::start(&["--quantization", "Q8", "--packed-cache", folder]).await;
    let line = worker
        .until_said(&["packed weights were not kept", folder])
        .await;
    assert!(line.contains("WARN"), "{line}");
    answer(&worker).await;
}

#[tokio::test]
async fn a_damaged_file_is_named_and_written_anew() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().to_str().unwrap();
    let args = ["--quantization", "Q8", "--packed-cache", folder];
    let first = Worker::start(&args).await;
    let kept = first.until_said(&["packed weights kept"]).await;
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let path = kept["path"].as_str().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
    let second = Worker::start(&args).await;
    let line = second
        .until_said(&["packed weights were not used", path])
        .await;
    assert!(
        line.contains("WARN") && line.contains("is damaged"),
        "{line}"
    );
    second.until_said(&["packed weights kept", path]).await;
    assert_eq!(loaded(&second).await["mapped"], 0);
    let third = Worker::start(&args).await;
    assert_eq!(loaded(&third).await["packed"], 0);
}
