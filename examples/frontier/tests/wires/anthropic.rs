//! Anthropic's wire.

use super::*;

#[tokio::test]
async fn a_ticket_is_answered_with_its_team_and_counted() {
    let provider = Provider::start().await;
    let (status, body) = answer(provider.messages(&ask(CLEAR))).await;
    assert_eq!(status, 200);
    assert_eq!(body["type"], "message");
    assert_eq!(
        body["content"],
        json!([{"type": "text", "text": "billing"}])
    );
    assert_eq!(body["stop_reason"], "end_turn");
    assert_eq!(body["usage"]["output_tokens"], 2);
    assert!(
        body["usage"]["input_tokens"].as_u64().unwrap() > 15,
        "{body}"
    );
}

#[tokio::test]
async fn a_stream_has_the_events_in_their_order_and_adds_up() {
    let provider = Provider::start().await;
    let response = provider.messages(&streamed(CLEAR)).send().await.unwrap();
    let events = events(response).await;
    let names: Vec<_> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    let text: String = events
        .iter()
        .filter_map(|event| event["delta"]["text"].as_str())
        .collect();
    assert_eq!(text, "billing");
    assert!(
        events[0]["message"]["usage"]["input_tokens"]
            .as_u64()
            .unwrap()
            > 15
    );
    assert_eq!(events[6]["usage"]["output_tokens"], 2);
}

#[tokio::test]
async fn what_the_wire_requires_is_refused_when_missing() {
    let provider = Provider::start().await;
    let (status, body) = answer(provider.post("/v1/messages", &ask(CLEAR))).await;
    assert_eq!(
        (status, &body["error"]["type"]),
        (400, &json!("invalid_request_error"))
    );
    let mut body = ask(CLEAR);
    body["max_tokens"] = Value::Null;
    let (status, body) = answer(provider.messages(&body)).await;
    assert_eq!(status, 400);
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("max_tokens"),
        "{body}"
    );
}

#[tokio::test]
async fn the_later_version_refuses_sampling_fields_and_prefilled_answers() {
    let provider = Provider::start().await;
    let mut sampled = ask(CLEAR);
    sampled["temperature"] = 1.into();
    let mut prefilled = ask(CLEAR);
    prefilled["messages"] = json!([
        {"role": "user", "content": CLEAR},
        {"role": "assistant", "content": "The team is"},
    ]);
    for body in [sampled, prefilled] {
        let strict = provider
            .post("/v1/messages", &body)
            .header("anthropic-version", "2026-10-21");
        assert_eq!(answer(strict).await.0, 400, "{body}");
        assert_eq!(answer(provider.messages(&body)).await.0, 200, "{body}");
    }
}

#[tokio::test]
async fn tokens_are_counted_as_in_the_answer() {
    let provider = Provider::start().await;
    let (_, message) = answer(provider.messages(&ask(CLEAR))).await;
    let request = provider
        .post("/v1/messages/count_tokens", &ask(CLEAR))
        .header("anthropic-version", "2023-06-01");
    let (_, counted) = answer(request).await;
    assert_eq!(counted["input_tokens"], message["usage"]["input_tokens"]);
}

#[tokio::test]
async fn a_key_may_come_in_either_header_but_not_differ() {
    let key = Some("secret".to_owned());
    let provider = Provider::with(Args {
        api_key: key,
        ..Args::embedded()
    })
    .await;
    let request = || provider.messages(&ask(CLEAR));
    let (status, body) = answer(request()).await;
    assert_eq!(
        (status, &body["error"]["type"]),
        (401, &json!("authentication_error"))
    );
    assert_eq!(answer(request().header("x-api-key", "secret")).await.0, 200);
    assert_eq!(answer(request().bearer_auth("secret")).await.0, 200);
    let both = request().bearer_auth("secret").header("x-api-key", "other");
    assert_eq!(answer(both).await.0, 400);
}
