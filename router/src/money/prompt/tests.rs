//! Prompts of every kind, and how long they are reckoned to be.

use super::*;
use crate::attempt::test_endpoint;
use crate::decode::decode;
use crate::wire::Wire;
use serde_json::json;

fn at(provider: Provider, wire: Wire, body: &Value) -> u64 {
    let ask = decode(wire, body.to_string().as_bytes()).unwrap();
    most_tokens(&ask, &test_endpoint(provider))
}

/// Of what a user says to Anthropic.
fn tokens(content: Value) -> u64 {
    let body = json!({
        "model": "m", "max_tokens": 1,
        "messages": [{ "role": "user", "content": content }],
    });
    at(Provider::Anthropic, Wire::Messages, &body)
}

/// Of what a user says on the wire of chat completions.
fn chat(content: Value) -> u64 {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": content }] });
    at(Provider::OpenAI, Wire::Chat, &body)
}

#[test]
fn a_text_has_no_more_tokens_than_bytes_whatever_it_looks_like() {
    let nothing = tokens(json!(""));
    assert!(nothing < 200, "{nothing}");
    for text in ["x", "data:image/png;base64,", "語"] {
        let many = text.repeat(3000);
        assert_eq!(tokens(json!(many)) - nothing, many.len() as u64);
    }
}

#[test]
fn an_image_counts_whole_wherever_it_is() {
    let image = |source: Value| tokens(json!([{ "type": "image", "source": source }]));
    let data = "A".repeat(1 << 20);
    for source in [
        json!({ "type": "base64", "media_type": "image/png", "data": data }),
        json!({ "type": "base64", "media_type": "image/png", "data": "AAAA" }),
        json!({ "type": "url", "url": "https://images.example.com/1.png" }),
        json!({ "type": "file", "file_id": "file_1" }),
    ] {
        let tokens = image(source);
        assert!((5000..5300).contains(&tokens), "{tokens}");
    }
    let url = |url: &str| chat(json!([{ "type": "image_url", "image_url": { "url": url } }]));
    for address in [
        "https://images.example.com/1.png",
        "data:image/png;base64,AAAA",
    ] {
        assert!((15_000..15_300).contains(&url(address)));
    }
    assert_eq!(url("data:application/pdf;base64,AAAA"), LONGEST_PROMPT);
    let result = json!([{ "type": "tool_result", "tool_use_id": "1", "content": [
        { "type": "image", "source": { "type": "url", "url": "https://images.example.com/1.png" } },
    ] }]);
    assert!(tokens(result) > 5000);
}

#[test]
fn what_cannot_be_seen_is_as_long_as_the_longest_prompt() {
    let document = |source: Value| tokens(json!([{ "type": "document", "source": source }]));
    for source in [
        json!({ "type": "url", "url": "https://documents.example.com/1.pdf" }),
        json!({ "type": "file", "file_id": "file_1" }),
        json!({ "type": "base64", "media_type": "application/pdf", "data": "AAAA" }),
    ] {
        assert_eq!(document(source), LONGEST_PROMPT);
    }
    for file in [
        json!({ "file_id": "file-1" }),
        json!({ "file_data": "data:application/pdf;base64,AAAA" }),
    ] {
        assert_eq!(
            chat(json!([{ "type": "file", "file": file }])),
            LONGEST_PROMPT
        );
    }
    let body = json!({ "model": "m", "input": [{ "role": "user", "content": [
        { "type": "input_file", "file_url": "https://documents.example.com/1.pdf" },
    ] }] });
    assert_eq!(at(Provider::OpenAI, Wire::Responses, &body), LONGEST_PROMPT);
}

#[test]
fn a_part_that_nobody_knows_is_text_unless_it_names_something_else() {
    let of = |part: Value| {
        let body = json!({ "model": "m", "input": [{ "role": "user", "content": [part] }] });
        at(Provider::OpenAI, Wire::Responses, &body)
    };
    let odd = json!({ "type": "input_odd", "odd": { "url": "https://documents.example.com/1" } });
    assert_eq!(of(odd), LONGEST_PROMPT);
    assert!(of(json!({ "type": "input_odd", "odd": "some words" })) < 300);
    let call = json!([{ "type": "tool_use", "id": "1", "name": "f", "input": {
        "type": "file", "url": "https://documents.example.com/1",
    } }]);
    assert!(tokens(call) < 300, "what a tool is called with is text");
}

#[test]
fn a_document_that_is_text_counts_as_text() {
    let text = "y".repeat(3000);
    let plain = json!({ "type": "text", "media_type": "text/plain", "data": text });
    let parts = json!({ "type": "content", "content": [{ "type": "text", "text": text }] });
    for source in [plain, parts] {
        let tokens = tokens(json!([{ "type": "document", "source": source }]));
        assert!((3000..3300).contains(&tokens), "{tokens}");
    }
}

#[test]
fn what_tools_are_and_answered_counts_too() {
    let answered = json!({ "model": "m", "messages": [
        { "role": "user", "content": "look" },
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}" } },
        ] },
        { "role": "tool", "tool_call_id": "1", "content": "y".repeat(3000) },
    ] });
    assert!(at(Provider::OpenAI, Wire::Chat, &answered) > 3000);
    let with = |tools: Value| {
        let body = json!({
            "model": "m", "max_tokens": 1, "tools": tools,
            "messages": [{ "role": "user", "content": "hi" }],
        });
        at(Provider::Anthropic, Wire::Messages, &body)
    };
    let bash = with(json!([{ "type": "bash_20250124", "name": "bash" }]));
    assert!(bash > 530 + 245, "{bash}");
    let described = json!([{ "name": "f", "description": "d".repeat(3000), "input_schema": {} }]);
    assert!(with(described) > 3000);
}

#[test]
fn tokens_and_sound_are_counted_as_what_they_are() {
    let body = |prompt: Value| json!({ "model": "m", "prompt": prompt });
    let of = |prompt| at(Provider::OpenAI, Wire::Completions, &body(prompt));
    let numbers: Vec<u32> = (100_000..101_000).collect();
    assert_eq!(of(json!([numbers])) - of(json!([[1]])), 999);
    let sound = json!([{ "type": "input_audio", "input_audio": {
        "data": "A".repeat(16_000), "format": "mp3",
    } }]);
    let tokens = chat(sound);
    assert!((1000..1400).contains(&tokens), "{tokens}");
}
