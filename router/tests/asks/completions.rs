//! Completions of texts: several prompts in one ask, and prompts that are shown again.

use http::StatusCode;
use reqwest::Response;
use serde_json::{Value, json};
use weir_worker_api::ErrorCode;

use crate::rig::{Rig, header, json_of, merge, streamed};
use crate::worker::{Play, Scripted, sure, unsure};

fn quoted() -> Vec<Play> {
    vec![Play::Quote, Play::End]
}

async fn complete(rig: &Rig, more: Value) -> Response {
    let mut body = json!({ "model": "assistant", "prompt": "a" });
    merge(&mut body, more);
    let request = rig.client.post(format!("{}/v1/completions", rig.url));
    request.body(body.to_string()).send().await.unwrap()
}

/// What each choice says, in the order of their numbers.
fn texts(body: &Value) -> Vec<&str> {
    let choices = body["choices"].as_array().unwrap().iter().enumerate();
    let texts = choices.map(|(index, choice)| {
        assert_eq!(choice["index"], index);
        choice["text"].as_str().unwrap()
    });
    texts.collect()
}

#[tokio::test]
async fn several_prompts_are_answered_in_their_order_with_one_usage_and_one_decision() {
    let worker = Scripted::start([quoted()]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    let prompts = json!(["one", [7, 8], "three"]);
    let response = complete(&rig, json!({ "prompt": prompts, "n": 2 })).await;
    assert_eq!(header(&response, "x-weir-tier"), "small");
    let body = json_of(response).await;
    assert_eq!(
        texts(&body),
        ["one", "one", "[7, 8]", "[7, 8]", "three", "three"]
    );
    assert_eq!(body["usage"]["prompt_tokens"], 3 * 7);
    assert_eq!(body["usage"]["completion_tokens"], 6 * 2);
    let asked = worker.asked();
    assert_eq!(asked.len(), 3, "a call for each prompt");
    assert!(asked.iter().all(|asked| asked.choices == 2));
    rig.until_counted("weir_router_asks_total{policy=\"support\",outcome=\"answered\"} 1")
        .await;
}

#[tokio::test]
async fn answers_to_several_prompts_are_streamed_each_under_its_number() {
    let worker = Scripted::start([quoted()]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    let prompts: Vec<String> = (0..40).map(|index| format!("p{index}")).collect();
    let options = json!({ "include_usage": true });
    let asked = json!({ "prompt": prompts, "stream": true, "stream_options": options });
    let answer = streamed(complete(&rig, asked).await).await;
    assert!(answer.is_done);
    let choices: Vec<&Value> = answer
        .chunks
        .iter()
        .map(|chunk| &chunk["choices"][0])
        .collect();
    for (index, prompt) in prompts.iter().enumerate() {
        let own: Vec<&&Value> = choices
            .iter()
            .filter(|choice| choice["index"] == index)
            .collect();
        let text: String = own
            .iter()
            .filter_map(|choice| choice["text"].as_str())
            .collect();
        assert_eq!(text, *prompt);
        assert_eq!(own.last().unwrap()["finish_reason"], "stop");
    }
    assert_eq!(
        answer.chunks.last().unwrap()["usage"]["prompt_tokens"],
        40 * 7
    );
}

#[tokio::test]
async fn one_unsure_answer_of_several_takes_all_of_them_up_in_one_request() {
    let worker = Scripted::start([sure(), sure(), unsure()]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    for stream in [false, true] {
        let asked = json!({ "prompt": ["one", "two", "three"], "stream": stream });
        let response = complete(&rig, asked).await;
        assert_eq!(header(&response, "x-weir-tier"), "frontier");
        match stream {
            false => assert_eq!(texts(&json_of(response).await).len(), 3),
            true => {
                let answer = streamed(response).await;
                let last = |index| {
                    let choices = answer.chunks.iter().map(|chunk| &chunk["choices"][0]);
                    let mut own = choices.filter(|choice| choice["index"] == index);
                    own.next_back().unwrap()["finish_reason"].clone()
                };
                assert!((0..3).all(|index| last(index).is_string()) && answer.is_done);
            }
        }
    }
    let sent = rig.sent_to_frontier().await;
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0]["body"]["prompt"], json!(["one", "two", "three"]));
}

#[tokio::test]
async fn a_worker_that_has_no_room_for_a_later_prompt_is_waited_for_and_one_without_any_is_left() {
    let full = vec![Play::Refuse(ErrorCode::Overloaded)];
    let worker = Scripted::start([quoted(), full.clone(), full.clone(), quoted()]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    let asked = json!({ "prompt": ["one", "two"] });
    let response = complete(&rig, asked.clone()).await;
    assert_eq!(header(&response, "x-weir-attempts"), "small");
    assert_eq!(texts(&json_of(response).await), ["one", "two"]);
    assert_eq!(worker.asked().len(), 4);

    let worker = Scripted::start([full]).await;
    let rig = Rig::with(json!({ "retries": { "max": 0 } }), &[&worker]).await;
    let response = complete(&rig, asked).await;
    assert_eq!(
        header(&response, "x-weir-attempts"),
        "small;overloaded, frontier"
    );
}

#[tokio::test]
async fn a_later_prompt_that_fails_fails_the_attempt_and_its_other_prompts_are_given_up() {
    for broken in [
        vec![Play::Die],
        vec![Play::Quote],
        vec![Play::Refuse(ErrorCode::TooLong)],
    ] {
        let worker = Scripted::start([vec![Play::Hang], broken]).await;
        let rig = Rig::with(json!({ "retries": { "max": 0 } }), &[&worker]).await;
        let response = complete(&rig, json!({ "prompt": ["one", "two"] })).await;
        assert_eq!(header(&response, "x-weir-tier"), "frontier");
        for _ in 0..500 {
            if worker.cancelled() > 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(
            worker.cancelled() > 0,
            "the first prompt is still worked on"
        );
    }
}

/// Log-probabilities for a prompt of three tokens and an answer of one.
fn scored() -> Vec<Play> {
    vec![Play::Read(&["a", "b"]), Play::Say("c", -0.01), Play::End]
}

#[tokio::test]
async fn a_prompt_is_shown_again_with_its_log_probabilities_before_every_answer() {
    let worker = Scripted::start([scored()]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    for (stream, n) in [(false, 1), (false, 2), (true, 1), (true, 2)] {
        let asked =
            json!({ "prompt": "ab", "echo": true, "logprobs": 1, "n": n, "stream": stream });
        let response = complete(&rig, asked).await;
        let told: Vec<Value> = match stream {
            false => json_of(response).await["choices"]
                .as_array()
                .unwrap()
                .clone(),
            true => {
                let chunks = streamed(response).await.chunks;
                chunks
                    .iter()
                    .map(|chunk| chunk["choices"][0].clone())
                    .collect()
            }
        };
        for index in 0..n {
            let own: Vec<&Value> = told.iter().filter(|one| one["index"] == index).collect();
            let text: String = own.iter().filter_map(|one| one["text"].as_str()).collect();
            assert_eq!(text, "abc", "{told:?}");
            let list = |name: &str| -> Vec<Value> {
                let lists = own
                    .iter()
                    .filter_map(|one| one["logprobs"][name].as_array());
                lists.flatten().cloned().collect()
            };
            assert_eq!(list("tokens"), ["<s>", "a", "b", "c"]);
            assert_eq!(list("text_offset"), [0, 0, 1, 2]);
            assert_eq!(list("token_logprobs")[..2], [Value::Null, json!(-0.5)]);
            assert_eq!(
                list("top_logprobs")[..2],
                [Value::Null, json!({ "a": -0.5 })]
            );
        }
    }
    let asked = worker.asked()[0].clone();
    assert_eq!((asked.prompt_logprobs, asked.spelled), (Some(1), true));
}

#[tokio::test]
async fn a_prompt_that_is_only_read_is_given_however_unsure_the_tier_is_and_asks_nobody_else() {
    let worker = Scripted::start([vec![Play::Read(&["a", "b"]), Play::End]]).await;
    let rig = Rig::with(json!({ "onAllUnsure": "Error" }), &[&worker]).await;
    let asked = json!({ "prompt": [7, 8], "echo": true, "max_tokens": 0, "logprobs": 0 });
    let response = complete(&rig, asked).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "x-weir-attempts"), "small");
    let body = json_of(response).await;
    assert_eq!(texts(&body), ["text of [7, 8]"], "tokens are shown as text");
    assert_eq!(
        body["choices"][0]["logprobs"]["tokens"],
        json!(["<s>", "a", "b"])
    );
    assert!(rig.sent_to_frontier().await.is_empty());
    // Without log-probabilities it is text alone.
    let asked = json!({ "prompt": "ab", "echo": true, "max_tokens": 0 });
    let body = json_of(complete(&rig, asked).await).await;
    assert_eq!(texts(&body), ["ab"]);
    assert_eq!(body["choices"][0]["logprobs"], Value::Null);
}
