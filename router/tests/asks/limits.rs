//! What may be asked in a minute, and by whom: what a client is told of it, and when it is refused.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use reqwest::Response;
use serde_json::{Value, json};
use weir_router::World;

use crate::rig::{QUESTION, Rig, Setup, header, json_of, world};
use crate::wires::Wire;
use crate::worker::{Play, Reply, Scripted, sure};

fn bearer(key: &str) -> HeaderMap {
    let value = format!("Bearer {key}").parse().unwrap();
    [(http::header::AUTHORIZATION, value)].into_iter().collect()
}

async fn rig(limits: Value, scripts: Vec<Vec<Play>>) -> (Scripted, Rig) {
    let worker = Scripted::start(scripts).await;
    let policy = json!({ "limits": limits, "retries": { "max": 0 } });
    let rig = Rig::with(policy, &[&worker]).await;
    (worker, rig)
}

/// The same with the tenants `alice` and `bob`, whose keys are called so.
async fn with_tenants(policy: Value, script: Vec<Play>, args: fn(&mut weir_router::Args)) -> Rig {
    let mut all = json!({ "auth": { "keysSecretRef": { "name": "keys" } } });
    crate::rig::merge(&mut all, policy);
    Rig::start(Setup {
        policy: all,
        workers: vec![Scripted::start([script]).await],
        args,
        secrets: &[
            ("keys", "alice", "plain:alice"),
            ("keys", "bob", "plain:bob"),
        ],
        ..Setup::default()
    })
    .await
}

fn number(response: &Response, name: &str) -> u64 {
    let text = header(response, name);
    text.parse().unwrap_or_else(|_| panic!("{name}: {text:?}"))
}

#[tokio::test]
async fn asks_beyond_the_limit_are_refused_in_the_words_of_both_wires_and_ask_no_tier() {
    let (worker, rig) = rig(json!({ "asksPerMinute": 2 }), vec![sure()]).await;
    for remaining in ["1", "0"] {
        let answer = rig.ask(json!({})).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(header(&answer, "x-ratelimit-limit-requests"), "2");
        assert_eq!(header(&answer, "x-ratelimit-remaining-requests"), remaining);
        assert!(header(&answer, "x-ratelimit-reset-requests").ends_with('s'));
        assert!(!answer.headers().contains_key("x-ratelimit-limit-tokens"));
    }
    for wire in Wire::ALL {
        let refused = wire
            .ask(&rig, &wire.body(QUESTION, true), HeaderMap::new())
            .await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "{wire:?}");
        assert_eq!(header(&refused, "x-should-retry"), "true");
        assert!((1..=30).contains(&number(&refused, "retry-after")));
        assert!((1..=30_000).contains(&number(&refused, "retry-after-ms")));
        let is_anthropic = wire == Wire::Messages;
        let (limit, remaining) = match is_anthropic {
            true => (
                "anthropic-ratelimit-requests-limit",
                "anthropic-ratelimit-requests-remaining",
            ),
            false => (
                "x-ratelimit-limit-requests",
                "x-ratelimit-remaining-requests",
            ),
        };
        assert_eq!(
            (number(&refused, limit), number(&refused, remaining)),
            (2, 0)
        );
        if is_anthropic {
            let reset = header(&refused, "anthropic-ratelimit-requests-reset");
            reset.parse::<jiff::Timestamp>().unwrap();
        }
        let error = json_of(refused).await["error"].clone();
        let kind = if is_anthropic {
            "rate_limit_error"
        } else {
            "requests"
        };
        assert_eq!(error["type"], kind);
        if !is_anthropic {
            assert_eq!(error["code"], "rate_limit_exceeded");
        }
        let message = "the limit of 2 asks a minute for this model is reached";
        assert_eq!(error["message"], message);
    }
    assert_eq!(worker.asked().len(), 2);
    let limited = "weir_router_limited_total{policy=\"support\",whose=\"policy\",limit=\"asks\"} 3";
    rig.until_counted(limited).await;
}

#[tokio::test]
async fn tokens_are_reserved_while_an_ask_is_in_hand_and_corrected_when_it_is_over() {
    let mut script = vec![Play::Wait];
    script.extend(sure());
    let (worker, rig) = rig(json!({ "tokensPerMinute": 1200 }), vec![script]).await;
    let most = json!({ "max_tokens": 1000 });
    let first = rig.ask(most.clone());
    let second = async {
        rig.until_counted("weir_router_asks_running 1").await;
        while worker.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let second = rig.ask(most.clone()).await;
        worker.go_on();
        second
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status(), StatusCode::OK);
    // Seven of the prompt, by its bytes.
    assert_eq!(number(&first, "x-ratelimit-remaining-tokens"), 1200 - 1007);
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(json_of(second).await["error"]["type"], "tokens");
    rig.until_counted("weir_router_asks_running 0").await;
    worker.go_on();
    let third = rig.ask(most).await;
    assert_eq!(third.status(), StatusCode::OK, "it came to nine");
    assert!((184..=193).contains(&number(&third, "x-ratelimit-remaining-tokens")));
}

#[tokio::test]
async fn a_client_that_leaves_has_used_what_was_written_until_then() {
    let hanging = vec![
        Play::Say("bil", -0.01),
        Play::Say("ling", -0.01),
        Play::Hang,
    ];
    let limits = json!({ "tokensPerMinute": 1200 });
    let (worker, rig) = rig(limits, vec![hanging, sure()]).await;
    {
        let left = rig.ask(json!({ "max_tokens": 1000 }));
        let asked = async {
            while worker.asked().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = left => panic!("answered"),
            () = asked => {}
        }
    }
    rig.until_counted("weir_router_asks_running 0").await;
    assert_eq!(
        rig.ask(json!({ "max_tokens": 1000 })).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn what_no_minute_can_hold_is_refused_by_its_field_and_not_told_to_wait() {
    let (worker, rig) = rig(json!({ "tokensPerMinute": 500 }), vec![sure()]).await;
    for (extra, field) in [
        (json!({ "max_tokens": 600 }), "max_tokens"),
        (
            json!({ "max_completion_tokens": 200, "n": 3 }),
            "max_completion_tokens",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": "x".repeat(2000) }] }),
            "messages",
        ),
    ] {
        let refused = rig.ask(extra).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert_eq!(header(&refused, "x-should-retry"), "false");
        assert_eq!(json_of(refused).await["error"]["param"], field);
    }
    let body = Wire::Messages.body(QUESTION, false);
    let refused = Wire::Messages.ask(&rig, &body, HeaderMap::new()).await;
    let message = json_of(refused).await["error"]["message"].to_string();
    assert!(
        message.contains("max_tokens: 999 tokens of answers"),
        "{message}"
    );
    assert!(worker.asked().is_empty());
    let fits = rig.ask(json!({ "max_tokens": 400 })).await;
    assert_eq!(
        fits.status(),
        StatusCode::OK,
        "and nothing was taken for the others"
    );
}

#[tokio::test]
async fn a_tenant_has_a_limit_of_its_own() {
    let policy = json!({ "limits": { "perTenant": { "asksPerMinute": 1 } } });
    let rig = with_tenants(policy, sure(), |_| {}).await;
    let ask = async |key| rig.ask_with(json!({}), bearer(key)).await;
    assert_eq!(ask("alice").await.status(), StatusCode::OK);
    let refused = ask("alice").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let message = json_of(refused).await["error"]["message"].to_string();
    assert!(
        message.contains("1 asks a minute for one tenant"),
        "{message}"
    );
    assert_eq!(ask("bob").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_greedy_tenant_leaves_the_other_its_share_of_a_limit() {
    let policy = json!({ "limits": { "asksPerMinute": 20 } });
    let rig = with_tenants(policy, sure(), |_| {}).await;
    let ask = async |key| rig.ask_with(json!({}), bearer(key)).await.status();
    assert_eq!(ask("bob").await, StatusCode::OK);
    let mut greedy = 0;
    while greedy < 20 && ask("alice").await == StatusCode::OK {
        greedy += 1;
    }
    // Ten, and what came back meanwhile.
    assert!((10..=15).contains(&greedy), "{greedy}");
    for _ in 0..9 {
        assert_eq!(ask("bob").await, StatusCode::OK);
    }
}

#[tokio::test]
async fn routers_share_a_limit() {
    let (_worker, rig) = rig(json!({}), vec![sure()]).await;
    let policy = json!({ "limits": { "asksPerMinute": 4 } });
    let replicas = rig.world.borrow().replicas.clone();
    rig.follow(World {
        routers: 2,
        replicas,
        ..world(policy, &rig.frontier, &[])
    })
    .await;
    for remaining in [2, 0] {
        let answer = rig.ask(json!({})).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(number(&answer, "x-ratelimit-limit-requests"), 4);
        assert_eq!(number(&answer, "x-ratelimit-remaining-requests"), remaining);
    }
    assert_eq!(
        rig.ask(json!({})).await.status(),
        StatusCode::TOO_MANY_REQUESTS
    );
}

#[tokio::test]
async fn one_tenant_cannot_have_all_places_of_the_router() {
    let hanging = vec![
        Play::Say("bil", -0.01),
        Play::Say("ling", -0.01),
        Play::Hang,
    ];
    let policy = json!({ "streaming": { "holdBack": "None" } });
    let rig = with_tenants(policy, hanging, |args| args.max_asks = 16).await;
    let ask = async |key| {
        rig.ask_with(json!({ "model": "triage", "stream": true }), bearer(key))
            .await
    };
    let (held, refused) = until_refused(async || ask("alice").await).await;
    assert_eq!(held.len(), 15);
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&refused, "retry-after"), "1");
    let message = json_of(refused).await["error"]["message"].to_string();
    assert!(
        message.contains("while others need the router too: 15"),
        "{message}"
    );
    assert_eq!(ask("bob").await.status(), StatusCode::OK);
}

/// Asks until it is refused: the answers that have begun, and the refusal.
async fn until_refused(ask: impl AsyncFn() -> Response) -> (Vec<Response>, Response) {
    let mut held = Vec::new();
    loop {
        let answer = ask().await;
        match answer.status() {
            StatusCode::OK => held.push(answer),
            _ => return (held, answer),
        }
    }
}

#[tokio::test]
async fn one_tenant_cannot_have_all_the_memory_for_bodies() {
    let hanging = vec![
        Play::Say("bil", -0.01),
        Play::Say("ling", -0.01),
        Play::Hang,
    ];
    let policy = json!({ "streaming": { "holdBack": "None" } });
    let rig = with_tenants(policy, hanging, |args| args.max_bodies_bytes = 1 << 20).await;
    // About 200 KiB of memory each.
    let long = "x".repeat(100 << 10);
    let body = json!({ "model": "triage", "stream": true, "user": long });
    let ask = async |key| rig.ask_with(body.clone(), bearer(key)).await;
    let (held, refused) = until_refused(async || ask("alice").await).await;
    assert_eq!(held.len(), 4);
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&refused, "retry-after"), "1");
    let message = json_of(refused).await["error"]["message"].to_string();
    assert!(
        message.contains("while others need the router"),
        "{message}"
    );
    let short = json!({ "model": "triage", "stream": true, "user": &long[..60 << 10] });
    let answer = rig.ask_with(short, bearer("bob")).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn counts_are_limited_as_asks_are_on_both_wires_and_take_no_tokens() {
    let limits = json!({ "asksPerMinute": 2, "tokensPerMinute": 1000 });
    let worker = Scripted::start([sure()]).await.counts(Reply::With(7));
    let rig = Rig::with(json!({ "limits": limits }), &[&worker]).await;
    let count = async |path: &str, body: Value| {
        let request = rig.client.post(format!("{}{path}", rig.url));
        request.body(body.to_string()).send().await.unwrap()
    };
    let messages = json!({
        "model": "assistant", "messages": [{ "role": "user", "content": QUESTION }],
    });
    let responses = json!({ "model": "assistant", "input": QUESTION });
    let counted = count("/v1/messages/count_tokens", messages.clone()).await;
    assert_eq!(counted.status(), StatusCode::OK);
    let left =
        |response: &Response, of| header(response, &format!("anthropic-ratelimit-{of}-remaining"));
    assert_eq!(left(&counted, "requests"), "1");
    assert_eq!(left(&counted, "tokens"), "1000");
    let counted = count("/v1/responses/input_tokens", responses.clone()).await;
    assert_eq!(header(&counted, "x-ratelimit-remaining-requests"), "0");
    for (path, body) in [
        ("/v1/messages/count_tokens", messages),
        ("/v1/responses/input_tokens", responses),
    ] {
        let refused = count(path, body).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!((1..=30).contains(&number(&refused, "retry-after")));
    }
    assert_eq!(worker.tokenized().len(), 2);
    rig.until_counted(
        r#"weir_router_limited_total{policy="support",whose="policy",limit="asks"} 2"#,
    )
    .await;
}

#[tokio::test]
async fn counts_of_one_tenant_cannot_have_all_places_of_the_router_either() {
    let worker = Scripted::start([sure()]).await.counts(Reply::Never);
    let rig = Rig::start(Setup {
        policy: json!({ "auth": { "keysSecretRef": { "name": "keys" } } }),
        workers: vec![worker.clone()],
        args: |args| args.max_asks = 16,
        secrets: &[
            ("keys", "alice", "plain:alice"),
            ("keys", "bob", "plain:bob"),
        ],
        ..Setup::default()
    })
    .await;
    let body = json!({
        "model": "assistant", "messages": [{ "role": "user", "content": QUESTION }],
    });
    let count = |key: &str| {
        let request = rig
            .client
            .post(format!("{}/v1/messages/count_tokens", rig.url));
        let request = request.headers(bearer(key)).body(body.to_string());
        request.send()
    };
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..15 {
        waiting.spawn(count("alice"));
    }
    while worker.tokenized().len() < 15 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let refused = count("alice").await.unwrap();
    assert_eq!(refused.status().as_u16(), 529);
    waiting.spawn(count("bob"));
    while worker.tokenized().len() < 16 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
