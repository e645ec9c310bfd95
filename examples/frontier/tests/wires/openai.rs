//! OpenAI's wire.

use super::*;

#[tokio::test]
async fn a_ticket_is_answered_with_its_team_and_counted() {
    let provider = Provider::start().await;
    let (status, body) = answer(provider.chat(&ask(CLEAR))).await;
    assert_eq!(status, 200);
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "any");
    assert_eq!(body["choices"][0]["message"]["content"], "billing");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let usage = &body["usage"];
    assert_eq!(usage["completion_tokens"], 2);
    assert!(usage["prompt_tokens"].as_u64().unwrap() > 15, "{usage}");
}

#[tokio::test]
async fn only_the_last_question_counts_and_parts_are_joined() {
    let provider = Provider::start().await;
    let body = json!({"model": "any", "messages": [
        {"role": "system", "content": "Route the ticket to a team."},
        {"role": "user", "content": CLEAR},
        {"role": "assistant", "content": "billing"},
        {"role": "user", "content": [
            {"type": "text", "text": "My parcel has not arrived "},
            {"type": "text", "text": "since yesterday."},
        ]},
    ]});
    let (_, body) = answer(provider.chat(&body)).await;
    assert_eq!(body["choices"][0]["message"]["content"], "delivery");
}

#[tokio::test]
async fn text_that_is_no_ticket_gets_a_polite_sentence() {
    let provider = Provider::start().await;
    let (status, body) = answer(provider.chat(&ask("Qwx zrrk."))).await;
    let content = body["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(status, 200);
    assert!(content.starts_with("I am a stand-in"), "{content}");
}

#[tokio::test]
async fn a_stream_adds_up_to_the_answer_and_ends_with_its_mark() {
    let provider = Provider::start().await;
    let response = provider.chat(&streamed(CLEAR)).send().await.unwrap();
    let events = events(response).await;
    let text: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, "billing");
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(
        events[events.len() - 2]["choices"][0]["finish_reason"],
        "stop"
    );
    assert_eq!(events[events.len() - 1], "[DONE]");
    assert!(events.iter().all(|event| event.get("usage").is_none()));
}

#[tokio::test]
async fn a_stream_reports_usage_only_where_asked() {
    let provider = Provider::start().await;
    let mut body = streamed(CLEAR);
    body["stream_options"] = json!({"include_usage": true});
    let events = events(provider.chat(&body).send().await.unwrap()).await;
    let last = &events[events.len() - 2];
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 2);
    assert!(events[0]["usage"].is_null());
}

#[tokio::test]
async fn an_answer_longer_than_allowed_is_cut_and_says_so() {
    let provider = Provider::start().await;
    let mut body = ask(CLEAR);
    body["max_completion_tokens"] = 1.into();
    let (_, body) = answer(provider.chat(&body)).await;
    assert_eq!(body["choices"][0]["message"]["content"], "bill");
    assert_eq!(body["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_naming_the_field() {
    let provider = Provider::start().await;
    let part = json!({"type": "input_audio", "input_audio": {"data": ""}});
    let cases = [
        ("messages", "messages", json!([])),
        (
            "messages[0].role",
            "messages",
            json!([{"role": "bard", "content": ""}]),
        ),
        (
            "messages[0].content[0].type",
            "messages",
            json!([{"role": "user", "content": [part]}]),
        ),
        ("model", "model", Value::Null),
        ("max_tokens", "max_tokens", json!(0)),
        (
            "tools[0].function.name",
            "tools",
            json!([{"type": "function"}]),
        ),
        ("functions", "functions", json!([{"name": "f"}])),
        ("logprobs", "logprobs", json!(3)),
        ("n", "n", json!(0)),
        ("stop", "stop", json!([1])),
        (
            "response_format.type",
            "response_format",
            json!({"type": "xml"}),
        ),
    ];
    for (named, field, value) in cases {
        let mut body = ask(CLEAR);
        body[field] = value;
        let (status, body) = answer(provider.chat(&body)).await;
        assert_eq!(
            (status, &body["error"]["param"]),
            (400, &json!(named)),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let provider = Provider::start().await;
    let request = provider.client.post(provider.url("/v1/chat/completions"));
    let (status, body) = answer(request.body("{\"model\":")).await;
    assert_eq!(
        (status, &body["error"]["type"]),
        (400, &json!("invalid_request_error"))
    );
}

#[tokio::test]
async fn a_path_that_is_none_is_named() {
    let provider = Provider::start().await;
    let (status, body) = answer(provider.post("/v1/moderations", &json!({}))).await;
    assert_eq!(status, 404);
    assert_eq!(body["error"]["message"], "there is no POST /v1/moderations");
}

#[tokio::test]
async fn models_come_in_the_shape_of_the_wire_that_asks() {
    let provider = Provider::start().await;
    let request = || provider.client.get(provider.url("/v1/models"));
    let (_, openai) = answer(request()).await;
    assert_eq!(
        (&openai["object"], &openai["data"][0]["object"]),
        (&json!("list"), &json!("model"))
    );
    let (_, anthropic) = answer(request().header("anthropic-version", "2023-06-01")).await;
    assert_eq!(
        (&anthropic["has_more"], &anthropic["data"][0]["type"]),
        (&json!(false), &json!("model"))
    );
}

#[tokio::test]
async fn a_key_is_asked_for_only_where_one_is_set() {
    let key = Some("secret".to_owned());
    let provider = Provider::with(Args {
        api_key: key,
        ..Args::embedded()
    })
    .await;
    let (status, body) = answer(provider.chat(&ask(CLEAR))).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (401, &json!("invalid_api_key"))
    );
    let (status, _) = answer(provider.chat(&ask(CLEAR)).bearer_auth("wrong")).await;
    assert_eq!(status, 401);
    let (status, _) = answer(provider.chat(&ask(CLEAR)).bearer_auth("secret")).await;
    assert_eq!(status, 200);
}
