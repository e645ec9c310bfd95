//! What a chat request may say, and what is answered where it may not.

use serde_json::json;

use super::*;
use crate::ask::{Form, Image, Input, Needed, Part, Role, ToolChoice};
use crate::wire::Upstream;

fn decoded(body: Value) -> Result<Ask, Refusal> {
    decode(Wire::Chat, body.to_string().as_bytes())
}

fn with(field: &str, value: Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    body[field] = value;
    body
}

#[test]
fn a_body_that_is_not_json_is_refused_with_the_place() {
    let Err(Refusal::NotJson(message)) = decode(Wire::Chat, b"{\"model\": }") else {
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
        (with("n", json!(129)), "n"),
    ] {
        names(&body, field);
    }
}

#[test]
fn a_field_about_tools_forms_or_tokens_that_is_wrong_is_named() {
    for (body, field) in [
        (with("top_logprobs", json!(2)), "top_logprobs"),
        (with("logit_bias", json!({ "a": 1 })), "logit_bias"),
        (with("stop_token_ids", json!([-1])), "stop_token_ids"),
        (with("metadata", json!([])), "metadata"),
        (with("tools", json!({})), "tools"),
        (
            with("tools", json!([{ "type": "function" }])),
            "tools[0].function",
        ),
        (
            with(
                "tools",
                json!([{ "type": "function", "function": { "name": "f", "parameters": 1 } }]),
            ),
            "tools[0].function.parameters",
        ),
        (with("tool_choice", json!("required")), "tool_choice"),
        (
            with(
                "tool_choice",
                json!({ "type": "function", "function": { "name": "f" } }),
            ),
            "tool_choice.function.name",
        ),
        (
            with("response_format", json!({ "type": "xml" })),
            "response_format.type",
        ),
        (
            with(
                "response_format",
                json!({ "type": "json_schema", "json_schema": { "schema": [] } }),
            ),
            "response_format.json_schema.schema",
        ),
        (with("guided_choice", json!([])), "guided_choice"),
        (
            with(
                "messages",
                json!([{ "role": "assistant", "tool_calls": [{ "id": "1" }] }]),
            ),
            "messages[0].tool_calls[0].function",
        ),
        (with("n", json!(0)), "n"),
        (with("n", json!("1")), "n"),
        (with("stop", json!("")), "stop"),
        (with("stop", json!(["a", ""])), "stop[1]"),
        (with("stop", json!("x".repeat(1025))), "stop"),
        (with("model", json!("m".repeat(257))), "model"),
        (with("seed", json!(1.5)), "seed"),
    ] {
        names(&body, field);
    }
}

fn names(body: &Value, field: &str) {
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

#[test]
fn a_role_of_any_length_is_not_repeated() {
    let role = "x".repeat(1 << 20);
    let refused = decoded(with("messages", json!([{ "role": role, "content": "hi" }])));
    assert!(refused.unwrap_err().to_string().len() < 200);
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
    assert_eq!(ask.messages()[0].role, Role::System);
    assert_eq!(ask.messages()[1].text(), "my invoice");
    assert_eq!(
        (ask.max_tokens, ask.sampling.temperature),
        (Some(8), Some(0.0))
    );
    assert_eq!(ask.sampling.seed, Some(u64::MAX));
    assert!(ask.stream && ask.include_usage);
    assert_eq!(ask.beyond(Upstream::Worker), Default::default());
}

#[test]
fn an_image_is_beyond_our_worker_and_is_named_where_it_stands() {
    let image = json!({ "type": "image_url", "image_url": { "url": "https://a/b.png" } });
    let ask = decoded(with(
        "messages",
        json!([{ "role": "user", "content": [image] }]),
    ))
    .unwrap();
    let beyond = |upstream| ask.beyond(upstream).required;
    assert_eq!(beyond(Upstream::Worker), ["messages[0].content[0]"]);
    assert!(beyond(Upstream::Anthropic).is_empty());
    let image = Part::Image(Image::Url("https://a/b.png".into()));
    assert_eq!(ask.messages()[0].parts, [image]);
}

#[test]
fn what_only_its_own_wire_can_say_is_named_where_it_stands() {
    let sound =
        json!([{ "role": "user", "content": [{ "type": "input_audio", "input_audio": {} }] }]);
    let tools = json!([{ "type": "custom", "custom": { "name": "c" } }]);
    for (body, field) in [
        (with("messages", sound), "messages[0].content[0]"),
        (with("tools", tools), "tools[0]"),
    ] {
        let ask = decoded(body).unwrap();
        assert_eq!(ask.needs[0].what, Needed::OwnWire);
        for upstream in [Upstream::Worker, Upstream::Anthropic] {
            assert_eq!(ask.beyond(upstream).required, [field]);
        }
        assert!(ask.beyond(Upstream::Compatible).required.is_empty());
    }
}

#[test]
fn tools_of_every_kind_count_as_tools_for_who_judges_the_answer() {
    let function = json!({ "name": "f", "parameters": {} });
    let custom = json!([{ "type": "custom", "custom": { "name": "c" } }]);
    let hosted = json!([{ "type": "web_search" }]);
    let remote = json!([{ "type": "url", "url": "https://a", "name": "a" }]);
    for (wire, field, brought) in [
        (
            Wire::Chat,
            "tools",
            json!([{ "type": "function", "function": function }]),
        ),
        (Wire::Chat, "tools", custom),
        (Wire::Chat, "functions", json!([function])),
        (Wire::Responses, "tools", hosted),
        (
            Wire::Messages,
            "tools",
            json!([{ "type": "bash_20250124", "name": "bash" }]),
        ),
        (Wire::Messages, "mcp_servers", remote),
    ] {
        let asked = |tools: &Value, choice: Option<Value>| {
            let mut body = with(field, tools.clone());
            (body["input"], body["max_tokens"]) = ("hi".into(), 9.into());
            body["tool_choice"] = choice.into();
            let ask = decode(wire, body.to_string().as_bytes()).unwrap();
            ask.asked().tools
        };
        let none = match wire {
            Wire::Messages => json!({ "type": "none" }),
            _ => json!("none"),
        };
        assert!(asked(&brought, None), "{wire:?} {field} {brought}");
        assert!(!asked(&brought, Some(none)), "{wire:?} {field}");
        assert!(!asked(&json!([]), None), "{wire:?} {field}");
    }
}

#[test]
fn any_json_object_is_beyond_anthropic() {
    let ask = decoded(with("response_format", json!({ "type": "json_object" }))).unwrap();
    assert_eq!(ask.form, Form::JsonObject);
    assert_eq!(
        ask.beyond(Upstream::Anthropic).required,
        ["response_format"]
    );
    assert!(ask.beyond(Upstream::Worker).required.is_empty());
}

#[test]
fn a_conversation_with_tools_is_understood() {
    let mut body = with(
        "messages",
        json!([
            { "role": "user", "content": "weather?" },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } },
            ] },
            { "role": "tool", "tool_call_id": "c1", "content": "rain" },
        ]),
    );
    body["tools"] = json!([{ "type": "function", "function": { "name": "f" } }]);
    body["tool_choice"] = json!({ "type": "function", "function": { "name": "f" } });
    body["parallel_tool_calls"] = json!(false);
    let ask = decoded(body).unwrap();
    let call = Part::Call {
        id: "c1".into(),
        name: "f".into(),
        arguments: "{}".into(),
    };
    assert_eq!(ask.messages()[1].parts, [call]);
    assert_eq!(ask.messages()[2].answers(), Some("c1"));
    assert_eq!(ask.messages()[2].text(), "rain");
    assert_eq!(ask.tool_choice, ToolChoice::Named("f".into()));
    assert!(ask.single_call);
}

fn completion(prompt: Value, more: Value) -> Result<Ask, Refusal> {
    let mut body = json!({ "model": "m", "prompt": prompt });
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    decode(Wire::Completions, body.to_string().as_bytes())
}

#[test]
fn a_completion_takes_texts_and_tokens_one_or_several() {
    let (text, tokens) = (Input::Text("a".into()), Input::Tokens(vec![1, 2]));
    for (prompt, input) in [
        (json!("a"), text.clone()),
        (json!(["a"]), text.clone()),
        (json!([1, 2]), tokens.clone()),
        (json!([[1, 2]]), tokens.clone()),
        (
            json!(["a", "a"]),
            Input::Many(vec![text.clone(), text.clone()]),
        ),
        (json!([[1, 2], "a"]), Input::Many(vec![tokens, text])),
    ] {
        let ask = completion(prompt, json!({ "n": 3 })).unwrap();
        assert_eq!(ask.input, input);
        assert_eq!(ask.max_tokens, Some(16));
        assert_eq!(
            (ask.choices_each(), ask.choices),
            (3, 3 * ask.prompts().len() as u32)
        );
    }
}

#[test]
fn a_completion_that_cannot_be_is_refused_by_its_field() {
    let many = vec!["a"; 257];
    for (prompt, more, field) in [
        (json!(null), json!({}), "prompt"),
        (json!([]), json!({}), "prompt"),
        (json!(7), json!({}), "prompt"),
        (json!([1, "a"]), json!({}), "prompt"),
        (json!([1, -1]), json!({}), "prompt"),
        (json!([[]]), json!({}), "prompt[0]"),
        (json!(["a", 1]), json!({}), "prompt[1]"),
        (json!([[1], [4_294_967_296_u64]]), json!({}), "prompt[1]"),
        (json!(many), json!({}), "prompt"),
        (json!(["a", "b", "c", "d", "e"]), json!({ "n": 128 }), "n"),
        (json!("a"), json!({ "max_tokens": 0 }), "max_tokens"),
        (json!("a"), json!({ "n": 2, "best_of": 1 }), "best_of"),
        (json!("a"), json!({ "echo": "yes" }), "echo"),
    ] {
        let refused = completion(prompt, more).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("{field}: ")), "{refused}");
    }
}

#[test]
fn a_prompt_may_be_read_without_an_answer_and_as_many_as_are_answered_are_the_best() {
    let ask = completion(json!("a"), json!({ "echo": true, "max_tokens": 0 })).unwrap();
    assert!(ask.is_read_only() && ask.echo);
    let ask = completion(json!("a"), json!({ "n": 2, "best_of": 2 })).unwrap();
    assert!(ask.beyond(Upstream::Worker).required.is_empty());
    let ask = completion(json!("a"), json!({ "n": 2, "best_of": 3 })).unwrap();
    for upstream in Upstream::ALL {
        assert!(
            ask.beyond(upstream)
                .required
                .contains(&"best_of".to_owned())
        );
    }
}
