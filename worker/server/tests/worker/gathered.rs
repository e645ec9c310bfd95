//! Answers with log-probabilities that are gathered before they are sent: what they may come to is
//! bounded before anything is written, and takes little more than the answer's text.

use futures::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Worker, copy, endless, error_of};

const MODEL_TOKENS: u32 = 4096;

/// The example's model with a longer context.
fn long() -> TempDir {
    let model = copy();
    let path = model.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["max_position_embeddings"] = MODEL_TOKENS.into();
    std::fs::write(path, config.to_string()).unwrap();
    model
}

/// Sixteen answers with twenty alternatives to each of their tokens.
fn much(more: Value) -> Value {
    let mut body = endless(json!({ "n": 16, "logprobs": true, "top_logprobs": 20 }));
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// Of the memory that was ever used at once.
fn peak_kib(worker: &Worker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    words[1].parse().unwrap()
}

#[tokio::test]
async fn a_chat_that_may_come_to_too_many_numbers_is_refused_before_it_is_begun() {
    let model = long();
    let worker = Worker::serving(model.path(), &[]).await;
    let long_message = json!([{ "role": "user", "content": "Where is it? ".repeat(50) }]);
    for (more, param) in [
        (json!({ "max_tokens": 900 }), "top_logprobs"),
        (json!({ "n": 4, "max_tokens": 1_000_000 }), "top_logprobs"),
        // And so does what is told of the prompt.
        (
            json!({ "max_tokens": 892, "prompt_logprobs": 20, "messages": long_message }),
            "top_logprobs",
        ),
    ] {
        let (status, error) = worker.refused(&much(more)).await;
        assert_eq!((status, &error["param"]), (400, &json!(param)), "{error}");
        let why = error["message"].as_str().unwrap();
        assert!(why.contains("300000"), "{why}");
    }
    let (_, metrics) = worker.admin("/metrics").await;
    assert!(
        metrics.contains("weir_worker_prompt_tokens_total 0"),
        "{metrics}"
    );
    // On the other wire too, by its own name for them.
    let body = json!({
        "model": "triage", "prompt": "hello", "n": 16, "logprobs": 20, "max_tokens": 900,
    });
    let url = format!("http://{}/v1/completions", worker.address);
    let response = worker.client.post(url).json(&body).send().await.unwrap();
    let (status, error) = error_of(response).await;
    assert_eq!((status, &error["param"]), (400, &json!("logprobs")));
    // Nothing of a stream is gathered.
    let streamed = much(json!({ "max_tokens": 900, "stream": true }));
    let response = worker.post(&streamed).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut stream = response.bytes_stream();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    worker.until_idle().await;
}

#[tokio::test]
async fn an_answer_that_names_no_end_ends_where_no_more_can_be_shown() {
    let model = long();
    let worker = Worker::serving(model.path(), &[]).await;
    let answer = worker.chat(&much(json!({ "n": 16 }))).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    // 300,000 numbers in sixteen answers, of which each token takes 21.
    assert_eq!(answer["usage"]["completion_tokens"], 16 * 892);
}

#[tokio::test]
async fn many_prompts_that_come_to_too_much_are_refused_before_one_is_computed() {
    let worker = Worker::start(&[]).await;
    let url = format!("http://{}/v1/completions", worker.address);
    let long = "Where is it? ".repeat(20);
    for (more, param) in [
        (json!({ "logprobs": 5 }), "logprobs"),
        (
            json!({ "logprobs": null, "prompt": vec!["x".repeat(300); 256], "n": 250 }),
            "echo",
        ),
    ] {
        let mut body = json!({
            "model": "triage", "prompt": vec![long.clone(); 256], "echo": true, "n": 16,
            "max_tokens": 1,
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let response = worker.client.post(&url).json(&body).send().await.unwrap();
        let (status, error) = error_of(response).await;
        assert_eq!((status, &error["param"]), (400, &json!(param)), "{error}");
    }
    let (_, metrics) = worker.admin("/metrics").await;
    let none = "weir_worker_prompt_tokens_total 0";
    assert!(metrics.contains(none), "{metrics}");
}

#[tokio::test]
async fn numbers_take_little_more_memory_than_the_text_that_shows_them() {
    const NUMBERS: u64 = 16 * 200 * 21;
    let model = long();
    let worker = Worker::serving(model.path(), &[]).await;
    let plain = json!({ "max_tokens": 200, "logprobs": false, "top_logprobs": null });
    worker.chat(&much(plain)).await;
    let before = peak_kib(&worker);
    let response = worker.post(&much(json!({ "max_tokens": 200 }))).send();
    let text = response.await.unwrap().bytes().await.unwrap();
    let answer: Value = serde_json::from_slice(&text).unwrap();
    let choices = answer["choices"].as_array().unwrap();
    let tokens = choices
        .iter()
        .flat_map(|choice| choice["logprobs"]["content"].as_array().unwrap());
    let numbers = tokens.map(|token| 1 + token["top_logprobs"].as_array().unwrap().len() as u64);
    let numbers: u64 = numbers.sum();
    assert!(numbers > NUMBERS * 9 / 10, "{numbers}");
    let more = peak_kib(&worker) - before;
    assert!(
        more * 1024 < 300 * NUMBERS,
        "{more} KiB for {} bytes of text",
        text.len()
    );
}
