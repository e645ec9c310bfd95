//! What goes to an endpoint, held against the table of fields.

use std::time::Duration;

use serde_json::{Value, json};
use weir_crds::Provider;
use weir_policy::tier::Timeouts;

use super::*;
use crate::decode::decode;
use crate::wire::Treatment;

const PROVIDERS: [Provider; 3] = [
    Provider::OpenAICompatible,
    Provider::OpenAI,
    Provider::Anthropic,
];

/// One that is nowhere.
pub(crate) fn endpoint(provider: Provider) -> Endpoint {
    Endpoint {
        provider,
        model: "theirs".into(),
        base_url: "http://localhost/v1".into(),
        unsupported: Vec::new(),
        api_key: None,
        ca_bundle: None,
        headers: Vec::new(),
        api_version: Some("2023-06-01".into()),
        default_output_tokens: None,
        max_output_tokens: Some(100),
        has_budget: false,
        price: Default::default(),
        timeouts: Timeouts {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(1),
            idle: Duration::from_secs(1),
        },
    }
}

/// The least that each wire takes.
fn least(wire: Wire) -> Value {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    match wire {
        Wire::Chat => json!({ "model": "ours", "messages": messages }),
        Wire::Completions => json!({ "model": "ours", "prompt": "hi" }),
        Wire::Responses | Wire::Embeddings => json!({ "model": "ours", "input": "hi" }),
        Wire::Messages => json!({ "model": "ours", "messages": messages, "max_tokens": 50 }),
    }
}

fn ask(wire: Wire, body: &Value) -> Ask {
    let ask = decode(wire, body.to_string().as_bytes());
    ask.unwrap_or_else(|error| panic!("{body}: {error}"))
}

/// A value for each field that is allowed and is not neutral.
fn said(wire: Wire, field: &str) -> Value {
    let function = json!({ "name": "f", "parameters": { "type": "object" } });
    match (wire, field) {
        (_, "model") => json!("ours"),
        (Wire::Chat, "tools") => json!([{ "type": "function", "function": function }]),
        (Wire::Responses, "tools") => {
            json!([{ "type": "function", "name": "f", "parameters": {} }])
        }
        (Wire::Messages, "tools") => json!([{ "name": "f", "input_schema": {} }]),
        (Wire::Messages, "tool_choice") => json!({ "type": "none" }),
        (_, "tool_choice") => json!("none"),
        (_, "function_call") => json!({ "name": "f" }),
        (Wire::Messages, "thinking") => json!({ "type": "enabled", "budget_tokens": 1024 }),
        (Wire::Messages, "metadata") => json!({ "user_id": "u" }),
        (Wire::Completions, "logprobs") => json!(2),
        (_, "stream" | "store" | "logprobs" | "echo" | "ignore_eos" | "background") => json!(true),
        (_, "parallel_tool_calls") => json!(false),
        (_, "functions" | "include" | "mcp_servers" | "fallbacks" | "context_management") => {
            json!([{ "type": "function" }])
        }
        (_, "modalities") => json!(["audio"]),
        (_, "messages") => json!([{ "role": "user", "content": "hi" }]),
        (_, "stop" | "stop_sequences" | "guided_choice") => json!(["x"]),
        (_, "n" | "top_k" | "seed" | "max_tokens" | "max_completion_tokens" | "best_of") => {
            json!(2)
        }
        (
            _,
            "dimensions" | "max_output_tokens" | "top_logprobs" | "min_tokens" | "max_tool_calls",
        ) => json!(2),
        (_, "stop_token_ids") => json!([2]),
        (_, "logit_bias") => json!({ "1": 2 }),
        (_, "temperature" | "top_p" | "min_p" | "typical_p" | "repetition_penalty") => json!(0.5),
        (_, "presence_penalty" | "frequency_penalty") => json!(0.5),
        (_, "response_format") => {
            json!({ "type": "json_schema", "json_schema": { "name": "s", "schema": {} } })
        }
        (_, "text.format") => json!({ "type": "json_schema", "name": "s", "schema": {} }),
        (_, "output_config.format" | "output_format") => {
            json!({ "type": "json_schema", "schema": {} })
        }
        (_, "guided_json" | "structured_outputs") => json!({ "json": {} }),
        (_, "stream_options") => json!({ "include_usage": true }),
        (_, "chat_template_kwargs" | "metadata") => json!({ "a": "b" }),
        (_, "reasoning_effort" | "output_config.effort" | "reasoning.effort") => json!("low"),
        (_, "encoding_format") => json!("float"),
        _ => json!("x"),
    }
}

/// Puts the value at a field that may be a member of another.
fn put(body: &mut Value, field: &str, value: Value) {
    match field.split_once('.') {
        None => body[field] = value,
        Some((of, member)) => body[of] = json!({ member: value }),
    }
}

fn get<'a>(body: &'a Value, field: &str) -> &'a Value {
    match field.split_once('.') {
        None => &body[field],
        Some((of, member)) => &body[of][member],
    }
}

/// The table against the code: what is carried arrives as it was, what is mapped changes what is
/// sent, what is advisory leaves no trace, and what is required takes the tier out.
#[test]
fn an_endpoint_gets_what_the_table_of_fields_says() {
    for wire in Wire::ALL {
        for row in wire.rows() {
            let mut body = least(wire);
            if row.field == "tool_choice" || row.field == "parallel_tool_calls" {
                body["tools"] = said(wire, "tools");
            }
            if row.field == "top_logprobs" && wire == Wire::Chat {
                body["logprobs"] = json!(true);
            }
            let without = body.clone();
            put(&mut body, row.field, said(wire, row.field));
            let Ok(asked) = decode(wire, body.to_string().as_bytes()) else {
                let all_required = Upstream::ALL.map(|upstream| row.at(upstream));
                assert_eq!(
                    all_required,
                    [Treatment::Required; 4],
                    "{wire:?} {}",
                    row.field
                );
                continue;
            };
            for provider in PROVIDERS {
                let endpoint = endpoint(provider);
                let upstream = Upstream::of_endpoint(&endpoint);
                let at = format!("{wire:?} {} {upstream:?}", row.field);
                let treatment = row.at(upstream);
                let beyond = asked.beyond(upstream);
                let is_required = beyond.required.iter().any(|field| field == row.field);
                assert_eq!(is_required, treatment == Treatment::Required, "{at}");
                let is_advisory = beyond.advisory.iter().any(|field| field == row.field);
                assert_eq!(is_advisory, treatment == Treatment::Advisory, "{at}");
                let Some(to) = upstream.wire_for(wire) else {
                    continue;
                };
                let sent = request::body(to, &endpoint, &asked);
                let plain = request::body(to, &endpoint, &ask(wire, &without));
                match treatment {
                    Treatment::Carry => {
                        assert_eq!(get(&sent, row.field), get(&body, row.field), "{at}");
                    }
                    Treatment::Advisory => assert_eq!(sent, plain, "{at}"),
                    // These are the same whatever the client says.
                    Treatment::Map if ALWAYS.contains(&row.field) => {}
                    Treatment::Map => assert_ne!(sent, plain, "{at}"),
                    Treatment::Required => {}
                }
            }
        }
    }
}

const ALWAYS: [&str; 10] = [
    "encoding_format",
    "model",
    "messages",
    "input",
    "prompt",
    "stream",
    "stream_options",
    "store",
    "include",
    "thinking",
];

#[test]
fn what_is_mapped_arrives_in_the_endpoints_own_form() {
    let asked = json!({
        "model": "ours", "max_completion_tokens": 400, "user": "u", "made_up": 1,
        "messages": [{ "role": "developer", "content": "route it" }],
    });
    let ask = ask(Wire::Chat, &asked);
    let mut compatible = endpoint(Provider::OpenAICompatible);
    compatible.unsupported.push("user".into());
    let sent = request::body(Wire::Chat, &compatible, &ask);
    let expected = json!({
        "model": "theirs", "max_tokens": 100, "made_up": 1, "stream": true,
        "stream_options": { "include_usage": true },
        "messages": [{ "role": "system", "content": "route it" }],
    });
    assert_eq!(sent, expected);
    let own = request::body(Wire::Chat, &endpoint(Provider::OpenAI), &ask);
    assert_eq!(
        (&own["max_tokens"], &own["max_completion_tokens"]),
        (&Value::Null, &json!(100))
    );
    assert_eq!(own["messages"][0]["role"], "developer");
}

#[test]
fn a_chat_with_tools_becomes_anthropics() {
    let tool = json!({ "type": "function", "function": {
        "name": "f", "description": "d", "parameters": { "type": "object" },
    } });
    let asked = json!({
        "model": "ours", "temperature": 1.5, "stop": ["\n", "END"], "tools": [tool],
        "tool_choice": "required", "parallel_tool_calls": false, "reasoning_effort": "minimal",
        "user": "u",
        "messages": [
            { "role": "system", "content": "be kind" },
            { "role": "user", "content": [
                { "type": "text", "text": "look" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } },
            ] },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } },
                { "id": "c2", "type": "function", "function": { "name": "f", "arguments": "no json" } },
            ] },
            { "role": "tool", "tool_call_id": "c1", "content": "one" },
            { "role": "tool", "tool_call_id": "c2", "content": "two" },
            { "role": "user", "content": "and?" },
        ],
    });
    let sent = request::body(
        Wire::Messages,
        &endpoint(Provider::Anthropic),
        &ask(Wire::Chat, &asked),
    );
    let expected = json!({
        "system": "be kind",
        "messages": [
            { "role": "user", "content": [
                { "type": "text", "text": "look" },
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } },
            ] },
            { "role": "assistant", "content": [
                { "type": "tool_use", "id": "c1", "name": "f", "input": { "a": 1 } },
                { "type": "tool_use", "id": "c2", "name": "f", "input": {} },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "c1", "content": [{ "type": "text", "text": "one" }] },
                { "type": "tool_result", "tool_use_id": "c2", "content": [{ "type": "text", "text": "two" }] },
                { "type": "text", "text": "and?" },
            ] },
        ],
        "temperature": 1.0, "stop_sequences": ["END"],
        "tools": [{ "name": "f", "input_schema": { "type": "object" }, "description": "d" }],
        "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
        "output_config": { "effort": "low" }, "metadata": { "user_id": "u" },
        "model": "theirs", "stream": true, "max_tokens": 100,
    });
    assert_eq!(sent, expected);
}

#[test]
fn where_an_endpoint_is_asked() {
    let openai = endpoint(Provider::OpenAI);
    assert_eq!(
        url(&openai, Wire::Responses),
        "http://localhost/v1/responses"
    );
    for base in ["http://localhost", "http://localhost/v1"] {
        let anthropic = Endpoint {
            base_url: base.into(),
            ..endpoint(Provider::Anthropic)
        };
        assert_eq!(
            url(&anthropic, Wire::Messages),
            "http://localhost/v1/messages"
        );
    }
}

#[test]
fn what_anthropic_has_no_word_for_is_named() {
    let named = |extra: Value| {
        let mut asked = least(Wire::Chat);
        for (field, value) in extra.as_object().unwrap() {
            asked[field] = value.clone();
        }
        ask(Wire::Chat, &asked).beyond(Upstream::Anthropic).advisory
    };
    assert_eq!(named(json!({ "stop": ["END", "\n\n"] })), ["stop[1]"]);
    assert_eq!(named(json!({ "stop": "\n" })), ["stop"]);
    assert_eq!(
        named(json!({ "reasoning_effort": "none" })),
        ["reasoning_effort"]
    );
    assert!(named(json!({ "stop": ["END"], "reasoning_effort": "minimal" })).is_empty());
    let mut asked = least(Wire::Responses);
    asked["reasoning"] = json!({ "effort": "none" });
    let beyond = ask(Wire::Responses, &asked).beyond(Upstream::Anthropic);
    assert_eq!(beyond.advisory, ["reasoning.effort"]);
}

#[test]
fn a_stream_is_known_by_its_type_however_that_is_written() {
    let is_stream = |kind: &'static str, coding: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        is_event_stream(&headers)
    };
    assert!(is_stream("text/event-stream", "identity"));
    assert!(is_stream("Text/Event-Stream ; charset=utf-8", "Identity"));
    assert!(!is_stream("text/event-stream", "gzip"));
    assert!(!is_stream("application/json", "identity"));
    assert!(is_event_stream(&HeaderMap::new()));
}

#[test]
fn a_number_goes_on_as_the_double_that_it_came_as() {
    let double = |text: &str| text.parse::<f64>().unwrap().to_bits();
    // Read less exactly, each of them would be the double beside it.
    for number in [
        "31.245270191439438",
        "0.30000000000000004",
        "2.0919495182368195e-5",
    ] {
        let text = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"x_weight":{number}}}"#
        );
        let ask = decode(Wire::Chat, text.as_bytes()).unwrap();
        let sent =
            request::body(Wire::Chat, &endpoint(Provider::OpenAICompatible), &ask).to_string();
        let (_, weight) = sent.split_once("\"x_weight\":").unwrap();
        let (weight, _) = weight.split_once([',', '}']).unwrap();
        // It may be spelled otherwise.
        assert_eq!(double(weight), double(number), "{sent}");
    }
}
