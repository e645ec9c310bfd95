//! Completions: prompts that are continued, and told how likely they are.

use serde_json::{Value, json};
use weir_worker_api as api;

use crate::{
    grpc::{prompt, read},
    harness::{Worker, about, error_of, pieces},
};

const TEXT: &str = "Hello, I was charged twice for my subscription this month.";

fn asked(prompt: impl Into<Value>, more: Value) -> Value {
    let mut body = json!({ "model": "triage", "prompt": prompt.into(), "temperature": 0 });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn post(worker: &Worker, body: &Value) -> reqwest::Response {
    let url = format!("http://{}/v1/completions", worker.address);
    worker.client.post(url).json(body).send().await.unwrap()
}

async fn complete(worker: &Worker, body: &Value) -> Value {
    let response = post(worker, body).await;
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn tokens(worker: &Worker, text: &str, add_special_tokens: bool) -> Vec<u32> {
    let request = api::TokenizeRequest {
        prompt: Some(api::Prompt {
            form: Some(api::prompt::Form::Text(text.to_owned())),
        }),
        add_special_tokens: Some(add_special_tokens),
        ..api::TokenizeRequest::default()
    };
    let tokenized = worker.grpc().await.tokenize(request).await;
    tokenized.unwrap().into_inner().ids
}

fn numbers(list: &Value) -> Vec<Option<f64>> {
    list.as_array().unwrap().iter().map(Value::as_f64).collect()
}

#[tokio::test]
async fn a_prompt_in_any_of_its_forms_is_continued_alike() {
    let worker = Worker::start(&[]).await;
    let ids = tokens(&worker, TEXT, true).await;
    let whole = complete(&worker, &asked(TEXT, json!({ "max_tokens": 6 }))).await;
    assert_eq!(whole["object"], "text_completion");
    assert!(whole["id"].as_str().unwrap().starts_with("cmpl-"));
    let choice = &whole["choices"][0];
    assert_eq!(choice["logprobs"], Value::Null);
    assert_eq!(choice["index"], 0);
    assert!(!choice["text"].as_str().unwrap().is_empty());
    assert_eq!(whole["usage"]["prompt_tokens"], ids.len());
    for form in [json!([TEXT]), json!(ids), json!([ids])] {
        let other = complete(&worker, &asked(form, json!({ "max_tokens": 6 }))).await;
        assert_eq!(other["choices"], whole["choices"]);
    }
    let second = "Where is my parcel?";
    let alone = complete(&worker, &asked(second, json!({}))).await;
    let body = asked(json!([TEXT, second]), json!({ "n": 2, "best_of": 2 }));
    let both = complete(&worker, &body).await;
    let texts = both["choices"].as_array().unwrap();
    assert_eq!(texts.len(), 4);
    for (index, choice) in texts.iter().enumerate() {
        assert_eq!(choice["index"], index);
    }
    assert_eq!(texts[2]["text"], alone["choices"][0]["text"]);
    assert_eq!(texts[3]["text"], alone["choices"][0]["text"]);
    let prompts = whole["usage"]["prompt_tokens"].as_u64().unwrap()
        + alone["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(both["usage"]["prompt_tokens"], prompts);
    // What is said of no length is short.
    assert!(alone["usage"]["completion_tokens"].as_u64().unwrap() <= 16);
}

#[tokio::test]
async fn a_prompt_is_told_how_likely_it_is_as_writing_it_would_say() {
    let worker = Worker::start(&[]).await;
    let more = json!({ "echo": true, "logprobs": 2, "max_tokens": 8 });
    let echoed = complete(&worker, &asked(TEXT, more)).await;
    let choice = &echoed["choices"][0];
    let text = choice["text"].as_str().unwrap();
    assert!(text.starts_with(TEXT), "{text}");
    let logprobs = &choice["logprobs"];
    let count = echoed["usage"]["total_tokens"].as_u64().unwrap() as usize;
    for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(logprobs[list].as_array().unwrap().len(), count, "{list}");
    }
    assert_eq!(logprobs["token_logprobs"][0], Value::Null);
    let characters: Vec<char> = text.chars().collect();
    let mut best = 0;
    for at in 0..count {
        let token = logprobs["tokens"][at].as_str().unwrap();
        let offset = logprobs["text_offset"][at].as_u64().unwrap() as usize;
        let there: String = characters
            .iter()
            .skip(offset)
            .take(token.chars().count())
            .collect();
        // What steers the model has no text.
        assert!(
            there == token || token.starts_with("<|"),
            "{token:?} is not at {offset}"
        );
        if at > 0 {
            let own = logprobs["token_logprobs"][at].as_f64().unwrap();
            let likeliest = logprobs["top_logprobs"][at].as_object().unwrap();
            assert!((2..=3).contains(&likeliest.len()), "{likeliest:?}");
            assert_eq!(likeliest[token].as_f64(), Some(own));
            let top = likeliest.values().filter_map(Value::as_f64);
            best += usize::from(top.fold(f64::MIN, f64::max) == own);
        }
    }
    let written = echoed["usage"]["completion_tokens"].as_u64().unwrap() as usize;
    assert!(best >= written, "what is written greedily is the likeliest");

    // The same tokens as a prompt say of the written ones what writing them said.
    let ids = tokens(&worker, text, true).await;
    let more = json!({ "echo": true, "logprobs": 1, "max_tokens": 0 });
    let read = complete(&worker, &asked(json!(ids), more)).await;
    assert_eq!(read["usage"]["completion_tokens"], 0);
    assert_eq!(read["choices"][0]["finish_reason"], "length");
    assert_eq!(read["choices"][0]["text"], text);
    let again = numbers(&read["choices"][0]["logprobs"]["token_logprobs"]);
    assert_eq!(again, numbers(&logprobs["token_logprobs"])[..ids.len()]);
}

#[tokio::test]
async fn the_sum_over_an_option_is_what_choose_says_of_it() {
    let worker = Worker::start(&[]).await;
    let options = ["billing", "delivery"].map(str::to_owned);
    let ticket = read(&worker, crate::grpc::request(TEXT)).await;
    let mut client = worker.grpc().await;
    let asked_to_choose = api::ChooseRequest {
        prompt: prompt(TEXT),
        options: options.to_vec(),
        ..api::ChooseRequest::default()
    };
    let chosen = client.choose(asked_to_choose).await.unwrap().into_inner();
    let end = ticket.ids.last().unwrap();
    for score in &chosen.scores {
        // As the harnesses do: prompt and option as ids, and the end of the answer.
        let option = tokens(&worker, &score.option, false).await;
        let ids = [&ticket.started.prompt_ids[..], &option, &[*end]].concat();
        let more = json!({ "echo": true, "logprobs": 1, "max_tokens": 0 });
        let answer = complete(&worker, &asked(json!(ids), more)).await;
        let logprobs = numbers(&answer["choices"][0]["logprobs"]["token_logprobs"]);
        let from = ticket.started.prompt_ids.len();
        let sum: f64 = logprobs[from..]
            .iter()
            .map(|logprob| logprob.unwrap())
            .sum();
        assert!(
            (sum - score.logprob).abs() < 1e-4,
            "{sum} against {score:?}"
        );
    }
}

#[tokio::test]
async fn a_long_prompt_is_scored_like_its_beginning_and_whatever_else_runs() {
    let worker = Worker::start(&[]).await;
    let long = format!("{TEXT} ").repeat(21);
    let more = json!({ "echo": true, "logprobs": 3, "max_tokens": 0 });
    let ids = tokens(&worker, &long, true).await;
    assert!(
        (300..512).contains(&ids.len()),
        "more than one step: {}",
        ids.len()
    );
    let whole = complete(&worker, &asked(json!(ids), more.clone())).await;
    let whole = &whole["choices"][0]["logprobs"];
    let bodies: Vec<Value> = [100, 257, 300]
        .iter()
        .map(|count| asked(json!(ids[..*count]), more.clone()))
        .collect();
    let parts = bodies.iter().map(|body| complete(&worker, body));
    for part in futures::future::join_all(parts).await {
        let part = &part["choices"][0]["logprobs"];
        for list in ["token_logprobs", "top_logprobs", "text_offset"] {
            let part = part[list].as_array().unwrap();
            let whole = whole[list].as_array().unwrap();
            assert_eq!(part[..], whole[..part.len()], "{list}");
        }
    }
}

#[tokio::test]
async fn a_stream_says_the_same_as_the_whole_completion() {
    let worker = Worker::start(&[]).await;
    let more = json!({ "echo": true, "logprobs": 1, "max_tokens": 5 });
    let whole = complete(&worker, &asked(TEXT, more.clone())).await;
    let mut streamed = asked(TEXT, more);
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({ "include_usage": true });
    let (pieces, ended) = pieces(post(&worker, &streamed).await).await;
    assert!(ended);
    let (last, pieces) = pieces.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(
        last["usage"]["total_tokens"],
        whole["usage"]["total_tokens"]
    );
    let text: String = pieces
        .iter()
        .map(|piece| piece["choices"][0]["text"].as_str().unwrap())
        .collect();
    assert_eq!(text, whole["choices"][0]["text"].as_str().unwrap());
    for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        let said = pieces.iter().filter_map(|piece| {
            let logprobs = &piece["choices"][0]["logprobs"];
            logprobs[list].as_array()
        });
        let said: Vec<Value> = said.flatten().cloned().collect();
        assert_eq!(Value::from(said), whole["choices"][0]["logprobs"][list]);
    }
    let reasons: Vec<&Value> = pieces
        .iter()
        .map(|piece| &piece["choices"][0]["finish_reason"])
        .filter(|reason| !reason.is_null())
        .collect();
    assert_eq!(reasons, [&whole["choices"][0]["finish_reason"]]);
}

#[tokio::test]
async fn streams_of_several_prompts_are_told_apart_by_their_index() {
    let worker = Worker::start(&[]).await;
    let prompts = json!([TEXT, "Where is my parcel?"]);
    let whole = complete(&worker, &asked(prompts.clone(), json!({ "n": 2 }))).await;
    let body = asked(prompts, json!({ "n": 2, "stream": true }));
    let (pieces, _) = pieces(post(&worker, &body).await).await;
    for choice in whole["choices"].as_array().unwrap() {
        let own = pieces
            .iter()
            .filter(|piece| piece["choices"][0]["index"] == choice["index"]);
        let text: String = own
            .map(|piece| piece["choices"][0]["text"].as_str().unwrap())
            .collect();
        assert_eq!(text, choice["text"].as_str().unwrap());
    }
}

#[tokio::test]
async fn what_a_completion_cannot_be_is_refused_by_name() {
    let worker = Worker::start(&[]).await;
    let context = vec![3; 512];
    for (body, param) in [
        (asked(TEXT, json!({ "suffix": "the end" })), "suffix"),
        (asked(TEXT, json!({ "best_of": 2 })), "best_of"),
        (asked(TEXT, json!({ "max_tokens": 0 })), "max_tokens"),
        (asked(TEXT, json!({ "logprobs": 21 })), "logprobs"),
        (asked(TEXT, json!({ "logprobs": -1 })), "logprobs"),
        (asked(TEXT, json!({ "n": 17 })), "n"),
        (asked(TEXT, json!({ "n": 0 })), "n"),
        (asked(json!([1, 99999]), json!({})), "prompt"),
        (asked(json!([]), json!({})), "prompt"),
        (asked(json!(context), json!({})), "prompt"),
        (asked(json!(vec![TEXT; 257]), json!({})), "prompt"),
        (asked(json!(vec![TEXT; 17]), json!({ "stream": true })), "n"),
        (asked(TEXT, json!({ "temperature": 9 })), "temperature"),
        (asked(TEXT, json!({ "guided_regex": "a(" })), "guided_regex"),
        (
            asked(
                TEXT,
                json!({ "n": 2, "stream": true, "echo": true, "logprobs": 1 }),
            ),
            "n",
        ),
        (
            asked(
                json!(vec![&context[..510]; 256]),
                json!({ "echo": true, "logprobs": 5, "max_tokens": 1 }),
            ),
            "logprobs",
        ),
        (json!({ "model": "triage" }), "prompt"),
    ] {
        let response = post(&worker, &body).await;
        assert_eq!(response.status(), 400, "{param}: {:.200}", body.to_string());
        let (status, error) = error_of(response).await;
        assert_eq!((status, &error["param"]), (400, &json!(param)), "{error}");
    }
    // A prompt that is only read may fill the context.
    let more = json!({ "echo": true, "logprobs": 0, "max_tokens": 0 });
    let read = complete(&worker, &asked(json!(context), more)).await;
    assert_eq!(read["usage"]["prompt_tokens"], 512);
    worker.until_idle().await;
}

#[tokio::test]
async fn a_chat_is_told_how_likely_its_prompt_is_as_a_completion_of_the_same_tokens_says() {
    let worker = Worker::start(&[]).await;
    let request = api::TokenizeRequest {
        prompt: prompt(TEXT),
        ..api::TokenizeRequest::default()
    };
    let ids = worker.grpc().await.tokenize(request).await;
    let ids = ids.unwrap().into_inner().ids;
    let chat = worker
        .chat(&about(TEXT, json!({ "prompt_logprobs": 2, "n": 2 })))
        .await;
    let told = chat["prompt_logprobs"].as_array().unwrap();
    let more = json!({ "echo": true, "logprobs": 2, "max_tokens": 0 });
    let read = complete(&worker, &asked(json!(ids), more)).await;
    let read = read["choices"][0]["logprobs"]["token_logprobs"]
        .as_array()
        .unwrap();
    assert_eq!((told.len(), read.len()), (ids.len(), ids.len()));
    assert_eq!((&told[0], &read[0]), (&Value::Null, &Value::Null));
    for ((told, read), id) in told.iter().zip(read).zip(&ids).skip(1) {
        let own = &told[id.to_string()];
        assert_eq!(&own["logprob"], read);
        assert!(own["decoded_token"].is_string());
        let all = told.as_object().unwrap().values();
        let mut ranks: Vec<u64> = all.filter_map(|one| one["rank"].as_u64()).collect();
        ranks.sort_unstable();
        assert_eq!(ranks, [1, 2]);
    }
    let plain = worker.chat(&about(TEXT, json!({}))).await;
    assert_eq!(plain.get("prompt_logprobs"), None);
    for more in [
        json!({ "prompt_logprobs": 2, "stream": true }),
        json!({ "prompt_logprobs": 21 }),
        json!({ "prompt_logprobs": -1 }),
    ] {
        let (status, error) = worker.refused(&about(TEXT, more)).await;
        assert_eq!((status, &error["param"]), (400, &json!("prompt_logprobs")));
    }
}

#[tokio::test]
async fn each_prompt_counts_with_its_own_length_towards_the_most_numbers() {
    let worker = Worker::start(&[]).await;
    let (long, short) = (vec![3; 400], vec![3; 2]);
    let more = json!({ "echo": true, "logprobs": 5, "max_tokens": 0 });
    let mut prompts = vec![short; 255];
    prompts.insert(0, long.clone());
    let whole = complete(&worker, &asked(json!(prompts), more.clone())).await;
    let choices = whole["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 256);
    // Together they are too many, whichever comes first.
    prompts.truncate(100);
    prompts.extend(vec![long; 124]);
    let (status, error) = error_of(post(&worker, &asked(json!(prompts), more)).await).await;
    assert_eq!((status, &error["param"]), (400, &json!("logprobs")));
    worker.until_idle().await;
}

#[tokio::test]
async fn offsets_count_characters_where_some_are_many_bytes_and_many_tokens() {
    let worker = Worker::start(&[]).await;
    let text = "naïve 日本 🦊🦊 parcel, été";
    let more = json!({ "echo": true, "logprobs": 0, "max_tokens": 0 });
    let answer = complete(&worker, &asked(text, more)).await;
    let logprobs = &answer["choices"][0]["logprobs"];
    let characters: Vec<char> = text.chars().collect();
    let offsets = logprobs["text_offset"].as_array().unwrap();
    let mut found = 0;
    for (at, offset) in offsets.iter().enumerate() {
        let token = logprobs["tokens"][at].as_str().unwrap();
        let there = characters.iter().skip(offset.as_u64().unwrap() as usize);
        let there: String = there.take(token.chars().count()).collect();
        // A piece of a character is shown as the vocabulary spells it.
        found += usize::from(there == token && token.trim().len() > 1);
    }
    assert!(found >= 5, "{logprobs}");
    let last = offsets.last().unwrap().as_u64().unwrap() as usize;
    assert!(
        characters.len() - 3 <= last && last < characters.len(),
        "{last}"
    );
}

#[tokio::test]
async fn more_prompts_than_the_queue_has_places_are_answered_in_their_turn() {
    let worker = Worker::start(&["--max-waiting=8"]).await;
    let prompts: Vec<String> = (0..40).map(|index| format!("Parcel {index}")).collect();
    let body = asked(json!(prompts), json!({ "n": 3, "max_tokens": 2 }));
    let answer = complete(&worker, &body).await;
    assert_eq!(answer["choices"].as_array().unwrap().len(), 120);
    worker.until_idle().await;
}
