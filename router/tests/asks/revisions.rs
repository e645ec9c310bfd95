//! What `/load` says of the revisions of a deployment, after asks that were answered, dropped, failed or left.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use weir_policy::load::{RevisionLoad, latency_bucket, score_bucket};
use weir_router::World;
use weir_worker_api::ErrorCode;

use crate::rig::{Rig, asked, header, streamed, world};
use crate::worker::{Play, Reply, Scripted, sure, unsure};

/// The only one of a rig.
const STABLE: &str = "11111111";
const CANARY: &str = "22222222";

/// A deployment of two revisions, each with half of the asks.
fn halves(rig: &Rig, policy: Value, stable: &Scripted, canary: &Scripted) -> World {
    let mut world = world(policy, &rig.frontier, &[]);
    let mut deployment = serde_json::to_value(&*world.deployments[0]).unwrap();
    let rollout = json!({ "stable": STABLE, "canary": CANARY, "weight": 50 });
    deployment["status"] = json!({ "rollout": rollout });
    world.deployments = vec![Arc::new(serde_json::from_value(deployment).unwrap())];
    let of = |revision: &str, worker: &Scripted| {
        let addresses: BTreeSet<SocketAddr> = [worker.address].into();
        (revision.to_owned(), addresses)
    };
    let revisions = [of(STABLE, stable), of(CANARY, canary)];
    world.replicas = [("triage".to_owned(), revisions.into())].into();
    world
}

/// A rig of two such revisions, where nothing is tried again.
async fn rig(stable: &Scripted, canary: &Scripted) -> Rig {
    let rig = Rig::with(json!({}), &[]).await;
    let policy = json!({ "retries": { "max": 0 } });
    let world = halves(&rig, policy, stable, canary);
    rig.follow(world).await;
    rig
}

/// Far more than it takes for both to be asked.
const ASKS: usize = 16;

/// So many asks, of both revisions; gives how many of them the canary got.
async fn ask_both(rig: &Rig, canary: &Scripted) -> usize {
    for number in 0..ASKS {
        rig.ask(asked(number)).await;
    }
    let of_canary = canary.asked().len();
    let some = 1..ASKS;
    assert!(some.contains(&of_canary), "{of_canary} of {ASKS}");
    of_canary
}

/// The sums of a revision, once so many asks of it are over.
async fn sums(rig: &Rig, revision: &str, asks: usize) -> RevisionLoad {
    let what = format!("{asks} asks of {revision} are over");
    let of = |load: &Value| load["revisions"]["triage"][revision].clone();
    rig.until(&what, |load| of(load)["asks"] == asks).await;
    serde_json::from_value(of(&rig.load().await)).unwrap()
}

#[tokio::test]
async fn each_revision_is_told_what_was_made_of_its_own_answers() {
    let (stable, canary) = (
        Scripted::start([sure()]).await,
        Scripted::start([unsure()]).await,
    );
    let rig = rig(&stable, &canary).await;
    let of_canary = ask_both(&rig, &canary).await;
    let good = sums(&rig, STABLE, ASKS - of_canary).await;
    assert_eq!((good.errors, good.escalations), (0, 0));
    let bad = sums(&rig, CANARY, of_canary).await;
    assert_eq!((bad.errors, bad.escalations), (0, bad.asks));
    for load in [&good, &bad] {
        let counted = [load.judged, load.first_token.total(), load.scores.total()];
        assert_eq!(counted, [load.asks; 3], "{load:?}");
    }
    let mark = score_bucket(0.9);
    assert_eq!(
        (good.scores.below(mark), bad.scores.at_or_above(mark)),
        (0, 0)
    );
}

#[tokio::test]
async fn what_a_replica_fails_is_an_error_of_its_revision_and_of_no_other() {
    for script in [
        vec![Play::Say("bil", -0.01), Play::Die],
        vec![Play::Refuse(ErrorCode::Internal)],
        vec![Play::Refuse(ErrorCode::Overloaded)],
    ] {
        let stable = Scripted::start([sure()]).await;
        let canary = Scripted::start([script.clone()]).await;
        let rig = rig(&stable, &canary).await;
        let of_canary = ask_both(&rig, &canary).await;
        assert_eq!(sums(&rig, STABLE, ASKS - of_canary).await.errors, 0);
        let failed = sums(&rig, CANARY, of_canary).await;
        assert_eq!(failed.errors, failed.asks, "{script:?}");
        assert_eq!((failed.judged, failed.scores.total()), (0, 0), "{script:?}");
    }
}

#[tokio::test]
async fn a_revision_that_is_slow_to_begin_is_told_by_its_first_tokens() {
    const SLOW: Duration = Duration::from_millis(400);
    let late = [vec![Play::Wait], sure()].concat();
    let (stable, canary) = (
        Scripted::start([sure()]).await,
        Scripted::start([late]).await,
    );
    let rig = rig(&stable, &canary).await;
    for number in 0..8 {
        let before = canary.asked().len();
        let hesitate = async {
            while canary.asked().len() == before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(SLOW).await;
            canary.go_on();
            std::future::pending::<()>().await
        };
        tokio::select! {
            _ = rig.ask(asked(number)) => {}
            () = hesitate => unreachable!("it waits for ever"),
        }
    }
    let of_canary = canary.asked().len();
    let (quick, slow) = (
        sums(&rig, STABLE, 8 - of_canary).await,
        sums(&rig, CANARY, of_canary).await,
    );
    assert!(of_canary > 0 && !quick.first_token.is_empty());
    let mark = latency_bucket(SLOW);
    assert_eq!(slow.first_token.at_or_above(mark), slow.asks);
    assert!(quick.first_token.below(mark) > 0, "{quick:?}");
}

#[tokio::test]
async fn what_a_client_cuts_and_what_a_request_is_to_blame_for_does_not_count() {
    let scripts = [
        vec![Play::Say("bil", -0.01), Play::Hang],
        vec![Play::Refuse(ErrorCode::TooLong)],
        sure(),
    ];
    let worker = Scripted::start(scripts).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    assert_eq!(sums(&rig, STABLE, 0).await, RevisionLoad::default());
    let mut response = rig.ask(json!({ "model": "triage", "stream": true })).await;
    response.chunk().await.unwrap().unwrap();
    drop(response);
    rig.until_counted("weir_router_asks_total{policy=\"\",outcome=\"disconnected\"} 1")
        .await;
    assert_eq!(rig.ask(json!({ "model": "triage" })).await.status(), 400);
    rig.ask(json!({ "model": "triage" })).await;
    let load = sums(&rig, STABLE, 1).await;
    assert_eq!((load.errors, worker.asked().len()), (0, 3));
}

#[tokio::test]
async fn an_answer_that_goes_on_elsewhere_is_one_ask_and_one_error() {
    let begun = vec![Play::Say("bil", -0.01), Play::Die];
    let rest = vec![Play::Say("ling", -0.01), Play::End];
    let mut workers = Vec::new();
    for _ in 0..2 {
        let worker = Scripted::start([begun.clone()]).await;
        workers.push(worker.of("avx2", "tickets").goes_on(rest.clone()));
    }
    let policy = json!({ "streaming": { "holdBack": "None" } });
    let rig = Rig::with(policy, &[&workers[0], &workers[1]]).await;
    for worker in &workers {
        worker.until_known().await;
    }
    let response = rig.ask(json!({ "stream": true })).await;
    assert_eq!(streamed(response).await.text, "billing");
    let load = sums(&rig, STABLE, 1).await;
    assert_eq!((load.errors, load.judged, load.escalations), (1, 1, 0));
    assert_eq!((load.first_token.total(), load.scores.total()), (1, 1));
}

#[tokio::test]
async fn a_replica_that_goes_because_it_was_told_to_has_failed_nobody() {
    let leaving = Scripted::start([vec![Play::Refuse(ErrorCode::Draining)]]).await;
    let well = Scripted::start([sure()]).await;
    let rig = Rig::with(json!({}), &[&leaving, &well]).await;
    for number in 0..16 {
        let response = rig.ask(asked(number)).await;
        assert_eq!(header(&response, "x-weir-tier"), "small");
    }
    assert!(!leaving.asked().is_empty(), "the test wants one to leave");
    assert_eq!(sums(&rig, STABLE, 16).await.errors, 0);
}

#[tokio::test]
async fn a_deployment_under_its_own_name_counts_and_vectors_do_without_a_score() {
    let worker = Scripted::start([sure()]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    rig.ask(json!({ "model": "triage" })).await;
    let load = sums(&rig, STABLE, 1).await;
    assert_eq!((load.judged, load.scores.total()), (0, 1));
    let body = json!({ "model": "triage", "input": "text" }).to_string();
    let request = rig.client.post(format!("{}/v1/embeddings", rig.url));
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);
    let load = sums(&rig, STABLE, 2).await;
    assert_eq!((load.errors, load.judged, load.scores.total()), (0, 0, 1));
}

#[tokio::test]
async fn an_answer_that_is_asked_for_again_because_all_others_failed_is_not_judged_twice() {
    let worker = Scripted::start([unsure(), sure()]).await;
    let policy = json!({ "tiers": [{}, { "endpoint": { "baseUrl": "http://127.0.0.1:1/v1" } }] });
    let rig = Rig::with(policy, &[&worker]).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(header(&response, "x-weir-unsure"), "true");
    let load = sums(&rig, STABLE, 2).await;
    assert_eq!((load.judged, load.escalations), (1, 1));
    assert_eq!((load.errors, load.scores.total()), (0, 1));
}

#[tokio::test]
async fn a_question_to_a_classifier_is_an_ask_of_the_revision_that_is_asked() {
    for (choice, errors) in [(Reply::With("easy"), 0), (Reply::Leaves, 1)] {
        let worker = Scripted::start([sure()]).await.chooses(choice);
        let labels = [("easy", "small"), ("hard", "frontier")];
        let labels = labels.map(|(label, start)| json!({ "label": label, "start": start }));
        let classifier = json!({ "deployment": { "name": "triage" }, "labels": labels });
        let rig = Rig::with(json!({ "classifier": classifier }), &[&worker]).await;
        rig.ask(json!({})).await;
        let load = sums(&rig, STABLE, 2).await;
        assert_eq!(
            (load.errors, load.scores.total()),
            (errors, 1),
            "{choice:?}"
        );
    }
}
