//! What is refused, how it is said, and that nothing else is disturbed by it.

use serde_json::{Value, json};

use crate::harness::{Worker, about, copy, error_of};

async fn still_serves(worker: &Worker) {
    let answer = worker.chat(&about("Where is my parcel?", json!({}))).await;
    assert!(answer["choices"][0]["message"]["content"].is_string());
}

#[tokio::test]
async fn a_wrong_field_is_named_in_the_answer() {
    let worker = Worker::start(&[]).await;
    for (more, param) in [
        (json!({ "temperature": "hot" }), "temperature"),
        (json!({ "temperature": 3 }), "temperature"),
        (json!({ "top_p": -0.1 }), "top_p"),
        (json!({ "max_tokens": 0 }), "max_tokens"),
        (json!({ "n": 0 }), "n"),
        (json!({ "n": 99 }), "n"),
        (json!({ "top_logprobs": 2 }), "top_logprobs"),
        (
            json!({ "logprobs": true, "top_logprobs": 21 }),
            "top_logprobs",
        ),
        (json!({ "stop": [""] }), "stop"),
        (json!({ "stop": 7 }), "stop"),
        (json!({ "logit_bias": { "99999": 1 } }), "logit_bias"),
        (json!({ "logit_bias": { "x": 1 } }), "logit_bias"),
        (
            json!({ "stream_options": { "include_usage": true } }),
            "stream_options",
        ),
        (json!({ "messages": [] }), "messages"),
        (json!({ "messages": [7] }), "messages[0]"),
        (
            json!({ "messages": [{ "role": "king", "content": "x" }] }),
            "messages[0].role",
        ),
        (
            json!({ "messages": [{ "role": "user" }] }),
            "messages[0].content",
        ),
        (json!({ "model": null }), "model"),
    ] {
        let (status, error) = worker.refused(&about("x", more.clone())).await;
        assert_eq!(status, 400, "{more}: {error}");
        assert_eq!(error["param"], param, "{more}: {error}");
        assert_eq!(error["type"], "invalid_request_error");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(param), "{message} does not name {param}");
    }
    still_serves(&worker).await;
}

#[tokio::test]
async fn what_the_worker_cannot_do_is_refused_by_name_and_not_ignored() {
    let worker = Worker::start(&[]).await;
    for (more, param) in [
        (
            json!({ "tool_choice": { "type": "custom" } }),
            "tool_choice.type",
        ),
        (
            json!({ "structured_outputs": { "structural_tag": "x" } }),
            "structured_outputs.structural_tag",
        ),
        (json!({ "modalities": ["text", "audio"] }), "modalities"),
        (json!({ "functions": [{ "name": "f" }] }), "functions"),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url" }] }] }),
            "messages[0].content[0].type",
        ),
    ] {
        let (status, error) = worker.refused(&about("x", more.clone())).await;
        assert_eq!(
            (status, &error["code"]),
            (400, &json!("unsupported_parameter")),
            "{error}"
        );
        assert_eq!(error["param"], param);
    }
    let harmless =
        json!({ "tools": [], "tool_choice": "none", "response_format": { "type": "text" } });
    worker.chat(&about("x", harmless)).await;
}

#[tokio::test]
async fn invalid_json_is_said_to_be_that() {
    let worker = Worker::start(&[]).await;
    for body in ["{\"model\": \"triage\",", "[]", "", "{\"model\": \u{1}}"] {
        let url = format!("http://{}/v1/chat/completions", worker.address);
        let response = worker.client.post(url).body(body).send().await.unwrap();
        let (status, error) = error_of(response).await;
        assert_eq!(status, 400);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("not valid JSON"), "{message}");
    }
    still_serves(&worker).await;
}

#[tokio::test]
async fn an_unknown_model_is_answered_with_those_that_exist() {
    let worker = Worker::start(&[]).await;
    let (status, error) = worker
        .refused(&about("x", json!({ "model": "gpt-9" })))
        .await;
    assert_eq!((status, &error["code"]), (404, &json!("model_not_found")));
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("gpt-9") && message.contains("triage"),
        "{message}"
    );
    let (status, _) = error_of(worker.get("/v1/models/gpt-9").send().await.unwrap()).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_path_or_method_that_is_not_served_is_an_error_in_the_same_shape() {
    let worker = Worker::start(&[]).await;
    let (status, _) = error_of(worker.get("/v1/moderations").send().await.unwrap()).await;
    assert_eq!(status, 404);
    let (status, _) = error_of(worker.get("/v1/chat/completions").send().await.unwrap()).await;
    assert_eq!(status, 405);
}

#[tokio::test]
async fn a_prompt_longer_than_the_context_is_refused_with_both_numbers() {
    let worker = Worker::start(&[]).await;
    let (status, error) = worker
        .refused(&about(&"parcel ".repeat(900), json!({})))
        .await;
    assert_eq!(
        (status, &error["code"]),
        (400, &json!("context_length_exceeded"))
    );
    assert_eq!(error["param"], "messages");
    let message = error["message"].as_str().unwrap();
    let numbers: Vec<u32> = message
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok())
        .collect();
    assert!(numbers[0] > 900 && numbers[1] == 512, "{message}");
    still_serves(&worker).await;
}

#[tokio::test]
async fn a_context_that_was_asked_for_smaller_bounds_prompts() {
    let worker = Worker::start(&["--context-tokens", "64"]).await;
    let (status, error) = worker
        .refused(&about(&"parcel ".repeat(90), json!({})))
        .await;
    assert_eq!(status, 400);
    assert!(error["message"].as_str().unwrap().contains("64"), "{error}");
    still_serves(&worker).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let worker = Worker::start(&[]).await;
    let body = about(&"x".repeat(9 << 20), json!({}));
    // The worker may close the connection while the client still sends.
    if let Ok(response) = worker.post(&body).send().await {
        let (status, error) = error_of(response).await;
        assert_eq!(status, 413);
        assert!(
            error["message"].as_str().unwrap().contains("8388608"),
            "{error}"
        );
    }
    still_serves(&worker).await;
}

#[tokio::test]
async fn a_template_that_refuses_a_conversation_is_quoted() {
    let model = copy();
    let template = "{{ raise_exception('the role must be another') }}";
    std::fs::write(model.path().join("chat_template.jinja"), template).unwrap();
    let worker = Worker::serving(model.path(), &[]).await;
    let body = about("x", json!({}));
    let (status, error): (u16, Value) = worker.refused(&body).await;
    assert_eq!((status, &error["param"]), (400, &json!("messages")));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("the role must be"), "{message}");
}

#[tokio::test]
async fn text_that_no_context_holds_is_refused_before_it_is_tokenized() {
    let worker = Worker::start(&[]).await;
    let text = "what is this? ".repeat(500_000);
    let (status, error) = worker.refused(&about(&text, json!({}))).await;
    assert_eq!(
        (status, &error["code"]),
        (400, &json!("context_length_exceeded"))
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("more text than"), "{message}");
    worker.until_idle().await;
}

#[tokio::test]
async fn a_body_of_millions_of_values_is_refused_before_it_is_parsed() {
    let worker = Worker::start(&[]).await;
    let body = format!(
        "{{\"model\":\"triage\",\"messages\":[{}0]}}",
        "0,".repeat(3_000_000)
    );
    let request = worker.post(&json!({})).body(body);
    let (status, error) = error_of(request.send().await.unwrap()).await;
    assert_eq!(status, 400);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("200000 JSON values"), "{message}");
}
