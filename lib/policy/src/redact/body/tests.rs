//! Whole bodies of each wire, and what does not leave.

use serde_json::json;
use weir_crds::{Redact, RedactKind};

use super::super::{Redacted, Redaction};
use super::*;

const SECRETS: [&str; 4] = ["bob@x.com", "4111111111111111", "10.0.0.1", "TICKET-7"];

fn redaction() -> Redaction {
    let redact = Redact {
        kinds: vec![
            RedactKind::Email,
            RedactKind::Phone,
            RedactKind::CreditCard,
            RedactKind::IpAddress,
        ],
        patterns: vec!["TICKET-[0-9]+".into()],
    };
    Redaction::compile(&redact).unwrap()
}

/// What leaves instead of `body`.
fn sent(body: &Value) -> (Value, Redacted) {
    let mut sent = body.clone();
    let redacted = redaction().apply(&mut sent).unwrap();
    let text = sent.to_string();
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} leaves in {text}");
    }
    (sent, redacted)
}

#[track_caller]
fn refused(body: Value, field: &str, why: Why) {
    let error = redaction().apply(&mut body.clone()).unwrap_err();
    assert_eq!((error.field.as_str(), error.why), (field, why));
    if why == Why::Type || why == Why::Opaque {
        assert_eq!(Redaction::check(&body), Err(error));
    }
}

#[test]
fn nothing_private_is_left_anywhere_in_a_chat() {
    let body = json!({
        "model": "big", "user": "bob@x.com", "stop": ["TICKET-7"], "seed": 4111111111111111_u64,
        "metadata": { "bob@x.com": "10.0.0.1" }, "unknown": { "deep": ["bob@x.com", { "n": 4111111111111111_u64 }] },
        "messages": [
            { "role": "system", "content": "Serve bob@x.com at 10.0.0.1." },
            { "role": "user", "name": "TICKET-7", "content": [{ "type": "text", "text": "I am bob@x.com" }] },
            { "role": "assistant", "content": null, "tool_calls": [{
                "id": "call_TICKET-7", "type": "function",
                "function": { "name": "find_TICKET-7", "arguments": "{ \"to\":\"bob@x.com\", \"card\": 4111111111111111 }" },
            }] },
            { "role": "tool", "tool_call_id": "call_TICKET-7", "content": "{\"ip\": \"10.0.0.1\"}" },
        ],
        "tools": [{ "type": "function", "function": {
            "name": "find_TICKET-7", "description": "as bob@x.com said",
            "parameters": { "type": "object", "properties": { "TICKET-7": { "enum": ["bob@x.com"] } } },
        } }],
        "prediction": { "type": "content", "content": "bob@x.com" },
        "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": { "const": "10.0.0.1" } } },
    });
    let mut without_seed = body.clone();
    without_seed["seed"] = 7.into();
    let (sent, redacted) = sent(&without_seed);
    assert_eq!(sent["messages"][0]["content"], "Serve [EMAIL_1] at [IP_1].");
    assert_eq!(sent["messages"][1]["name"], "PRIVATE_1");
    let call = &sent["messages"][2]["tool_calls"][0];
    assert_eq!(
        call["function"]["arguments"],
        "{ \"to\":\"[EMAIL_1]\", \"card\": \"[CARD_1]\" }"
    );
    assert_eq!(call["id"], sent["messages"][3]["tool_call_id"]);
    assert_eq!(
        sent["tools"][0]["function"]["parameters"]["properties"]["[PRIVATE_1]"]["enum"][0],
        "[EMAIL_1]"
    );
    let mut name = call["function"]["name"].as_str().unwrap().to_owned();
    assert_eq!(name, "find_PRIVATE_1");
    redacted.restore_name(&mut name);
    assert_eq!(name, "find_TICKET-7");
    let mut restored = sent["metadata"].clone();
    redacted.restore_json(&mut restored);
    assert_eq!(restored, body["metadata"]);
}

#[test]
fn nothing_private_is_left_in_responses_and_messages() {
    let responses = json!({
        "model": "big", "instructions": "bob@x.com",
        "input": [
            { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "at 10.0.0.1" }] },
            { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "bob@x.com" }], "encrypted_content": null },
            { "type": "function_call", "call_id": "c1", "name": "find", "arguments": "{\"a\":\"TICKET-7\"}" },
            { "type": "function_call_output", "call_id": "c1", "output": "[\"bob@x.com\"]" },
        ],
        "text": { "format": { "type": "json_schema", "name": "x", "schema": { "TICKET-7": 1 } } },
        "tools": [{ "type": "function", "name": "find", "parameters": { "description": "10.0.0.1" } }],
    });
    assert_eq!(sent(&responses).1.len(), 3);
    let messages = json!({
        "model": "big", "max_tokens": 10, "metadata": { "user_id": "bob@x.com" }, "stop_sequences": ["TICKET-7"],
        "system": [{ "type": "text", "text": "10.0.0.1", "cache_control": { "type": "ephemeral" } }],
        "messages": [
            { "role": "user", "content": "bob@x.com" },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "t1", "name": "find", "input": { "bob@x.com": 4111111111111111_u64 } }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t1", "content": [{ "type": "text", "text": "TICKET-7" }] }] },
        ],
        "tools": [{ "name": "find", "input_schema": { "type": "object", "default": "bob@x.com" } }],
        "tool_choice": { "type": "auto" }, "thinking": { "type": "enabled", "budget_tokens": 1024 },
    });
    let (sent, redacted) = sent(&messages);
    assert_eq!(redacted.len(), 4);
    assert_eq!(
        sent["messages"][1]["content"][0]["input"],
        json!({ "[EMAIL_1]": "[CARD_1]" })
    );
}

#[test]
fn a_body_without_private_values_leaves_as_it_came() {
    let body = json!({
        "model": "big", "seed": 4111111111111111_u64, "max_tokens": 4096, "temperature": 0.7,
        "messages": [{ "role": "user", "content": "On 2024-11-22 version 1.2.3 cost 1,234.50." }],
        "logit_bias": { "50256": -100 }, "tool_choice": "auto",
    });
    let (sent, redacted) = sent_of(&body);
    assert_eq!(sent, body);
    assert!(redacted.is_empty());
}

fn sent_of(body: &Value) -> (Value, Redacted) {
    let mut sent = body.clone();
    let redacted = redaction().apply(&mut sent).unwrap();
    (sent, redacted)
}

#[test]
fn what_cannot_be_looked_through_does_not_leave() {
    let part = |part: Value| json!({ "messages": [{ "role": "user", "content": [{ "type": "text", "text": "hi" }, part] }] });
    for kind in [
        "image_url",
        "input_image",
        "input_file",
        "file",
        "input_audio",
        "image",
        "document",
        "container_upload",
        "redacted_thinking",
        "made_up",
    ] {
        refused(
            part(json!({ "type": kind })),
            "messages[0].content[1]",
            Why::Type,
        );
    }
    for field in OPAQUE {
        refused(
            part(json!({ "type": "text", "text": "", *field: "x" })),
            &format!("messages[0].content[1].{field}"),
            Why::Opaque,
        );
    }
    for tool in ["web_search", "code_interpreter", "mcp", "computer_20250124"] {
        refused(
            json!({ "tools": [{ "type": tool }] }),
            "tools[0]",
            Why::Type,
        );
    }
    let encrypted = json!({ "input": [{ "type": "reasoning", "encrypted_content": "gAAAA" }] });
    refused(encrypted, "input[0].encrypted_content", Why::Opaque);
    refused(
        json!({ "messages": [{ "role": "bob" }] }),
        "messages[0].role",
        Why::Role,
    );
    refused(json!({ "prompt": [1, 2] }), "prompt[0]", Why::Tokens);
    refused(json!({ "input": [[1, 2]] }), "input[0][0]", Why::Tokens);
    let image = format!("![](data:image/png;base64,{})", "iVBORw0KGgo".repeat(10));
    refused(
        json!({ "messages": [{ "content": image }] }),
        "messages[0].content",
        Why::File,
    );
    refused(json!({ "bob@x.com": 1 }), "", Why::Field);
    refused(json!({ "Bob5": { "bob@x.com": 1 } }), "*", Why::Field);
    let across = Redact {
        kinds: vec![],
        patterns: vec![r#""ssn": ?"\d+"#.into()],
    };
    let mut body = json!({ "arguments": r#"{"ssn": "123"}"#, "text": r#"{"ssn": "123"}"# });
    let error = Redaction::compile(&across)
        .unwrap()
        .apply(&mut body)
        .unwrap_err();
    assert_eq!(
        (error.field.as_str(), error.why),
        ("arguments", Why::AcrossJson)
    );
}

#[test]
fn a_value_that_goes_on_in_the_next_part_is_taken_out_whole() {
    let parts = |texts: &[&str]| {
        let parts: Vec<_> = texts
            .iter()
            .map(|text| json!({ "type": "text", "text": text }))
            .collect();
        let (sent, _) = sent_of(&json!({ "messages": [{ "role": "user", "content": parts }] }));
        let parts = sent["messages"][0]["content"].as_array().unwrap().clone();
        parts
            .iter()
            .map(|part| part["text"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        parts(&["I am bob@exa", "mple.com, yes"]),
        ["I am [EMAIL_1]", ", yes"]
    );
    assert_eq!(
        parts(&["4111 1111", " 1111 ", "1111 10.0.0.1"]),
        ["[CARD_1]", "", " [IP_1]"]
    );
    assert_eq!(
        parts(&["I am bob@x.com", "What is it?"]),
        ["I am [EMAIL_1]", "What is it?"]
    );
    assert_eq!(
        parts(&["{\"a\": \"bob@x.com\"}", "b"]),
        ["{\"a\": \"[EMAIL_1]\"}", "b"]
    );
}

#[test]
fn what_an_ask_says_literally_stands_for_no_value() {
    let body = json!({ "messages": [
        { "role": "user", "content": "bob@x.com wrote [EMAIL_1]" },
        { "role": "user", "content": "and [email_2]" },
    ] });
    let (sent, redacted) = sent_of(&body);
    assert_eq!(sent["messages"][0]["content"], "[EMAIL_3] wrote [EMAIL_1]");
    let mut echoed = sent;
    redacted.restore_json(&mut echoed);
    assert_eq!(echoed, body);
}
