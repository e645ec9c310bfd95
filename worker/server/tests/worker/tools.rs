//! Calls of tools, as an SDK asks for them.

use futures::StreamExt;
use serde_json::{Value, json};
use weir_worker_api::{self as api, generate_event::Event};

use crate::harness::{Worker, about, copy, triage};

fn tool(name: &str, property: &str) -> Value {
    json!({ "type": "function", "function": {
        "name": name,
        "parameters": {
            "type": "object",
            "properties": { property: { "$ref": "#/$defs/x" } },
            "required": [property],
            "additionalProperties": false,
            "$defs": { "x": { "enum": [1, 2, 3] } },
        },
    }})
}

fn hot(more: Value) -> Value {
    let mut body = json!({
        "temperature": 2.0, "seed": 4,
        "tools": [tool("rain", "days"), tool("snow", "weeks")],
    });
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    about("Does it rain?", body)
}

/// The example as a model that calls tools as Hermes does, and says in its prompt what there is.
fn hermes() -> tempfile::TempDir {
    let folder = copy();
    let path = folder.path().join("tokenizer.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text
        .replace("<|pad|>", "<tool_call>")
        .replace("<|system|>", "</tool_call>");
    let mut file: Value = serde_json::from_str(&text).unwrap();
    for token in file["added_tokens"].as_array_mut().unwrap() {
        if token["content"].as_str().unwrap().contains("tool_call") {
            token["special"] = false.into();
        }
    }
    std::fs::write(path, file.to_string()).unwrap();
    let template = "{% for tool in tools or [] %}<tool_call>{{ tool | tojson }}{% endfor %}\
        {% for message in messages %}<|user|>{{ message.content }}<|end|>{% endfor %}<|assistant|>";
    std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    folder
}

/// Name and arguments of each call, and their ids.
fn calls(message: &Value) -> Vec<(String, Value, String)> {
    let calls = message["tool_calls"].as_array().unwrap();
    let read = calls.iter().map(|call| {
        assert_eq!(call["type"], "function");
        let function = &call["function"];
        let arguments = function["arguments"].as_str().unwrap();
        (
            function["name"].as_str().unwrap().to_owned(),
            serde_json::from_str(arguments).unwrap_or_else(|e| panic!("{e}: {arguments}")),
            call["id"].as_str().unwrap().to_owned(),
        )
    });
    read.collect()
}

fn check(name: &str, arguments: &Value) {
    let property = if name == "rain" { "days" } else { "weeks" };
    let number = arguments[property].as_u64().unwrap();
    assert!((1..=3).contains(&number), "{name} {arguments}");
    assert_eq!(arguments.as_object().unwrap().len(), 1);
}

/// What the deltas of a stream add up to.
fn put_together(pieces: &[Value]) -> Value {
    let mut calls: Vec<Value> = Vec::new();
    let deltas = pieces.iter().map(|piece| &piece["choices"][0]["delta"]);
    for delta in deltas
        .filter_map(|delta| delta["tool_calls"].as_array())
        .flatten()
    {
        let index = delta["index"].as_u64().unwrap() as usize;
        if index == calls.len() {
            let mut first = delta.clone();
            first.as_object_mut().unwrap().shift_remove("index");
            calls.push(first);
            continue;
        }
        assert!(delta.get("id").is_none() && delta["function"].get("name").is_none());
        let more = delta["function"]["arguments"].as_str().unwrap();
        let arguments = &mut calls[index]["function"]["arguments"];
        *arguments = format!("{}{more}", arguments.as_str().unwrap()).into();
    }
    calls.into()
}

#[tokio::test]
async fn a_required_call_is_one_of_a_tool_that_is_there_in_every_style() {
    let folder = hermes();
    for model in [triage(), folder.path().to_owned()] {
        let worker = Worker::serving(&model, &[]).await;
        let mut whole = 0;
        for seed in 0..10 {
            let more =
                json!({ "tool_choice": "required", "seed": seed, "parallel_tool_calls": false });
            let answer = worker.chat(&hot(more)).await;
            let choice = &answer["choices"][0];
            // White space alone can take what is left of the context.
            if choice["finish_reason"] == "length" {
                continue;
            }
            whole += 1;
            assert_eq!(choice["finish_reason"], "tool_calls", "{answer}");
            assert_eq!(choice["message"]["content"], Value::Null);
            let calls = calls(&choice["message"]);
            assert_eq!(calls.len(), 1);
            check(&calls[0].0, &calls[0].1);
        }
        assert!(whole > 3, "{whole} answers came to an end");
        let named = json!({ "type": "function", "function": { "name": "snow" } });
        let answer = worker.chat(&hot(json!({ "tool_choice": named }))).await;
        let called = &answer["choices"][0]["message"]["tool_calls"][0];
        assert_eq!(called["function"]["name"], "snow", "{answer}");
    }
}

#[tokio::test]
async fn several_calls_come_in_pieces_as_they_would_come_whole() {
    let folder = hermes();
    let worker = Worker::serving(folder.path(), &[]).await;
    let mut most = 0;
    for seed in 0..12 {
        let ask = |stream: bool| {
            hot(json!({ "tool_choice": "required", "seed": seed, "stream": stream }))
        };
        let answer = worker.chat(&ask(false)).await;
        let message = &answer["choices"][0]["message"];
        let (pieces, ended) = worker.stream(&ask(true)).await;
        assert!(ended);
        let streamed = put_together(&pieces);
        let none = json!([]);
        assert_eq!(&streamed, message.get("tool_calls").unwrap_or(&none));
        if answer["choices"][0]["finish_reason"] == "length" {
            continue;
        }
        let calls = calls(message);
        calls.iter().for_each(|call| check(&call.0, &call.1));
        let mut ids: Vec<&String> = calls.iter().map(|call| &call.2).collect();
        ids.dedup();
        assert_eq!(ids.len(), calls.len());
        most = most.max(calls.len());
    }
    assert!(most > 1, "no answer called twice");
}

#[tokio::test]
async fn a_model_that_may_call_can_also_answer() {
    let folder = hermes();
    let worker = Worker::serving(folder.path(), &[]).await;
    let cold = |more: Value| {
        let mut body = hot(more);
        body["temperature"] = 0.into();
        body["max_tokens"] = 100.into();
        body
    };
    // The id of the mark that begins a call.
    let answer = worker
        .chat(&cold(json!({ "logit_bias": { "1": -100 } })))
        .await;
    let message = &answer["choices"][0]["message"];
    assert!(message.get("tool_calls").is_none(), "{answer}");
    let answer = worker
        .chat(&cold(json!({ "logit_bias": { "1": 100 } })))
        .await;
    let called = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
    assert!(
        ["rain", "snow"].map(Value::from).contains(&called["name"]),
        "{answer}"
    );
    let none = json!({ "logit_bias": { "1": 100 }, "tool_choice": "none" });
    let answer = worker.chat(&cold(none)).await;
    assert!(
        answer["choices"][0]["message"].get("tool_calls").is_none(),
        "{answer}"
    );
}

#[tokio::test]
async fn calls_and_what_came_of_them_go_back_into_the_conversation() {
    let worker = Worker::start(&[]).await;
    let call = json!({ "id": "abcdefgh1", "type": "function",
        "function": { "name": "rain", "arguments": "{\"days\": 2}" } });
    let messages = json!([
        { "role": "user", "content": "Does it rain?" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "abcdefgh1", "content": "yes" },
    ]);
    let with = hot(json!({ "messages": messages, "temperature": 0, "max_tokens": 5 }));
    let mut without = with.clone();
    without["messages"].as_array_mut().unwrap().truncate(1);
    let tokens = async |body: &Value| {
        let answer = worker.chat(body).await;
        answer["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    assert!(tokens(&with).await > tokens(&without).await + 10);
}

#[tokio::test]
async fn tools_that_cannot_be_called_are_refused_by_name() {
    let worker = Worker::start(&[]).await;
    let mut strict = tool("rain", "days");
    strict["function"]["strict"] = true.into();
    strict["function"]["parameters"]["properties"]["days"] = json!({ "not": {} });
    let named = json!({ "type": "function", "function": { "name": "hail" } });
    for (more, param) in [
        (json!({ "tools": [strict] }), "tools[0].function.parameters"),
        (
            json!({ "tools": [tool("rain", "a"), tool("rain", "b")] }),
            "tools[1].function.name",
        ),
        (
            json!({ "tools": [{ "type": "function" }] }),
            "tools[0].function.name",
        ),
        (json!({ "tools": [{ "type": "custom" }] }), "tools[0].type"),
        (json!({ "tool_choice": named }), "tool_choice"),
        (json!({ "tool_choice": "sometimes" }), "tool_choice"),
        (
            json!({ "tools": [], "tool_choice": "required" }),
            "tool_choice",
        ),
        (
            json!({ "response_format": { "type": "json_object" } }),
            "response_format",
        ),
    ] {
        let (status, error) = worker.refused(&hot(more)).await;
        assert_eq!((status, &error["param"]), (400, &json!(param)), "{error}");
    }
    // One that promises nothing is called with any object.
    let mut loose = tool("rain", "days");
    loose["function"]["parameters"]["properties"]["days"] = json!({ "not": {} });
    let more = json!({ "tools": [loose], "tool_choice": "required", "parallel_tool_calls": false });
    let answer = worker.chat(&hot(more)).await;
    assert_eq!(
        answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"],
        "rain"
    );
}

/// Tokens of an answer over gRPC, with the names and arguments of its calls as one text.
async fn generated(
    worker: &Worker,
    request: api::GenerateRequest,
) -> (api::Started, Vec<api::Token>, String) {
    let mut client = worker.grpc().await;
    let mut events = client.generate(request).await.unwrap().into_inner();
    let (mut started, mut tokens, mut called) = (None, Vec::new(), String::new());
    while let Some(event) = events.next().await {
        match event.unwrap().event.unwrap() {
            Event::Started(first) => started = Some(first),
            Event::Prompt(_) => panic!("nobody asked for it"),
            Event::Tokens(more) => {
                tokens.extend(more.tokens);
                for piece in more.tool_calls {
                    called += &piece.id;
                    called += &piece.name;
                    called += &piece.arguments;
                }
            }
            Event::Finished(finished) => {
                assert_eq!(finished.reason(), api::FinishReason::ToolCalls);
            }
        }
    }
    (started.unwrap(), tokens, called)
}

#[tokio::test]
async fn a_call_resumed_on_another_replica_goes_on_without_a_seam() {
    let (first, second) = (Worker::start(&[]).await, Worker::start(&[]).await);
    let ask = || api::GenerateRequest {
        prompt: Some(api::Prompt {
            form: Some(api::prompt::Form::Chat(api::Chat {
                messages: vec![api::Message {
                    role: "user".to_owned(),
                    content: "Does it rain?".to_owned(),
                    ..api::Message::default()
                }],
                tools_json: vec![tool("rain", "days").to_string()],
                tool_use: api::ToolUse::Required.into(),
                single_call: true,
                ..api::Chat::default()
            })),
        }),
        sampling: Some(api::Sampling {
            temperature: Some(2.0),
            seed: Some(5),
            ..api::Sampling::default()
        }),
        ..api::GenerateRequest::default()
    };
    let (started, tokens, called) = generated(&first, ask()).await;
    let evidence = |token: &api::Token| token.evidence.unwrap();
    assert!(tokens.iter().any(|token| evidence(token).forced));
    assert!(tokens.iter().any(|token| evidence(token).value));
    let described = second.grpc().await.describe(api::DescribeRequest {}).await;
    let described = described.unwrap().into_inner();
    for cut in 0..tokens.len() {
        let resumed = api::GenerateRequest {
            resume: Some(api::Resume {
                model_digest: described.model_digest.clone(),
                adapter_digest: String::new(),
                tokenizer_digest: described.tokenizer_digest.clone(),
                kernel_class: described.kernel_class.clone(),
                prompt_ids: started.prompt_ids.clone(),
                seed: started.seed,
                choices: vec![api::ChoiceProgress {
                    choice: 0,
                    produced: tokens[..cut].iter().map(|token| token.id).collect(),
                    // The name alone was sent.
                    sent_text_bytes: "rain".len() as u64,
                }],
            }),
            ..ask()
        };
        let (_, rest, more) = generated(&second, resumed).await;
        assert_eq!(rest, tokens[cut..], "cut at {cut}");
        let arguments = called.split_once("rain").unwrap().1;
        assert_eq!(more, arguments, "cut at {cut}");
    }
}
