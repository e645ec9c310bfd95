//! Each setting of sampling over the wire: what it does, seen in the tokens.

use serde_json::{Value, json};

use crate::harness::{Worker, copy, endless};

/// The tokens of an answer that goes on and on, by their ids.
async fn ids(worker: &Worker, more: Value) -> Vec<String> {
    let mut body = endless(json!({ "logprobs": true, "max_tokens": 40 }));
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let answer = worker.chat(&body).await;
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array();
    let tokens = tokens.unwrap().iter();
    tokens
        .map(|token| token["token"].as_str().unwrap().to_owned())
        .collect()
}

/// The first token of a text: its id, and what it says.
async fn first_token(worker: &Worker, text: &str) -> (String, String) {
    let ask = async |path: &str, body: Value| -> Value {
        let url = format!("http://{}{path}", worker.address);
        let answer = worker.client.post(url).json(&body).send().await.unwrap();
        answer.json().await.unwrap()
    };
    let body = json!({ "prompt": text, "add_special_tokens": false });
    let id = ask("/tokenize", body).await["tokens"][0].clone();
    let said = ask("/detokenize", json!({ "tokens": [id] })).await["prompt"].clone();
    (id.to_string(), said.as_str().unwrap().to_owned())
}

#[tokio::test]
async fn filters_down_to_one_token_are_greedy_whatever_the_temperature() {
    let worker = Worker::start(&[]).await;
    let plain = json!({ "temperature": 0, "repetition_penalty": 1 });
    let greedy = ids(&worker, plain).await;
    for one in [
        json!({ "top_k": 1 }),
        json!({ "top_p": 0 }),
        json!({ "min_p": 1 }),
        json!({ "temperature": 0.0001 }),
    ] {
        let mut body = json!({ "repetition_penalty": 1, "temperature": 1.5 });
        body.as_object_mut()
            .unwrap()
            .extend(one.as_object().unwrap().clone());
        assert_eq!(ids(&worker, body).await, greedy, "{one}");
    }
    let free = json!({ "repetition_penalty": 1, "temperature": 1.5 });
    assert_ne!(ids(&worker, free).await, greedy);
    let typical = json!({ "repetition_penalty": 1, "temperature": 1.5, "typical_p": 0.01 });
    let typical = ids(&worker, typical).await;
    let again =
        json!({ "repetition_penalty": 1, "temperature": 1.5, "typical_p": 0.01, "seed": 99 });
    assert_eq!(
        ids(&worker, again).await,
        typical,
        "one token is the most typical"
    );
}

#[tokio::test]
async fn penalties_and_biases_change_what_is_said_next() {
    let worker = Worker::start(&[]).await;
    let with = async |more: Value| {
        let mut body = json!({ "temperature": 0, "repetition_penalty": 1 });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ids(&worker, body).await
    };
    let plain = with(json!({})).await;
    for one in [
        json!({ "repetition_penalty": 5 }),
        json!({ "presence_penalty": 2 }),
        json!({ "frequency_penalty": 2 }),
        json!({ "frequency_penalty": -2 }),
    ] {
        assert_ne!(with(one.clone()).await, plain, "{one}");
    }
    let (id, said) = first_token(&worker, "refund").await;
    let biased = with(json!({ "logit_bias": { id: 100 } })).await;
    assert!(biased.iter().all(|token| *token == said), "{biased:?}");
    let (id, said) = first_token(&worker, &plain[0]).await;
    assert_eq!(said, plain[0]);
    let biased = with(json!({ "logit_bias": { id: -100 } })).await;
    assert!(!biased.contains(&plain[0]), "{biased:?}");
}

#[tokio::test]
async fn an_answer_ends_where_it_may_and_not_before() {
    let worker = Worker::start(&[]).await;
    let ask = async |more: Value| {
        let mut body = json!({
            "model": "triage",
            "messages": [{ "role": "user", "content": "I was charged twice for my subscription." }],
            "temperature": 0,
        });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let answer = worker.chat(&body).await;
        let written = answer["usage"]["completion_tokens"].as_u64().unwrap();
        (written, answer["choices"][0].clone())
    };
    let (own, choice) = ask(json!({})).await;
    assert_eq!(choice["finish_reason"], "stop");
    let (longer, _) = ask(json!({ "min_tokens": own + 5 })).await;
    assert!(longer >= own + 5, "{longer}");
    let (all, choice) = ask(json!({ "ignore_eos": true, "max_tokens": own + 20 })).await;
    assert_eq!(
        (all, &choice["finish_reason"]),
        (own + 20, &json!("length"))
    );
    let first = choice["message"]["content"].as_str().unwrap();
    let (id, said) = first_token(&worker, first).await;
    let id: u64 = id.parse().unwrap();
    let (stopped, choice) = ask(json!({ "stop_token_ids": [id] })).await;
    assert!(first.starts_with(&said), "{first}");
    assert_eq!((stopped, &choice["finish_reason"]), (1, &json!("stop")));
    // A stop string that begins within one token and ends within the next.
    let (_, whole) = ask(json!({ "ignore_eos": true, "max_tokens": 12, "logprobs": true })).await;
    let text = whole["message"]["content"].as_str().unwrap();
    let tokens = whole["logprobs"]["content"].as_array().unwrap();
    let lengths = tokens
        .iter()
        .map(|token| token["token"].as_str().unwrap().len());
    let mut at = 0;
    let borders: Vec<usize> = lengths
        .map(|length| {
            at += length;
            at
        })
        .collect();
    let border = borders[1];
    let stop = &text[border - 1..border + 1];
    let cut = ask(json!({ "ignore_eos": true, "max_tokens": 12, "stop": stop }))
        .await
        .1;
    assert_eq!(cut["finish_reason"], "stop");
    assert_eq!(cut["message"]["content"], text[..text.find(stop).unwrap()]);
}

#[tokio::test]
async fn a_seed_says_the_same_alone_and_in_a_crowd() {
    let worker = Worker::start(&[]).await;
    let body = json!({ "repetition_penalty": 1, "temperature": 1.5, "top_p": 0.95, "seed": 7 });
    let alone = ids(&worker, body.clone()).await;
    let others = (0..6).map(|seed| {
        let body = json!({ "seed": 100 + seed, "top_k": 5 + seed, "max_tokens": 30 + 7 * seed });
        ids(&worker, body)
    });
    let others = futures::future::join_all(others);
    let (again, _) = tokio::join!(ids(&worker, body), others);
    assert_eq!(again, alone);
}

#[tokio::test]
async fn what_the_models_own_file_says_holds_where_the_request_is_silent() {
    let model = copy();
    let file = model.path().join("generation_config.json");
    let defaults = json!({ "do_sample": true, "temperature": 1.5, "top_k": 1, "typical_p": 0.9 });
    std::fs::write(file, defaults.to_string()).unwrap();
    let worker = Worker::serving(model.path(), &[]).await;
    let silent = json!({ "temperature": null, "repetition_penalty": 1 });
    let greedy = json!({ "temperature": 0, "repetition_penalty": 1 });
    assert_eq!(
        ids(&worker, silent).await,
        ids(&worker, greedy.clone()).await
    );
    let own = json!({ "top_k": 0, "repetition_penalty": 1, "typical_p": 1, "temperature": 1.5 });
    assert_ne!(ids(&worker, own).await, ids(&worker, greedy).await);
}
