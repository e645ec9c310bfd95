//! Replicas that take an ask and fall silent, and policies whose time is over.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::json;

use crate::rig::{Rig, asked, header, json_of};
use crate::worker::{Play, Scripted, sure};

/// Below the policies' timeouts here, and far above what an answer takes.
const IN_TIME: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_replica_that_falls_silent_before_commit_is_left_for_the_tier_above() {
    let at_once = vec![Play::Hang];
    let midway = vec![Play::Say("bil", -0.01), Play::Hang];
    for script in [at_once, midway] {
        let silent = Scripted::start([script]).await;
        let policy = json!({ "idleTimeout": "300ms", "timeout": "20s" });
        let rig = Rig::with(policy, &[&silent]).await;
        let began = Instant::now();
        let response = rig.ask(json!({})).await;
        assert_eq!(header(&response, "x-weir-tier"), "frontier");
        let attempts = header(&response, "x-weir-attempts");
        assert!(attempts.starts_with("small;silent"), "{attempts}");
        assert!(began.elapsed() < IN_TIME);
        assert_eq!(silent.asked().len(), 1, "it is not asked again");
    }
}

#[tokio::test]
async fn a_silent_replica_is_replaced_by_another_one() {
    let silent = Scripted::start([vec![Play::Hang]]).await;
    let well = Scripted::start([sure()]).await;
    let policy = json!({ "idleTimeout": "300ms", "timeout": "20s" });
    let rig = Rig::with(policy, &[&silent, &well]).await;
    // One of so many conversations belongs to it.
    for number in 0..16 {
        let response = rig.ask(asked(number)).await;
        assert_eq!(header(&response, "x-weir-tier"), "small");
    }
    assert!(
        !silent.asked().is_empty(),
        "the test wants one to be silent"
    );
}

#[tokio::test]
async fn silent_replicas_are_not_tried_until_no_time_is_left_for_the_tier_above() {
    let silent = [
        Scripted::start([vec![Play::Hang]]).await,
        Scripted::start([vec![Play::Hang]]).await,
    ];
    let policy = json!({ "idleTimeout": "1s", "timeout": "2s" });
    let rig = Rig::with(policy, &[&silent[0], &silent[1]]).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(header(&response, "x-weir-tier"), "frontier");
}

#[tokio::test]
async fn a_tier_whose_answer_could_not_be_committed_any_more_is_not_begun() {
    let slow = Scripted::start([vec![Play::Hang]]).await;
    let rig = Rig::with(json!({ "timeout": "300ms" }), &[&slow]).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(header(&response, "x-should-retry"), "true");
    let error = json_of(response).await["error"].clone();
    let history = json!([{ "tier": "small", "outcome": "too_slow" }]);
    assert_eq!(error["attempts"], history);
    assert!(rig.sent_to_frontier().await.is_empty());
}
