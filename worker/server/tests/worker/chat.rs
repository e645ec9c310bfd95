//! Chat completions as an SDK asks for them.

use serde_json::{Value, json};

use crate::harness::{Worker, about, endless};

const CLEAR: &str = "Hello, I was charged twice for my subscription this month. Please help!";

fn text(pieces: &[Value], choice: u64) -> String {
    pieces
        .iter()
        .filter(|piece| piece["choices"][0]["index"] == choice)
        .filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str())
        .collect()
}

#[tokio::test]
async fn a_whole_answer_has_the_shape_an_sdk_expects() {
    let worker = Worker::start(&[]).await;
    let answer = worker.chat(&about(CLEAR, json!({}))).await;
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "triage");
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["content"], "billing");
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(choice["logprobs"], Value::Null);
    let usage = &answer["usage"];
    let sum =
        usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);

    let models: Value = worker
        .get("/v1/models")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(models["data"][0]["id"], "triage");
    let model: Value = worker
        .get("/v1/models/triage")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(model["object"], "model");
}

#[tokio::test]
async fn a_stream_says_the_same_as_the_whole_answer_and_ends_with_its_mark() {
    let worker = Worker::start(&[]).await;
    let usage = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let (pieces, ended) = worker.stream(&about(CLEAR, usage)).await;
    assert!(ended);
    assert_eq!(pieces[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(text(&pieces, 0), "billing");
    let last = pieces.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    // Asked by somebody else, who finds nothing of it computed.
    let whole = worker
        .chat(&about(CLEAR, json!({ "cache_salt": "other" })))
        .await;
    assert_eq!(last["usage"], whole["usage"]);
    assert_eq!(
        pieces[pieces.len() - 2]["choices"][0]["finish_reason"],
        "stop"
    );
    assert!(pieces.iter().all(|piece| piece["id"] == pieces[0]["id"]));

    let (pieces, ended) = worker
        .stream(&about(CLEAR, json!({ "stream": true })))
        .await;
    assert!(ended && pieces.iter().all(|piece| piece.get("usage").is_none()));
}

#[tokio::test]
async fn the_usage_tells_how_much_of_the_prompt_was_computed_before() {
    let worker = Worker::start(&[]).await;
    let cached = async |worker: &Worker, more: Value| {
        let answer = worker.chat(&about(CLEAR, more)).await;
        let usage = &answer["usage"];
        let of_prompt = usage["prompt_tokens"].as_u64().unwrap();
        let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64();
        (cached.unwrap(), (of_prompt - 1) / 16 * 16)
    };
    assert_eq!(cached(&worker, json!({ "n": 2 })).await.0, 0);
    let (again, most) = cached(&worker, json!({})).await;
    assert_eq!(again, most);
    assert!(most > 0);
    let salted = json!({ "cache_salt": "other" });
    assert_eq!(cached(&worker, salted).await.0, 0);
    let stream = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let (pieces, _) = worker.stream(&about(CLEAR, stream)).await;
    let usage = &pieces.last().unwrap()["usage"];
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], most);
    let (_, metrics) = worker.admin("/metrics").await;
    let hits = format!("weir_worker_cache_hit_tokens_total {}", 3 * most);
    assert!(
        metrics.contains(&hits),
        "the second choice hits too: {metrics}"
    );
    assert_eq!(worker.report().await["worker"]["hit_tokens"], 3 * most);

    let plain = Worker::start(&["--prefix-cache=Disabled"]).await;
    for _ in 0..2 {
        assert_eq!(cached(&plain, json!({})).await.0, 0);
    }
}

#[tokio::test]
async fn no_more_sequences_run_than_the_worker_was_told() {
    let worker = Worker::start(&["--max-sequences=2"]).await;
    let report = worker.report().await;
    assert_eq!(report["worker"]["max_sequences"], 2);
    // Long enough to be seen at it, on however busy a machine.
    let body = endless(json!({ "n": 16 }));
    {
        let mut request = Box::pin(worker.post(&body).send());
        tokio::select! {
            _ = &mut request => panic!("the answer cannot be there yet"),
            () = worker.until(|load| load["running"] == 2 && load["waiting"] == 14) => {}
        }
    }
    worker.until_idle().await;
}

#[tokio::test]
async fn a_seed_repeats_an_answer_and_choices_differ() {
    let worker = Worker::start(&[]).await;
    let body = endless(json!({ "max_tokens": 24, "seed": 42, "n": 3 }));
    let first = worker.chat(&body).await["choices"].clone();
    assert_eq!(first, worker.chat(&body).await["choices"]);
    assert_eq!(first.as_array().unwrap().len(), 3);
    assert_ne!(first[0]["message"], first[1]["message"]);
    assert_eq!(first[0]["finish_reason"], "length");
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let (pieces, _) = worker.stream(&streamed).await;
    for choice in 0..3 {
        let content = &first[choice as usize]["message"]["content"];
        assert_eq!(&Value::from(text(&pieces, choice)), content);
    }
}

#[tokio::test]
async fn a_stop_string_is_never_shown_in_whole_or_in_part() {
    let worker = Worker::start(&[]).await;
    let whole = worker.chat(&endless(json!({ "max_tokens": 40 }))).await;
    let whole = whole["choices"][0]["message"]["content"]
        .as_str()
        .unwrap()
        .to_owned();
    let middle: String = whole.chars().skip(10).take(7).collect();
    for stop in [json!(middle), json!([middle, "never said"])] {
        let body = endless(json!({ "max_tokens": 40, "stop": stop, "stream": true }));
        let (pieces, _) = worker.stream(&body).await;
        let shown = text(&pieces, 0);
        assert_eq!(shown, whole[..whole.find(&middle).unwrap()]);
        let last = &pieces.last().unwrap()["choices"][0];
        assert_eq!(last["finish_reason"], "stop");
    }
}

#[tokio::test]
async fn logprobs_come_with_alternatives_and_spell_the_text() {
    let worker = Worker::start(&[]).await;
    let body = about(CLEAR, json!({ "logprobs": true, "top_logprobs": 3 }));
    let answer = worker.chat(&body).await;
    let content = answer["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap();
    let spelled: String = content
        .iter()
        .map(|token| token["token"].as_str().unwrap())
        .collect();
    assert_eq!(spelled, "billing");
    for token in content {
        assert_eq!(token["top_logprobs"].as_array().unwrap().len(), 3);
        assert!(token["logprob"].as_f64().unwrap() <= 0.0);
        assert!(token["bytes"].is_array());
    }
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let (pieces, _) = worker.stream(&streamed).await;
    let streamed: Vec<Value> = pieces
        .iter()
        .filter_map(|piece| piece["choices"][0]["logprobs"]["content"].as_array())
        .flatten()
        .cloned()
        .collect();
    assert_eq!(&streamed, content);
}

#[tokio::test]
async fn roles_and_content_parts_of_newer_sdks_are_understood() {
    let worker = Worker::start(&[]).await;
    let answer = worker
        .chat(&json!({
            "model": "triage",
            "messages": [
                { "role": "developer", "content": "Answer with a team." },
                { "role": "user", "content": [{ "type": "text", "text": CLEAR }] },
            ],
            "max_completion_tokens": 2,
            "max_tokens": 1,
            "user": null,
        }))
        .await;
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() <= 2);
}

#[tokio::test]
async fn a_field_that_only_advises_is_named_as_dropped() {
    let worker = Worker::start(&[]).await;
    let body = about(
        CLEAR,
        json!({ "user": "u-1", "store": true, "logit_bias": null }),
    );
    let response = worker
        .post(&body)
        .header("x-request-id", "mine")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["x-weir-dropped"], "user, store");
    assert_eq!(response.headers()["x-request-id"], "mine");
}

#[tokio::test]
async fn a_chat_template_of_its_own_takes_the_place_of_the_models() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ours.jinja");
    std::fs::write(&file, "{{ messages[0].content }}").unwrap();
    let tokens = async |args: &[&str]| {
        let worker = Worker::start(args).await;
        let answer = worker.chat(&about("refund", json!({}))).await;
        answer["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let ours = tokens(&["--chat-template", file.to_str().unwrap()]).await;
    assert!(ours < tokens(&[]).await);
}
