//! Tiers that fail, before and after something was shown, and clients that leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use weir_worker_api::ErrorCode;

use crate::rig::{Rig, Setup, asked, header, json_of, streamed, world};
use crate::worker::{Play, Scripted, sure, unsure};

const LOST_EARLY: [Play; 2] = [Play::Say("bil", -0.01), Play::Die];

#[tokio::test]
async fn a_replica_that_dies_before_commit_is_replaced_and_nothing_is_sent_twice() {
    for stream in [false, true] {
        let dying = Scripted::start([LOST_EARLY.to_vec()]).await;
        let well = Scripted::start([sure()]).await;
        let rig = Rig::with(json!({}), &[&dying, &well]).await;
        // One of so many conversations belongs to it.
        for number in 0..16 {
            let mut ask = asked(number);
            ask["stream"] = stream.into();
            let response = rig.ask(ask).await;
            assert_eq!(header(&response, "x-weir-tier"), "small");
            let text = match stream {
                true => streamed(response).await.text,
                false => json_of(response).await["choices"][0]["message"]["content"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            };
            assert_eq!(text, "billing");
        }
        assert!(!dying.asked().is_empty(), "the test wants one to die");
    }
}

#[tokio::test]
async fn a_replica_that_dies_after_commit_ends_the_stream_in_one_error() {
    let dying = Scripted::start([LOST_EARLY.to_vec()]).await;
    let rig = Rig::with(json!({}), &[&dying]).await;
    // A deployment alone holds nothing back: the first token is shown.
    let response = rig.ask(json!({ "model": "triage", "stream": true })).await;
    assert_eq!(response.status(), StatusCode::OK);
    let broken = streamed(response).await;
    assert_eq!(broken.text, "bil");
    assert!(
        !broken.is_done,
        "an end mark would make the cut look like an end"
    );
    let error = &broken.chunks.last().unwrap()["error"];
    assert_eq!(error["code"], "lost");
    assert_eq!(dying.asked().len(), 1, "what was shown is not begun anew");
}

#[tokio::test]
async fn a_replica_that_dies_where_nothing_was_shown_is_tried_again_whole() {
    let worker = Scripted::start([LOST_EARLY.to_vec(), sure()]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    let body = json_of(rig.ask(json!({ "model": "triage" })).await).await;
    assert_eq!(body["choices"][0]["message"]["content"], "billing");
}

#[tokio::test]
async fn without_a_replica_the_deployment_is_named() {
    let rig = Rig::with(json!({}), &[]).await;
    let response = rig.ask(json!({ "model": "triage" })).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&response, "retry-after"), "10");
    assert_eq!(header(&response, "x-should-retry"), "true");
    let message = json_of(response).await["error"]["message"].clone();
    assert_eq!(
        message,
        "deployment \"triage\" has no ready replica (attempts: triage no_replica)"
    );
    let escalated = rig.ask(json!({})).await;
    assert_eq!(header(&escalated, "x-weir-tier"), "frontier");
}

#[tokio::test]
async fn an_ask_waits_a_little_for_a_replica_and_is_counted_as_held() {
    let worker = Scripted::start([sure()]).await;
    let rig = Rig::start(Setup {
        args: |args| args.replica_wait = Duration::from_secs(20),
        ..Setup::default()
    })
    .await;
    let patient = |replicas: &[SocketAddr]| {
        let mut world = world(json!({}), &rig.frontier, replicas);
        let deployment = Arc::make_mut(&mut world.deployments[0]);
        deployment.spec.scaling.hold.wait = "2m".to_owned();
        world
    };
    rig.follow(patient(&[])).await;
    let (response, ()) = tokio::join!(rig.ask(json!({})), async {
        rig.until("the ask is held", |load| {
            load["deployments"]["triage"]["held"] == 1
        })
        .await;
        rig.follow(patient(&[worker.address])).await;
    });
    assert_eq!(header(&response, "x-weir-tier"), "small");
}

#[tokio::test]
async fn a_full_replica_is_tried_again_and_then_reported_as_overload() {
    let worker = Scripted::start([vec![Play::Refuse(ErrorCode::Overloaded)]]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    let response = rig.ask(json!({ "model": "triage" })).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&response, "retry-after"), "1");
    assert_eq!(worker.asked().len(), 3, "the first try and two more");
    let text = response.text().await.unwrap();
    assert!(!text.contains("sk-123"), "{text}");
}

#[tokio::test]
async fn a_replica_is_told_what_it_must_serve_and_one_that_does_not_or_not_yet_is_passed_over() {
    for why in [ErrorCode::UnknownModel, ErrorCode::Starting] {
        let stale = Scripted::start([vec![Play::Refuse(why)]]).await;
        let well = Scripted::start([sure()]).await;
        let rig = Rig::with(json!({}), &[&stale, &well]).await;
        // One of so many conversations belongs to it.
        for number in 0..16 {
            let response = rig.ask(asked(number)).await;
            assert_eq!(header(&response, "x-weir-tier"), "small");
        }
        assert!(!stale.asked().is_empty(), "the test wants one to be stale");
        assert_eq!(well.asked()[0].model, "triage");
    }
}

#[tokio::test]
async fn an_answer_of_the_frontier_that_broke_off_is_not_paid_for_twice() {
    let worker = Scripted::start([unsure()]).await;
    let rig = Rig::with(json!({ "onAllUnsure": "Error" }), &[&worker]).await;
    rig.frontier_fault("cut-after=1").await;
    let response = rig.ask(json!({})).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(header(&response, "x-should-retry"), "false");
    assert_eq!(json_of(response).await["error"]["code"], "lost");
    assert_eq!(rig.sent_to_frontier().await.len(), 1);
}

#[tokio::test]
async fn a_frontier_that_timed_out_may_have_been_paid_and_is_not_worth_a_retry() {
    let worker = Scripted::start([unsure()]).await;
    let timeouts = json!({ "timeouts": { "firstByte": "300ms" } });
    let policy = json!({ "onAllUnsure": "Error", "tiers": [{}, { "endpoint": timeouts }] });
    let rig = Rig::with(policy, &[&worker]).await;
    rig.frontier_fault("stall=5s").await;
    let response = rig.ask(json!({})).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(header(&response, "x-should-retry"), "false");
}

#[tokio::test]
async fn a_prompt_too_long_for_the_small_tier_goes_up_and_is_refused_where_there_is_no_up() {
    let worker = Scripted::start([vec![Play::Refuse(ErrorCode::TooLong)]]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    assert_eq!(header(&rig.ask(json!({})).await, "x-weir-tier"), "frontier");
    let response = rig.ask(json!({ "model": "triage" })).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        json_of(response).await["error"]["code"],
        "context_length_exceeded"
    );
}

#[tokio::test]
async fn an_ask_that_is_longer_than_a_worker_takes_is_told_so() {
    // More than a server takes that nobody told how much.
    let text = "x".repeat(5 << 20);
    let worker = Scripted::start([sure()]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    let messages = json!([{ "role": "user", "content": text }]);
    let ask = json!({ "model": "triage", "messages": messages });
    let response = rig.ask(ask).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let error = json_of(response).await["error"].clone();
    assert_eq!(error["code"], "context_length_exceeded");
}

#[tokio::test]
async fn a_frontier_that_is_down_is_an_error_with_the_history_where_the_policy_says_so() {
    for (fault, status, outcome) in [
        ("status=500", StatusCode::BAD_GATEWAY, "broken"),
        ("throttle=1s", StatusCode::TOO_MANY_REQUESTS, "overloaded"),
        ("stall=20s", StatusCode::GATEWAY_TIMEOUT, "too_slow"),
        ("status=401", StatusCode::BAD_GATEWAY, "credential_refused"),
    ] {
        let worker = Scripted::start([unsure()]).await;
        let timeouts = json!({ "timeouts": { "firstByte": "300ms" } });
        let policy = json!({ "onAllUnsure": "Error", "tiers": [{}, { "endpoint": timeouts }] });
        let rig = Rig::with(policy, &[&worker]).await;
        rig.frontier_fault(fault).await;
        let response = rig.ask(json!({})).await;
        assert_eq!(response.status(), status, "{fault}");
        let error = json_of(response).await["error"].clone();
        assert_eq!(
            error["attempts"][0],
            json!({ "tier": "small", "outcome": "dropped" })
        );
        assert_eq!(error["attempts"][1]["outcome"], outcome, "{error}");
    }
}

#[tokio::test]
async fn a_frontier_that_is_down_leaves_the_best_dropped_answer_flagged() {
    // Dropped at its end, and dropped on the way: from memory, and by asking again.
    let whole = vec![Play::Say("hardware", -0.3), Play::End];
    for scripts in [vec![whole], vec![unsure(), sure()]] {
        let worker = Scripted::start(scripts).await;
        let policy =
            json!({ "tiers": [{}, { "endpoint": { "baseUrl": "http://127.0.0.1:1/v1" } }] });
        let rig = Rig::with(policy, &[&worker]).await;
        let response = rig.ask(json!({})).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "x-weir-tier"), "small");
        assert_eq!(header(&response, "x-weir-unsure"), "true");
        let line = "weir_router_asks_total{policy=\"support\",outcome=\"answered_unsure\"} 1";
        rig.until_counted(line).await;
    }
}

#[tokio::test]
async fn a_frontier_that_is_cut_off_ends_the_stream_in_one_error() {
    let worker = Scripted::start([unsure()]).await;
    let rig = Rig::with(json!({ "onAllUnsure": "Error" }), &[&worker]).await;
    rig.frontier_fault("cut-after=1").await;
    let broken = streamed(rig.ask(json!({ "stream": true })).await).await;
    assert!(!broken.is_done && !broken.text.is_empty());
    assert_eq!(broken.chunks.last().unwrap()["error"]["code"], "lost");
}

#[tokio::test]
async fn a_stream_whose_headers_cannot_wait_says_its_error_inside() {
    let worker = Scripted::start([vec![Play::Say("bil", -0.01), Play::Hang]]).await;
    let policy = json!({
        "streaming": { "headersAfter": "100ms" }, "timeout": "600ms", "onAllUnsure": "Error",
        "tiers": [{}, { "endpoint": { "baseUrl": "http://127.0.0.1:1/v1" } }],
    });
    let rig = Rig::with(policy, &[&worker]).await;
    let response = rig.ask(json!({ "stream": true })).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "x-weir-tier"), "");
    assert!(!header(&response, "x-weir-decision").is_empty());
    let broken = streamed(response).await;
    assert_eq!(broken.text, "");
    assert_eq!(broken.chunks.len(), 1);
    assert!(broken.chunks[0]["error"]["message"].is_string());
}

#[tokio::test]
async fn a_client_that_leaves_cancels_everything_and_is_settled() {
    let script = vec![Play::Say("bil", -0.01), Play::Hang];
    let worker = Scripted::start([script]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    let mut response = rig.ask(json!({ "model": "triage", "stream": true })).await;
    response.chunk().await.unwrap().unwrap();
    drop(response);
    rig.until_counted("weir_router_asks_total{policy=\"\",outcome=\"disconnected\"} 1")
        .await;
    rig.until("nothing runs", |load| {
        load["deployments"]["triage"]["running"] == 0
    })
    .await;
    for _ in 0..200 {
        if worker.cancelled() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the worker goes on for nobody");
}

#[tokio::test]
async fn headers_that_come_late_leave_the_first_byte_no_more_time() {
    let late = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", late.local_addr().unwrap());
    let endpoint = json!({ "baseUrl": url, "timeouts": { "firstByte": "2s" } });
    let worker = Scripted::start([unsure(), sure()]).await;
    let policy = json!({ "timeout": "3s", "tiers": [{}, { "endpoint": endpoint }] });
    let rig = Rig::with(policy, &[&worker]).await;
    let headers_only = async {
        let (mut stream, _) = late.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1 << 16]).await;
        // Most of the time for the first byte, and half of what the policy has.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        std::future::pending::<()>().await
    };
    let response = tokio::select! {
        response = rig.ask(json!({})) => response,
        () = headers_only => unreachable!("it waits for ever"),
    };
    // What was dropped could be asked for again, in the time that is left.
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "x-weir-tier"), "small");
}

#[tokio::test]
async fn a_tier_that_fails_everything_is_not_stormed_by_those_who_try_again() {
    let dying = Scripted::start([vec![Play::Die]]).await;
    let policy = json!({ "retries": { "max": 5, "on": ["WorkerLost"] } });
    let rig = Rig::with(policy, &[&dying]).await;
    let asks = (0..40).map(|number| rig.ask(asked(number)));
    for response in futures::future::join_all(asks).await {
        assert_eq!(header(&response, "x-weir-tier"), "frontier");
    }
    // A fifth of them, ten in any case, and what comes back to be used while they go on.
    let asked = dying.asked().len();
    assert!((50..=70).contains(&asked), "{asked} of 40 asks");
    let metrics = rig.metrics().await;
    let damped = r#"weir_router_retries_damped_total{policy="support",tier="small"}"#;
    assert!(metrics.contains(damped), "{metrics}");
}
