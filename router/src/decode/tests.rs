//! What a chat request may say, and what is answered where it may not.

use serde_json::json;

use super::*;

fn decoded(body: Value) -> Result<Ask, Refusal> {
    chat(body.to_string().as_bytes())
}

fn with(field: &str, value: Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    body[field] = value;
    body
}

#[test]
fn a_body_that_is_not_json_is_refused_with_the_place() {
    let Err(Refusal::NotJson(message)) = chat(b"{\"model\": }") else {
        panic!("it must be refused");
    };
    assert!(message.contains("line 1 column 11"), "{message}");
}

#[test]
fn a_field_that_is_wrong_is_named() {
    for (body, field) in [
        (json!({ "messages": [] }), "messages"),
        (
            json!({ "messages": [{ "role": "user", "content": "hi" }] }),
            "model",
        ),
        (with("messages", json!("hi")), "messages"),
        (
            with("messages", json!([{ "role": "user", "content": "hi" }, 4])),
            "messages[1]",
        ),
        (
            with("messages", json!([{ "role": "king", "content": "hi" }])),
            "messages[0].role",
        ),
        (
            with("messages", json!([{ "role": "user" }])),
            "messages[0].content",
        ),
        (
            with(
                "messages",
                json!([{ "role": "user", "content": [{ "text": "hi" }] }]),
            ),
            "messages[0].content[0]",
        ),
        (with("temperature", json!(3)), "temperature"),
        (with("temperature", json!("warm")), "temperature"),
        (with("max_tokens", json!(0)), "max_tokens"),
        (
            with("max_completion_tokens", json!(-1)),
            "max_completion_tokens",
        ),
        (with("stop", json!([1])), "stop"),
        (with("stream", json!("yes")), "stream"),
        (
            with("stream_options", json!({ "include_usage": 1 })),
            "stream_options.include_usage",
        ),
        (with("n", json!(2)), "n"),
        (with("n", json!(0)), "n"),
        (with("n", json!("1")), "n"),
        (with("stop", json!("")), "stop"),
        (with("stop", json!(["a", ""])), "stop[1]"),
        (with("stop", json!("x".repeat(1025))), "stop"),
        (with("model", json!("m".repeat(257))), "model"),
        (with("seed", json!(1.5)), "seed"),
    ] {
        match decoded(body.clone()) {
            Err(Refusal::Field {
                field: named,
                message,
            }) => {
                assert_eq!(named, field, "{body}");
                assert!(message.len() < 200, "{body}: {message}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn a_role_of_any_length_is_not_repeated() {
    let role = "x".repeat(1 << 20);
    let refused = decoded(with("messages", json!([{ "role": role, "content": "hi" }])));
    assert!(refused.unwrap_err().to_string().len() < 200);
}

#[test]
fn a_wrong_number_of_choices_is_told_from_one_that_is_not_served() {
    let message = |n: Value| decoded(with("n", n)).unwrap_err().to_string();
    assert!(message(json!(0)).contains("from 1 up"));
    assert!(message(json!("1")).contains("whole number"));
    assert!(message(json!(3)).contains("one choice"));
    assert!(decoded(with("n", json!(1))).is_ok());
}

#[test]
fn a_request_as_an_sdk_sends_it_is_understood() {
    let ask = decoded(json!({
        "model": "support-assistant",
        "messages": [
            { "role": "developer", "content": "route it" },
            { "role": "user", "content": [{ "type": "text", "text": "my " }, { "type": "text", "text": "invoice" }] },
        ],
        "temperature": 0, "max_completion_tokens": 8, "max_tokens": 9, "stop": "\n",
        "stream": true, "stream_options": { "include_usage": true }, "seed": -1,
    }))
    .unwrap();
    assert_eq!(ask.messages[0].role, "system");
    assert_eq!(ask.messages[1].content, "my invoice");
    assert_eq!(
        (ask.max_tokens, ask.sampling.temperature),
        (Some(8), Some(0.0))
    );
    assert_eq!(ask.sampling.seed, Some(u64::MAX));
    assert!(ask.stream && ask.include_usage && ask.beyond_worker.is_empty());
}

#[test]
fn an_image_is_beyond_our_worker_and_is_named_where_it_stands() {
    let image = json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": {} }] }]);
    let ask = decoded(with("messages", image)).unwrap();
    assert_eq!(ask.beyond_worker, ["messages[0].content[0]"]);
}
