//! Tokens of texts and chats, and the text of tokens.

use serde_json::{Value, json};

use crate::harness::{Worker, about, error_of};

async fn post(worker: &Worker, path: &str, body: &Value) -> reqwest::Response {
    let url = format!("http://{}{path}", worker.address);
    worker.client.post(url).json(body).send().await.unwrap()
}

async fn answer(worker: &Worker, path: &str, body: &Value) -> Value {
    let response = post(worker, path, body).await;
    assert_eq!(response.status(), 200, "{body}");
    response.json().await.unwrap()
}

#[tokio::test]
async fn a_chat_has_the_tokens_that_its_answer_is_charged_for() {
    let worker = Worker::start(&[]).await;
    let ticket = "Where is my parcel?";
    let usage = &worker.chat(&about(ticket, json!({}))).await["usage"];
    let tokenized = answer(&worker, "/tokenize", &about(ticket, json!({}))).await;
    assert_eq!(tokenized["count"], usage["prompt_tokens"]);
    assert_eq!(tokenized["max_model_len"], 512);
    assert_eq!(tokenized["token_strs"], Value::Null);
    let without = about(ticket, json!({ "add_generation_prompt": false }));
    let without = answer(&worker, "/tokenize", &without).await;
    let (all, fewer) = (tokenized["tokens"].as_array(), without["tokens"].as_array());
    assert!(all.unwrap().len() > fewer.unwrap().len());
    assert!(all.unwrap().starts_with(fewer.unwrap()));
    let back = answer(
        &worker,
        "/detokenize",
        &json!({ "tokens": tokenized["tokens"] }),
    )
    .await;
    let text = back["prompt"].as_str().unwrap();
    assert!(text.contains(ticket), "{text}");
    let again = json!({ "prompt": text, "add_special_tokens": false });
    let again = answer(&worker, "/tokenize", &again).await;
    assert_eq!(
        again["tokens"], tokenized["tokens"],
        "special tokens are spelled"
    );
}

#[tokio::test]
async fn a_text_goes_to_tokens_and_back() {
    let worker = Worker::start(&[]).await;
    for text in ["Where is my parcel?", "naïve 日本 🦊\n\ttabs", ""] {
        let body = json!({
            "model": "triage",
            "prompt": text,
            "add_special_tokens": false,
            "return_token_strs": true,
        });
        let tokenized = answer(&worker, "/tokenize", &body).await;
        let tokens = tokenized["tokens"].as_array().unwrap();
        assert_eq!(tokenized["count"], tokens.len());
        assert_eq!(
            tokenized["token_strs"].as_array().unwrap().len(),
            tokens.len()
        );
        let body = json!({ "model": "triage", "tokens": tokens });
        let back = answer(&worker, "/detokenize", &body).await;
        assert_eq!(back["prompt"], text);
    }
}

#[tokio::test]
async fn what_has_no_tokens_is_refused_by_name() {
    let worker = Worker::start(&[]).await;
    for (path, body, status, param) in [
        ("/tokenize", json!({}), 400, "prompt"),
        ("/tokenize", json!({ "prompt": 7 }), 400, "prompt"),
        ("/tokenize", json!({ "messages": [] }), 400, "messages"),
        (
            "/tokenize",
            json!({ "prompt": "a", "messages": [] }),
            400,
            "messages",
        ),
        (
            "/tokenize",
            json!({ "prompt": "a", "pieces": 1 }),
            400,
            "pieces",
        ),
        (
            "/tokenize",
            json!({ "prompt": "a".repeat(1 << 20) }),
            400,
            "prompt",
        ),
        (
            "/tokenize",
            json!({ "prompt": "a", "model": "b" }),
            404,
            "model",
        ),
        ("/detokenize", json!({}), 400, "tokens"),
        ("/detokenize", json!({ "tokens": [-1] }), 400, "tokens"),
        ("/detokenize", json!({ "tokens": [99999] }), 400, "tokens"),
        ("/detokenize", json!({ "tokens": ["a"] }), 400, "tokens"),
    ] {
        let (found, error) = error_of(post(&worker, path, &body).await).await;
        assert_eq!(
            (found, &error["param"]),
            (status, &json!(param)),
            "{path}: {error}"
        );
    }
}
