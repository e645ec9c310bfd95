//! Answers in a form and answers with their thinking, as an SDK asks for them.

use serde_json::{Value, json};

use crate::harness::{Worker, about, copy};

/// Hot enough that only the form is left to say what comes.
fn hot(more: Value) -> Value {
    let mut body = json!({ "temperature": 2.0, "seed": 4, "max_tokens": 300 });
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    about("Who is it?", body)
}

fn person() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "maxLength": 8 },
            "age": { "type": "integer", "minimum": 0, "maximum": 99 },
        },
        "required": ["name", "age"],
        "additionalProperties": false,
    })
}

fn content(answer: &Value) -> &str {
    assert_eq!(answer["choices"][0]["finish_reason"], "stop", "{answer}");
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

#[tokio::test]
async fn every_way_to_ask_for_a_form_gives_it() {
    let worker = Worker::start(&[]).await;
    let named = json!({ "name": "person", "strict": true, "schema": person() });
    for more in [
        json!({ "response_format": { "type": "json_schema", "json_schema": named } }),
        json!({ "guided_json": person() }),
        json!({ "guided_json": person().to_string() }),
        json!({ "structured_outputs": { "json": person() } }),
    ] {
        let answer = worker.chat(&hot(more)).await;
        let document: Value = serde_json::from_str(content(&answer)).unwrap();
        assert!(document["name"].as_str().unwrap().chars().count() <= 8);
        assert!(document["age"].as_u64().unwrap() <= 99);
    }
    for more in [
        json!({ "guided_choice": ["yes", "no"] }),
        json!({ "guided_regex": "yes|no" }),
        json!({ "guided_grammar": "start: \"yes\" | \"no\"" }),
        json!({ "structured_outputs": { "choice": ["yes", "no"] } }),
    ] {
        let answer = worker.chat(&hot(more)).await;
        assert!(["yes", "no"].contains(&content(&answer)), "{answer}");
    }
    // Any object, which may be long: it is one as far as it goes.
    let answer = worker
        .chat(&hot(
            json!({ "response_format": { "type": "json_object" } }),
        ))
        .await;
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.starts_with('{'), "{text}");
}

#[tokio::test]
async fn a_document_comes_in_pieces_as_it_would_come_whole() {
    let worker = Worker::start(&[]).await;
    let ask = |stream: bool| {
        hot(json!({ "guided_json": person(), "stream": stream, "logprobs": true, "n": 2 }))
    };
    let whole = worker.chat(&ask(false)).await;
    let (pieces, ended) = worker.stream(&ask(true)).await;
    assert!(ended);
    for choice in 0..2 {
        let of_choice = pieces
            .iter()
            .map(|piece| &piece["choices"][0])
            .filter(|piece| piece["index"] == choice);
        let text: String = of_choice
            .clone()
            .filter_map(|piece| piece["delta"]["content"].as_str())
            .collect();
        let tokens: Vec<&Value> = of_choice
            .filter_map(|piece| piece["logprobs"]["content"].as_array())
            .flatten()
            .collect();
        let same = &whole["choices"][choice];
        assert_eq!(same["message"]["content"], text);
        let whole_tokens = same["logprobs"]["content"].as_array().unwrap();
        assert_eq!(tokens, whole_tokens.iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_form_that_cannot_be_had_is_refused_by_the_field_that_asks_for_it() {
    let worker = Worker::start(&[]).await;
    let schema = |schema: Value| json!({ "response_format": { "type": "json_schema", "json_schema": { "schema": schema } } });
    for (more, param) in [
        (schema(json!({ "type": "no such type" })), "response_format"),
        (
            schema(json!({ "minLength": "x", "type": "string" })),
            "response_format",
        ),
        (
            schema(json!({ "type": "integer", "multipleOf": 1e9 })),
            "response_format",
        ),
        (schema(json!({ "not": {} })), "response_format"),
        (
            schema(json!({ "const": "x".repeat(600_000) })),
            "response_format",
        ),
        (
            json!({ "response_format": { "type": "xml" } }),
            "response_format.type",
        ),
        (json!({ "guided_regex": "(" }), "guided_regex"),
        (json!({ "guided_choice": [] }), "guided_choice"),
        (
            json!({ "guided_grammar": "start: nothing" }),
            "guided_grammar",
        ),
        (json!({ "guided_json": "no JSON" }), "guided_json"),
        (json!({ "structured_outputs": {} }), "structured_outputs"),
        (
            json!({ "guided_regex": "a", "guided_choice": ["a"] }),
            "guided_choice",
        ),
    ] {
        let (status, error) = worker.refused(&hot(more)).await;
        assert_eq!((status, &error["param"]), (400, &json!(param)), "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(param) && message.len() < 600, "{message}");
    }
    let answer = worker.chat(&about("x", json!({}))).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}

/// The example as a model that thinks: its template begins to, and two of its tokens are marks.
pub fn thinking() -> tempfile::TempDir {
    let folder = copy();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let path = folder.path().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text
            .replace("<|pad|>", "<think>")
            .replace("<|system|>", "</think>");
        let text = text.replace(
            "'<|assistant|>' }}\\n{%- endif %}",
            "'<|assistant|><think>' }}\\n{%- endif %}",
        );
        std::fs::write(path, text).unwrap();
    }
    folder
}

#[tokio::test]
async fn what_a_model_thinks_is_told_apart_from_its_answer() {
    let folder = thinking();
    let worker = Worker::serving(folder.path(), &[]).await;
    let more = json!({ "max_tokens": 12, "ignore_eos": true, "guided_choice": ["yes", "no"] });
    let ask = |stream: bool, bias: f64| {
        let mut more = more.clone();
        more["stream"] = stream.into();
        more["stream_options"] = if stream {
            json!({ "include_usage": true })
        } else {
            Value::Null
        };
        // The id of the mark that ends the thinking.
        more["logit_bias"] = json!({ "3": bias });
        about("Hello, I was charged twice.", more)
    };
    let answer = worker.chat(&ask(false, -100.0)).await;
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["content"], "");
    let reasoning = message["reasoning_content"].as_str().unwrap();
    assert!(!reasoning.is_empty(), "{answer}");
    let details = &answer["usage"]["completion_tokens_details"];
    assert_eq!(details["reasoning_tokens"], 12);
    let (pieces, _) = worker.stream(&ask(true, -100.0)).await;
    let deltas = pieces.iter().map(|piece| &piece["choices"][0]["delta"]);
    let streamed: String = deltas
        .filter_map(|delta| delta["reasoning_content"].as_str())
        .collect();
    assert_eq!(streamed, reasoning);
    assert_eq!(
        pieces.last().unwrap()["usage"]["completion_tokens_details"],
        *details
    );
    // The thinking ends at once, and the answer has its form.
    let answer = worker.chat(&ask(false, 100.0)).await;
    let message = &answer["choices"][0]["message"];
    assert!(message.get("reasoning_content").is_none(), "{answer}");
    assert!(
        ["yes", "no"].map(Value::from).contains(&message["content"]),
        "{answer}"
    );
}
