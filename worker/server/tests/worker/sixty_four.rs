//! Sixty-four conversations at once, of every kind: none of them notices another.

use futures::future::{join, join_all};
use serde_json::{Value, json};

use crate::{
    adapters::write,
    harness::{Worker, about, copy},
};

const CONVERSATIONS: usize = 64;
const ADAPTERS: usize = 12;
const HIDDEN: usize = 192;
const NO_CACHE: &[&str] = &["--prefix-cache=Disabled"];

/// More than a step reads.
const STEP_TOKENS: u64 = 256;

/// What the conversation of that number asks for.
fn conversation(number: usize) -> Value {
    let ticket = format!("Ticket {number}: I was charged twice for my subscription. ");
    let times = match (number % 4, number % 7) {
        // What tools are offered takes its part of the context.
        (0, 2) => 8,
        (0, _) => 20,
        _ => 1,
    };
    let mut body = about(
        &ticket.repeat(times),
        json!({
            "temperature": 1.5, "seed": number, "max_tokens": 60 + number, "ignore_eos": true,
            "stream": number.is_multiple_of(2),
        }),
    );
    if number % 3 != 1 {
        body["model"] = format!("triage:a{}", number % ADAPTERS).into();
    }
    if number.is_multiple_of(3) {
        body["logprobs"] = true.into();
        body["top_logprobs"] = 3.into();
    }
    if number % 8 == 3 {
        body["n"] = 2.into();
    }
    let schema = json!({
        "type": "object",
        "properties": { "team": { "enum": ["billing", "sales"] }, "urgent": { "type": "boolean" } },
        "required": ["team", "urgent"],
        "additionalProperties": false,
    });
    match number % 7 {
        1 => {
            let named = json!({ "name": "team", "schema": schema });
            body["response_format"] = json!({ "type": "json_schema", "json_schema": named });
        }
        2 => {
            let function = json!({ "name": "route", "parameters": schema });
            body["tools"] = json!([{ "type": "function", "function": function }]);
            body["tool_choice"] = "required".into();
        }
        _ => {}
    }
    body
}

/// Everything that was said, with the probability of every token where it was asked for.
async fn answer(worker: &Worker, number: usize) -> Vec<Value> {
    let body = conversation(number);
    if body["stream"] != true {
        return worker.chat(&body).await["choices"]
            .as_array()
            .unwrap()
            .clone();
    }
    let (pieces, ended) = worker.stream(&body).await;
    assert!(ended, "conversation {number} broke off");
    let choices = pieces.into_iter().map(|mut piece| piece["choices"].take());
    // How tokens that came at the same time are put into pieces is nobody's business.
    let mut said: Vec<Value> = Vec::new();
    for choice in choices.flat_map(|choices| choices.as_array().unwrap().clone()) {
        let index = choice["index"].as_u64().unwrap() as usize;
        said.resize_with(
            said.len().max(index + 1),
            || json!({ "text": "", "calls": "", "tokens": [] }),
        );
        let all = &mut said[index];
        let add = |all: &mut Value, more: &Value| {
            *all = format!(
                "{}{}",
                all.as_str().unwrap(),
                more.as_str().unwrap_or_default()
            )
            .into();
        };
        add(&mut all["text"], &choice["delta"]["content"]);
        for call in choice["delta"]["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
        {
            add(&mut all["calls"], &call["id"]);
            add(&mut all["calls"], &call["function"]["name"]);
            add(&mut all["calls"], &call["function"]["arguments"]);
        }
        let tokens = choice["logprobs"]["content"].as_array().cloned();
        all["tokens"]
            .as_array_mut()
            .unwrap()
            .extend(tokens.unwrap_or_default());
        if !choice["finish_reason"].is_null() {
            all["finish_reason"] = choice["finish_reason"].clone();
        }
    }
    said
}

#[tokio::test]
async fn each_gets_the_answer_that_it_gets_alone_to_the_last_bit() {
    expect_alone_as_together("None").await;
}

#[tokio::test]
async fn each_gets_the_answer_that_it_gets_alone_from_weights_in_4_bits() {
    expect_alone_as_together("Q4").await;
}

async fn expect_alone_as_together(quantization: &str) {
    let model = copy();
    let adapters = (0..ADAPTERS).map(|at| {
        write(
            &model.path().join(format!("a{at}")),
            HIDDEN,
            at as f32 + 1.0,
        );
        json!({ "name": format!("a{at}"), "source": format!("file:///model/a{at}") })
    });
    let list = tempfile::tempdir().unwrap();
    let adapters: Vec<Value> = adapters.collect();
    std::fs::write(
        list.path().join("adapters.json"),
        json!(adapters).to_string(),
    )
    .unwrap();
    let list = list.path().to_str().unwrap();
    let same = ["--adapters", list, "--quantization", quantization];
    let alone = alone(&Worker::serving(model.path(), &[&same, NO_CACHE].concat()).await).await;
    let worker = Worker::serving(
        model.path(),
        &[&same, &["--max-sequences", "64"][..]].concat(),
    )
    .await;
    let all = join_all((0..CONVERSATIONS).map(|number| answer(&worker, number)));
    // Some leave before they have their answers.
    let leaving = join_all((0..8).map(async |number| {
        let body = conversation(2 * number);
        let response = worker.post(&body).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }));
    let many = worker.until(|load| load["running"].as_u64() >= Some(32));
    let (together, _) = join(all, join(leaving, many)).await;
    for (number, (together, alone)) in together.iter().zip(&alone).enumerate() {
        assert_eq!(together, alone, "conversation {number}");
    }
    let different: std::collections::BTreeSet<String> =
        alone.iter().map(|said| json!(said).to_string()).collect();
    assert!(
        different.len() > 50,
        "{} different answers",
        different.len()
    );
    worker
        .until(|load| load["blocks_used"] == 0 && load["running"] == 0)
        .await;
}

/// What each is answered where nothing was computed before, nor is beside it.
async fn alone(worker: &Worker) -> Vec<Vec<Value>> {
    let mut long = conversation(0);
    long["stream"] = false.into();
    let read = worker.chat(&long).await["usage"]["prompt_tokens"].as_u64();
    assert!(read > Some(STEP_TOKENS), "{read:?} tokens are one step");
    let mut alone = Vec::new();
    for number in 0..CONVERSATIONS {
        alone.push(answer(worker, number).await);
    }
    alone
}
