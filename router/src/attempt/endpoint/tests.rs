//! What goes to an endpoint, held against the table of fields.

use std::collections::BTreeMap;

use super::*;
use crate::decode::chat;
use crate::decode::fields::{CHAT, Treatment};

/// One that is nowhere.
pub(crate) fn endpoint() -> Endpoint {
    Endpoint {
        provider: Provider::OpenAICompatible,
        model: "theirs".into(),
        base_url: "http://localhost/v1".into(),
        unsupported: vec!["user".into()],
        api_key: None,
        ca_bundle: None,
        headers: Vec::new(),
        max_output_tokens: Some(100),
        price: Default::default(),
        timeouts: Timeouts {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(1),
            idle: Duration::from_secs(1),
        },
    }
}

/// A value for each field of the table that is allowed and is not neutral.
fn said(field: &str) -> Value {
    match field {
        "model" => json!("ours"),
        "messages" => json!([{ "role": "user", "content": "hi" }]),
        "stream" | "store" | "logprobs" | "parallel_tool_calls" => json!(true),
        "tools" | "functions" | "modalities" => json!([{ "type": "function" }]),
        "stop" | "tool_choice" | "function_call" | "user" | "service_tier" => json!("x"),
        "n" | "top_k" | "seed" | "max_tokens" | "max_completion_tokens" => json!(2),
        "temperature" | "top_p" | "min_p" | "repetition_penalty" => json!(0.5),
        "presence_penalty" | "frequency_penalty" => json!(0.5),
        _ => json!({ "include_usage": true }),
    }
}

#[test]
fn an_endpoint_gets_what_the_table_of_fields_says() {
    for row in CHAT {
        let mut asked = json!({ "model": said("model"), "messages": said("messages") });
        asked[row.field] = said(row.field);
        let ask = chat(asked.to_string().as_bytes());
        if row.endpoint == Treatment::Required {
            assert!(ask.is_err(), "{} is not refused", row.field);
            continue;
        }
        let ask = ask.unwrap_or_else(|error| panic!("{}: {error}", row.field));
        let mut endpoint = endpoint();
        endpoint.unsupported.clear();
        let sent = body(&endpoint, &ask);
        match row.endpoint {
            Treatment::Carry => assert_eq!(sent[row.field], asked[row.field], "{}", row.field),
            treatment => assert_eq!(treatment, Treatment::Map, "{}", row.field),
        }
    }
}

#[test]
fn what_is_mapped_arrives_in_the_endpoints_own_form() {
    let asked = json!({
        "model": "ours", "max_completion_tokens": 400, "user": "u", "made_up": 1,
        "messages": [{ "role": "developer", "content": "route it" }],
    });
    let ask = chat(asked.to_string().as_bytes()).unwrap();
    let compatible = body(&endpoint(), &ask);
    let expected = json!({
        "model": "theirs", "max_tokens": 100, "made_up": 1, "stream": true,
        "stream_options": { "include_usage": true },
        "messages": [{ "role": "system", "content": "route it" }],
    });
    assert_eq!(compatible, expected);
    let own = Endpoint {
        provider: Provider::OpenAI,
        ..endpoint()
    };
    let own = body(&own, &ask);
    let limits: BTreeMap<_, _> = ["max_tokens", "max_completion_tokens"]
        .into_iter()
        .map(|field| (field, own[field].as_u64()))
        .collect();
    let expected = [("max_tokens", None), ("max_completion_tokens", Some(100))];
    assert_eq!(limits, BTreeMap::from(expected));
    assert_eq!(own["messages"][0]["role"], "developer");
}
