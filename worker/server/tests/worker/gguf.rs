//! A GGUF file is served as a folder is.

use std::path::Path;

use weir_worker_api::{self as api, GenerateRequest, prompt::Form};

use crate::{
    grpc::read,
    harness::{Worker, fail_to_start},
};

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../model/tests/fixtures/gguf")
        .join(name)
}

#[tokio::test]
async fn a_file_that_mixes_types_answers_and_says_what_it_is() {
    let worker = Worker::serving(&fixture("types.gguf"), &[]).await;
    let answer = read(
        &worker,
        GenerateRequest {
            prompt: Some(api::Prompt {
                form: Some(Form::Text("ba de ki".to_owned())),
            }),
            limits: Some(api::Limits {
                max_tokens: Some(5),
                ignore_eos: true,
                ..api::Limits::default()
            }),
            ..GenerateRequest::default()
        },
    )
    .await;
    assert_eq!((answer.ids.len(), answer.evidence.len()), (5, 5));
    let described = worker.grpc().await.describe(api::DescribeRequest {}).await;
    let described = described.unwrap().into_inner();
    assert_eq!(described.architecture, "Llama");
    assert_eq!(described.quantization, "Q4_K");
    // Nobody may chat with a model that brings no template.
    let (status, error) = worker
        .refused(&crate::harness::about("hello", serde_json::json!({})))
        .await;
    assert_eq!(status, 400, "{error}");
}

#[test]
fn a_file_that_was_asked_to_be_rounded_again_is_refused() {
    let failed = fail_to_start(
        "file:///model",
        &fixture("llama.gguf"),
        &["--quantization", "Q4"],
    );
    let said = failed.termination_log;
    assert!(said.contains("keeps its own quantization"), "{said}");
}
