//! Faults planned for requests of others, and the record of what came.

use super::*;

#[tokio::test]
async fn planned_faults_meet_the_next_requests_whoever_sends_them() {
    let provider = Provider::start().await;
    let plan = json!({"fault": "status=500", "count": 2});
    let (status, body) = answer(provider.post("/control/faults", &plan)).await;
    assert_eq!((status, &body["waiting"]), (200, &json!(2)));
    assert_eq!(answer(provider.chat(&ask(CLEAR))).await.0, 500);
    assert_eq!(answer(provider.messages(&ask(CLEAR))).await.0, 500);
    assert_eq!(answer(provider.chat(&ask(CLEAR))).await.0, 200);
}

#[tokio::test]
async fn a_plan_can_be_forgotten() {
    let provider = Provider::start().await;
    let plan = json!({"fault": "throttle"});
    assert_eq!(answer(provider.post("/control/faults", &plan)).await.0, 200);
    let forget = provider.client.delete(provider.url("/control/faults"));
    assert_eq!(forget.send().await.unwrap().status(), 204);
    assert_eq!(answer(provider.chat(&ask(CLEAR))).await.0, 200);
}

#[tokio::test]
async fn a_plan_that_is_none_is_refused_with_the_reason() {
    let provider = Provider::start().await;
    for plan in [
        json!({"fault": "explode"}),
        json!({"fault": "throttle", "count": 1_000_000}),
    ] {
        let (status, body) = answer(provider.post("/control/faults", &plan)).await;
        assert_eq!(status, 400);
        assert!(body["error"].is_string(), "{body}");
    }
}

#[tokio::test]
async fn what_came_is_shown_with_headers_and_body_until_it_is_forgotten() {
    let provider = Provider::start().await;
    let request = provider.chat(&ask(CLEAR)).bearer_auth("a-key");
    assert_eq!(answer(request).await.0, 200);
    let read = || provider.client.get(provider.url("/control/requests"));
    let (_, kept) = answer(read()).await;
    assert_eq!(kept["total"], 1, "reading is not a request of the wires");
    let request = &kept["requests"][0];
    assert_eq!(request["path"], "/v1/chat/completions");
    assert_eq!(request["headers"]["authorization"], "Bearer a-key");
    assert_eq!(request["body"], ask(CLEAR));
    let forget = provider.client.delete(provider.url("/control/requests"));
    assert_eq!(forget.send().await.unwrap().status(), 204);
    assert_eq!(answer(read()).await.1["total"], 0);
}

#[tokio::test]
async fn what_was_answered_is_charged_for_and_what_was_refused_is_not() {
    let provider = Provider::start().await;
    let plan = json!({"fault": "status=500"});
    assert_eq!(answer(provider.post("/control/faults", &plan)).await.0, 200);
    assert_eq!(answer(provider.chat(&ask(CLEAR))).await.0, 500);
    let (_, chat) = answer(provider.chat(&ask(CLEAR))).await;
    let (_, message) = answer(provider.messages(&ask(CLEAR))).await;
    let (_, bill) = answer(provider.client.get(provider.url("/control/bill"))).await;
    assert_eq!(bill["answers"], 2);
    let sum = |chat: &Value, message: &Value| chat.as_u64().unwrap() + message.as_u64().unwrap();
    let (chat, message) = (&chat["usage"], &message["usage"]);
    let input = sum(&chat["prompt_tokens"], &message["input_tokens"]);
    let output = sum(&chat["completion_tokens"], &message["output_tokens"]);
    assert_eq!(
        (&bill["input_tokens"], &bill["output_tokens"]),
        (&json!(input), &json!(output))
    );
}

#[tokio::test]
async fn what_limits_headers_tell_can_be_set() {
    let provider = Provider::start().await;
    let limits = json!({"remaining_requests": 0, "reset_tokens_ms": 1500});
    let (status, set) = answer(provider.post("/control/limits", &limits)).await;
    assert_eq!((status, &set["tokens"]), (200, &json!(2_000_000)));
    let chat = provider.chat(&ask(CLEAR)).send().await.unwrap();
    assert_eq!(chat.headers()["x-ratelimit-remaining-requests"], "0");
    assert_eq!(chat.headers()["x-ratelimit-reset-tokens"], "1.5s");
    let messages = provider.messages(&ask(CLEAR)).send().await.unwrap();
    let remaining = &messages.headers()["anthropic-ratelimit-requests-remaining"];
    assert_eq!(remaining, "0");
    assert!(!messages.headers().contains_key("openai-organization"));
}

#[tokio::test]
async fn betas_and_the_query_are_shown_as_they_came() {
    let provider = Provider::start().await;
    let request = provider
        .post("/v1/messages?beta=true", &ask(CLEAR))
        .header("anthropic-version", "2026-10-21")
        .header("anthropic-beta", "one-2026-01-01,two-2026-01-01");
    assert_eq!(answer(request).await.0, 200);
    let (_, kept) = answer(provider.client.get(provider.url("/control/requests"))).await;
    let request = &kept["requests"][0];
    assert_eq!(
        (&request["path"], &request["query"]),
        (&json!("/v1/messages"), &json!("beta=true"))
    );
    let betas = &request["headers"]["anthropic-beta"];
    assert_eq!(betas, "one-2026-01-01,two-2026-01-01");
}
