//! Calls of tools in the styles of real models: what the worker has a model write is what the model's
//! own template writes of that call when the conversation goes on.

use std::{fs, path::Path};

use futures::StreamExt;
use serde_json::{Value, json};
use weir_worker_api::{self as api, generate_event::Event, prompt::Form};

use crate::{
    harness::{Worker, copy},
    vocabularies,
};

/// Tokens, and whether each is a special one.
type Marks = &'static [(&'static str, bool)];

const HERMES: Marks = &[("<tool_call>", false), ("</tool_call>", false)];
const MISTRAL: Marks = &[
    ("[TOOL_CALLS]", true),
    ("[ARGS]", true),
    ("[CALL_ID]", true),
];

/// A template of llama.cpp's collection, the tokens that its model has for calls, and whether it writes
/// the calls of earlier turns.
const MODELS: &[(&str, Marks, bool)] = &[
    ("Qwen-Qwen2.5-7B-Instruct", HERMES, true),
    ("Qwen-Qwen3-0.6B", HERMES, true),
    ("Qwen-QwQ-32B", HERMES, true),
    ("HuggingFaceTB-SmolLM3-3B", &[], true),
    (
        "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
        HERMES,
        true,
    ),
    ("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", HERMES, true),
    ("ibm-granite-granite-4.0", HERMES, true),
    ("ibm-granite-granite-4.1", HERMES, true),
    (
        "ibm-granite-granite-3.3-2B-Instruct",
        &[("<|tool_call|>", true)],
        false,
    ),
    ("mistralai-Mistral-Nemo-Instruct-2407", MISTRAL, true),
    ("Mistral-Small-3.2-24B-Instruct-2506", MISTRAL, true),
    ("unsloth-mistral-Devstral-Small-2507", MISTRAL, true),
    ("mistralai-Ministral-3-14B-Reasoning-2512", MISTRAL, true),
    (
        "meta-llama-Llama-3.1-8B-Instruct",
        &[("<|python_tag|>", true)],
        true,
    ),
    (
        "meta-llama-Llama-3.2-3B-Instruct",
        &[("<|python_tag|>", true)],
        true,
    ),
    (
        "meta-llama-Llama-3.3-70B-Instruct",
        &[("<|python_tag|>", true)],
        true,
    ),
    ("microsoft-Phi-3.5-mini-instruct", &[], true),
    ("google-gemma-2-2b-it", &[], true),
];

/// The example, with that template, and tokens that it has no use for then in those roles.
fn model(template: &Path, marks: Marks) -> tempfile::TempDir {
    let folder = copy();
    let file = |name: &str| folder.path().join(name);
    fs::copy(template, file("chat_template.jinja")).unwrap();
    let mut tokenizer = fs::read_to_string(file("tokenizer.json")).unwrap();
    let spare = ["<|pad|>", "<|system|>", "<|user|>"];
    for (old, (new, _)) in spare.iter().zip(marks) {
        tokenizer = tokenizer.replace(old, new);
    }
    let mut tokenizer: Value = serde_json::from_str(&tokenizer).unwrap();
    for token in tokenizer["added_tokens"].as_array_mut().unwrap() {
        if let Some((_, special)) = marks.iter().find(|(name, _)| token["content"] == *name) {
            token["special"] = (*special).into();
        }
    }
    fs::write(file("tokenizer.json"), tokenizer.to_string()).unwrap();
    let mut config: Value =
        serde_json::from_slice(&fs::read(file("config.json")).unwrap()).unwrap();
    config["max_position_embeddings"] = 4096.into();
    fs::write(file("config.json"), config.to_string()).unwrap();
    folder
}

fn tool() -> Value {
    json!({ "type": "function", "function": {
        "name": "rain",
        "description": "How much it will rain.",
        "parameters": {
            "type": "object",
            "properties": { "days": { "enum": [1, 2, 3] }, "city": { "enum": ["Bern", "Ulm"] } },
            "required": ["days", "city"],
            "additionalProperties": false,
        },
    }})
}

const QUESTION: &str = "Does it rain?";

/// A call that a model with random taste makes, and the tokens that it wrote for it.
async fn called(worker: &Worker, seed: u64) -> (Option<Value>, Vec<u32>) {
    let chat = api::Chat {
        messages: vec![api::Message {
            role: "user".to_owned(),
            content: QUESTION.to_owned(),
            ..api::Message::default()
        }],
        tools_json: vec![tool().to_string()],
        tool_use: api::ToolUse::Required.into(),
        single_call: true,
        template_kwargs_json: json!({ "enable_thinking": false }).to_string(),
        ..api::Chat::default()
    };
    let request = api::GenerateRequest {
        prompt: Some(api::Prompt {
            form: Some(Form::Chat(chat)),
        }),
        sampling: Some(api::Sampling {
            temperature: Some(2.0),
            seed: Some(seed),
            ..api::Sampling::default()
        }),
        limits: Some(api::Limits {
            max_tokens: Some(300),
            ..api::Limits::default()
        }),
        ..api::GenerateRequest::default()
    };
    let mut events = worker
        .grpc()
        .await
        .generate(request)
        .await
        .unwrap()
        .into_inner();
    let (mut ids, mut call, mut whole) = (Vec::new(), None::<api::ToolCallPiece>, false);
    while let Some(event) = events.next().await {
        match event.unwrap().event.unwrap() {
            Event::Tokens(tokens) => {
                ids.extend(tokens.tokens.iter().map(|token| token.id));
                assert_eq!(tokens.text, "", "a required call is all there is");
                for piece in tokens.tool_calls {
                    match &mut call {
                        Some(call) => call.arguments += &piece.arguments,
                        None => call = Some(piece),
                    }
                }
            }
            Event::Finished(finished) => {
                whole = finished.reason() == api::FinishReason::ToolCalls;
            }
            _ => {}
        }
    }
    let call = call.filter(|_| whole).map(|call| {
        json!({ "id": call.id, "type": "function",
                "function": { "name": call.name, "arguments": call.arguments } })
    });
    (call, ids)
}

async fn ask(worker: &Worker, path: &str, body: Value) -> Value {
    let url = format!("http://{}{path}", worker.address);
    let answer = worker.client.post(url).json(&body).send().await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(status, 200, "{body}");
    body
}

async fn text(worker: &Worker, ids: Value) -> String {
    let text = ask(
        worker,
        "/detokenize",
        json!({ "model": "triage", "tokens": ids }),
    )
    .await;
    // Models may write fewer spaces than templates do.
    text["prompt"]
        .as_str()
        .unwrap()
        .split_whitespace()
        .collect()
}

/// The text of a conversation with that call in it.
async fn rendered(worker: &Worker, call: &Value) -> String {
    let body = json!({
        "model": "triage", "tools": [tool()], "add_generation_prompt": false,
        "messages": [
            { "role": "user", "content": QUESTION },
            { "role": "assistant", "content": "", "tool_calls": [call] },
        ],
    });
    let ids = ask(worker, "/tokenize", body).await;
    text(worker, ids["tokens"].clone()).await
}

/// Without the ids of calls: the model draws them, and the worker gives its own.
fn without_ids(text: &str) -> String {
    let mut text = text.to_owned();
    for (before, after) in [("[CALL_ID]", "["), (",\"id\":\"", "\"}")] {
        while let Some(at) = text.find(before) {
            let rest = at + before.len();
            let end = text[rest..].find(after).unwrap() + rest;
            text.replace_range(at..if after == "[" { end } else { end + 1 }, "");
        }
    }
    text
}

#[tokio::test]
async fn what_a_model_is_made_to_write_for_a_call_is_what_its_template_writes_of_it() {
    let Some(folder) = vocabularies::folder() else {
        return;
    };
    for (name, marks, keeps) in MODELS {
        let template = folder.join(format!("templates/{name}.jinja"));
        let model = model(&template, marks);
        let worker = Worker::serving(model.path(), &[]).await;
        let mut whole = 0;
        for seed in 0..6 {
            let (call, mut ids) = called(&worker, seed).await;
            // White space alone can take all that was allowed.
            let Some(call) = call else { continue };
            whole += 1;
            let function = &call["function"];
            assert_eq!(function["name"], "rain", "{name}: {call}");
            let arguments = function["arguments"].as_str().unwrap();
            let arguments: Value = serde_json::from_str(arguments)
                .unwrap_or_else(|error| panic!("{name}: {error}: {call}"));
            assert!(arguments["days"].is_number(), "{name}: {call}");
            // The token that ends the answer.
            ids.pop();
            let written = without_ids(&text(&worker, json!(ids)).await);
            let said = without_ids(&rendered(&worker, &call).await);
            assert_eq!(
                said.contains(&written),
                *keeps,
                "{name}: {written} in {said}"
            );
        }
        assert!(whole > 2, "{name}: {whole} calls came to an end");
    }
}
