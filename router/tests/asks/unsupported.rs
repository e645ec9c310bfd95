//! Endpoints whose policy says what they do not take, asked on every wire: nothing that decides the
//! answer is lost without a word.

use http::HeaderMap;
use serde_json::{Value, json};

use crate::rig::{QUESTION, Rig, Setup, header, merge};
use crate::wires::{KEY, Seen, Wire};

/// A policy whose only tier is the stand-in as this provider.
async fn rig(provider: &str, endpoint: Value) -> Rig {
    let key = json!({ "name": "frontier", "key": "api-key" });
    let mut only = json!({ "provider": provider, "apiKeySecretRef": key });
    merge(&mut only, endpoint);
    let policy = json!({
        "rules": [{ "name": "up", "when": {}, "then": { "only": "frontier" } }],
        "tiers": [{}, { "endpoint": only }],
    });
    Rig::start(Setup {
        policy,
        secrets: &[("frontier", "api-key", KEY)],
        ..Setup::default()
    })
    .await
}

fn with(wire: Wire, extra: &Value) -> Value {
    let mut body = wire.body(QUESTION, false);
    for (field, value) in extra.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

/// Asks with `extra`, which nobody is left to serve because of `field`.
async fn is_refused(rig: &Rig, wire: Wire, extra: &Value, field: &str) {
    let response = wire.ask(rig, &with(wire, extra), HeaderMap::new()).await;
    let Seen::Refused(400, error) = wire.see(response, false).await else {
        panic!("{wire:?} {extra} is served");
    };
    let expected = format!("no tier of the model can serve the field {field}");
    assert_eq!(error["message"], expected);
    if wire != Wire::Messages {
        assert_eq!(error["param"], field);
    }
    assert!(rig.sent_to_frontier().await.is_empty());
}

/// Asks with `extra`, and gives what was left out and what was sent.
async fn is_answered(rig: &Rig, wire: Wire, extra: &Value) -> (String, Value) {
    let response = wire.ask(rig, &with(wire, extra), HeaderMap::new()).await;
    let dropped = header(&response, "x-weir-dropped");
    let seen = wire.see(response, false).await;
    assert!(matches!(seen, Seen::Whole(_)), "{wire:?} {extra}: {seen:?}");
    let sent = rig.sent_to_frontier().await.pop().unwrap();
    (dropped, sent["body"].clone())
}

fn schema() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

/// A schema as this wire asks for it, and the field that does.
fn shaped(wire: Wire) -> (Value, &'static str) {
    let schema = schema();
    match wire {
        Wire::Chat => {
            let named = json!({ "name": "s", "schema": schema });
            let format = json!({ "type": "json_schema", "json_schema": named });
            (json!({ "response_format": format }), "response_format")
        }
        Wire::Responses => {
            let format = json!({ "type": "json_schema", "name": "s", "schema": schema });
            (json!({ "text": { "format": format } }), "text.format")
        }
        Wire::Messages => {
            let format = json!({ "type": "json_schema", "schema": schema });
            let field = "output_config.format";
            (json!({ "output_config": { "format": format } }), field)
        }
    }
}

#[tokio::test]
async fn a_schema_that_an_endpoint_does_not_take_is_never_lost_whoever_names_it_and_how() {
    for entry in ["response_format", "text.format", "output_config.format"] {
        for provider in ["OpenAICompatible", "OpenAI", "Anthropic"] {
            let rig = rig(provider, json!({ "unsupported": [entry] })).await;
            for wire in Wire::ALL {
                let (extra, field) = shaped(wire);
                is_refused(&rig, wire, &extra, field).await;
            }
        }
    }
}

#[tokio::test]
async fn tools_and_log_probabilities_take_the_tier_out_on_every_wire() {
    let compatible = rig(
        "OpenAICompatible",
        json!({ "unsupported": ["tools", "top_logprobs"] }),
    )
    .await;
    let function = json!({ "name": "f", "parameters": schema() });
    let tools = json!({ "tools": [{ "type": "function", "function": function }] });
    is_refused(&compatible, Wire::Chat, &tools, "tools").await;
    let tools = json!({ "tools": [{ "name": "f", "input_schema": schema() }] });
    is_refused(&compatible, Wire::Messages, &tools, "tools").await;
    let top = json!({ "top_logprobs": 2 });
    is_refused(&compatible, Wire::Responses, &top, "top_logprobs").await;
    let included = json!({ "include": ["message.output_text.logprobs"] });
    is_refused(&compatible, Wire::Responses, &included, "include").await;
    let anthropic = rig("Anthropic", json!({})).await;
    is_refused(&anthropic, Wire::Responses, &included, "include").await;
}

#[tokio::test]
async fn what_may_be_left_out_is_named_as_the_client_named_it_and_is_not_sent() {
    for (provider, entry, wire, extra, named, absent) in [
        (
            "OpenAICompatible",
            "stop",
            Wire::Messages,
            json!({ "stop_sequences": ["END"] }),
            "stop_sequences",
            "/stop",
        ),
        (
            "OpenAICompatible",
            "max_tokens",
            Wire::Responses,
            json!({ "max_output_tokens": 99 }),
            "max_output_tokens",
            "/max_tokens",
        ),
        (
            "OpenAI",
            "reasoning_effort",
            Wire::Messages,
            json!({ "output_config": { "effort": "low" } }),
            "output_config.effort",
            "/reasoning_effort",
        ),
        (
            "OpenAI",
            "reasoning.effort",
            Wire::Responses,
            json!({ "reasoning": { "effort": "low" } }),
            "reasoning.effort",
            "/reasoning",
        ),
        (
            "Anthropic",
            "stop_sequences",
            Wire::Chat,
            json!({ "stop": ["END"] }),
            "stop",
            "/stop_sequences",
        ),
        (
            "Anthropic",
            "output_config.effort",
            Wire::Messages,
            json!({ "output_config": { "effort": "low" } }),
            "output_config.effort",
            "/output_config",
        ),
        (
            "OpenAICompatible",
            "user",
            Wire::Messages,
            json!({ "metadata": { "user_id": "u" } }),
            "metadata.user_id",
            "/user",
        ),
    ] {
        let at = format!("{entry} of {provider} for {wire:?}");
        let rig = rig(provider, json!({ "unsupported": [entry] })).await;
        let (dropped, sent) = is_answered(&rig, wire, &extra).await;
        assert_eq!(dropped, named, "{at}");
        assert_eq!(sent.pointer(absent), None, "{at}: {sent}");
        let (dropped, _) = is_answered(&rig, wire, &json!({})).await;
        assert_eq!(dropped, "", "{at}");
    }
}

/// The question with an image, and where that stands.
fn seen(wire: Wire) -> (Value, &'static str) {
    let url = "data:image/png;base64,iVBORw0KGgo=";
    let turn = |part: Value| json!([{ "role": "user", "content": [part] }]);
    match wire {
        Wire::Chat => {
            let part = json!({ "type": "image_url", "image_url": { "url": url } });
            (json!({ "messages": turn(part) }), "messages[0].content[0]")
        }
        Wire::Responses => {
            let part = json!({ "type": "input_image", "image_url": url });
            (json!({ "input": turn(part) }), "input[0].content[0]")
        }
        Wire::Messages => {
            let source =
                json!({ "type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo=" });
            let part = json!({ "type": "image", "source": source });
            (json!({ "messages": turn(part) }), "messages[0].content[0]")
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_is_blind_is_not_asked_to_look() {
    for entry in ["images", "image_url"] {
        for provider in ["OpenAICompatible", "OpenAI", "Anthropic"] {
            let rig = rig(provider, json!({ "unsupported": [entry] })).await;
            for wire in Wire::ALL {
                let (extra, field) = seen(wire);
                is_refused(&rig, wire, &extra, field).await;
            }
            is_answered(&rig, Wire::Chat, &json!({})).await;
        }
    }
}

#[tokio::test]
async fn an_answer_that_the_client_has_begun_goes_only_where_it_is_gone_on_with() {
    let begun = json!([
        { "role": "user", "content": QUESTION },
        { "role": "assistant", "content": "The team is" },
    ]);
    let asked = |wire: Wire| match wire {
        Wire::Responses => (json!({ "input": begun }), "input"),
        _ => (json!({ "messages": begun }), "messages"),
    };
    for version in [json!({}), json!({ "apiVersion": "2026-10-21" })] {
        let newer = rig("Anthropic", version).await;
        for wire in Wire::ALL {
            let (extra, field) = asked(wire);
            is_refused(&newer, wire, &extra, field).await;
        }
    }
    let older = rig("Anthropic", json!({ "apiVersion": "2023-06-01" })).await;
    let compatible = rig("OpenAICompatible", json!({})).await;
    for wire in Wire::ALL {
        let (extra, _) = asked(wire);
        is_answered(&older, wire, &extra).await;
        is_answered(&compatible, wire, &extra).await;
    }
}
