//! A tier whose replicas are all gone, and come back.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::judging::Came;
use crate::length::seed;
use crate::replica::Replica;
use crate::stage::{Stage, small};

/// Places for asks that wait for a replica, and how many of them one tenant has while it is alone.
const PLACES: usize = 60;
const HELD: u64 = 53;
/// How long the start of a replica takes, in seconds.
const START: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_all_replicas_are_gone_asks_wait_or_are_told_when_to_come_and_streams_go_on_after() {
    let policy = |_: &str| json!({ "tiers": [small()] });
    let stage = Stage::start(policy, |_| {}).await;
    let hold = json!({ "scaling": { "hold": { "asks": PLACES, "wait": "30s" } } });
    stage.deploy(
        hold,
        json!({ "coldStart": { "totalText": format!("{START}s") } }),
    );
    let replicas = stage.replicas(4).await;
    let story = async {
        sleep(Duration::from_secs(1)).await;
        let began: usize = replicas.iter().map(Replica::running).sum();
        drop(replicas);
        stage.list([].into_iter());
        let is_full = |load: &serde_json::Value| {
            let held = load["deployments"]["triage"]["held"].as_u64();
            held.is_some_and(|held| held >= HELD)
        };
        stage.until("the hold is full", is_full).await;
        sleep(Duration::from_secs(1)).await;
        (began, stage.replicas(4).await)
    };
    let traffic = stage.traffic();
    let (answers, (began, replicas)) = tokio::join!(traffic.run(0..500), story);
    // Nobody was turned away but those who came when the hold was full.
    let is_told = |came: &Came| match came {
        Came::Refused {
            status,
            code,
            retry_after,
            ..
        } => {
            let is_overload = [(429, "overloaded"), (529, "overloaded_error")];
            // What is left of the start that those who are held wait for.
            let is_of_start = retry_after.is_some_and(|seconds| (1..=START).contains(&seconds));
            is_overload.contains(&(*status, code)) && is_of_start
        }
        came => came.is_whole(),
    };
    answers.check(is_told, seed());
    let refused = answers.count(|came| !came.is_whole());
    assert!(refused > 0, "the test wants the hold to be full");
    assert!(answers.0[&499].is_whole(), "it is over");
    // Those that were written when the replicas went, too.
    let resumed: usize = replicas.iter().map(Replica::resumed).sum();
    assert!(
        began > 0 && resumed > 0,
        "{resumed} of {began} were resumed"
    );
    stage.nothing_is_left(&replicas).await;
}
