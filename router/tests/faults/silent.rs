//! Replicas that are there, and write nothing or little.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::judging::Came;
use crate::length::{seed, times};
use crate::replica::Replica;
use crate::stage::Stage;
use crate::stage::small;
use crate::traffic::Answers;

/// Far more than a word takes, on a machine that is busy, too.
const IDLE: &str = "2s";

async fn stage() -> (Stage, Vec<Replica>) {
    let policy = |_: &str| json!({ "tiers": [small()], "idleTimeout": IDLE });
    let stage = Stage::start(policy, |_| {}).await;
    let replicas = stage.replicas(4).await;
    (stage, replicas)
}

/// Some seconds of traffic, in the first of which something happens.
async fn while_asked(stage: &Stage, happens: impl Future<Output = ()>) -> Answers {
    let traffic = stage.traffic();
    let happens = async {
        sleep(Duration::from_millis(500)).await;
        happens.await;
    };
    tokio::join!(traffic.run(0..450 * times()), happens).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stops_with_its_sockets_open_is_replaced_under_its_answers_and_left_alone() {
    let (stage, mut replicas) = stage().await;
    let stopped = replicas.remove(0);
    let answers = while_asked(&stage, async {
        assert!(stopped.running() > 0, "the test wants it to have something");
        stopped.stop();
    })
    .await;
    answers.check(Came::is_whole, seed());
    assert!(replicas.iter().any(|replica| replica.resumed() > 0));
    // What nobody waits for any more is put away once it goes on, and nothing new came.
    let begun = stopped.begun();
    stopped.go_on();
    replicas.push(stopped);
    stage.nothing_is_left(&replicas).await;
    assert!(
        replicas[3].begun() < begun + 100,
        "asked for two seconds at most"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_nothing_and_says_that_all_is_well_is_replaced_under_its_answers() {
    let (stage, replicas) = stage().await;
    let mut begun = 0;
    let answers = while_asked(&stage, async {
        replicas[0].stick();
        // The first of them fell silent two seconds later.
        sleep(Duration::from_millis(2500)).await;
        begun = replicas[0].begun();
    })
    .await;
    answers.check(Came::is_whole, seed());
    assert!(replicas[1..].iter().any(|replica| replica.resumed() > 0));
    assert_eq!(replicas[0].begun(), begun, "it is left alone");
    stage.nothing_is_left(&replicas).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_moves_away_from_whoever_is_slow_and_nothing_of_it_is_lost() {
    let (stage, replicas) = stage().await;
    let mut begun = Vec::new();
    let answers = while_asked(&stage, async {
        replicas[0].slow(Duration::from_millis(150));
        sleep(Duration::from_secs(1)).await;
        begun.extend(replicas.iter().map(Replica::begun));
    })
    .await;
    answers.check(Came::is_whole, seed());
    let since = replicas.iter().zip(begun);
    let since: Vec<usize> = since.map(|(of, before)| of.begun() - before).collect();
    let least = since[1..].iter().min().unwrap();
    assert!(2 * since[0] < *least, "{since:?}");
    stage.nothing_is_left(&replicas).await;
}
