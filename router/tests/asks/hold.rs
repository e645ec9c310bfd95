//! Asks for a deployment that has no replica.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;
use weir_router::World;

use crate::rig::{Rig, Setup, header, json_of, merge, world};
use crate::worker::{Play, Scripted, sure};

/// Far below what is waited for.
const SOON: Duration = Duration::from_secs(30);

/// Of the deployment alone: nobody else could answer.
fn alone() -> Value {
    json!({ "model": "triage" })
}

/// The same world, whose deployment holds like this.
fn holding(rig: &Rig, hold: Value, replicas: &[&Scripted]) -> World {
    let replicas: Vec<_> = replicas.iter().map(|worker| worker.address).collect();
    let mut world = world(json!({}), &rig.frontier, &replicas);
    let mut deployment = serde_json::to_value(&*world.deployments[0]).unwrap();
    merge(
        &mut deployment,
        json!({ "spec": { "scaling": { "hold": hold } } }),
    );
    merge(
        &mut deployment,
        json!({ "status": { "coldStart": { "totalText": "17.5s" } } }),
    );
    world.deployments = vec![Arc::new(serde_json::from_value(deployment).unwrap())];
    world
}

async fn rig(hold: Value) -> Rig {
    let rig = Rig::start(Setup::default()).await;
    let world = holding(&rig, hold, &[]);
    rig.follow(world).await;
    rig
}

async fn until_held(rig: &Rig, count: usize) {
    rig.until("they are held", |load| {
        load["deployments"]["triage"]["held"] == count
    })
    .await;
}

#[tokio::test]
async fn asks_wait_for_a_replica_to_come_and_none_is_lost() {
    let hold = json!({ "wait": "2m" });
    let rig = rig(hold.clone()).await;
    let worker = Scripted::start([sure()]).await;
    let come = async {
        until_held(&rig, 3).await;
        rig.follow(holding(&rig, hold, &[&worker])).await;
    };
    let asks = async { tokio::join!(rig.ask(alone()), rig.ask(alone()), rig.ask(alone())) };
    let ((one, two, three), ()) = timeout(SOON, async { tokio::join!(asks, come) })
        .await
        .unwrap();
    for response in [one, two, three] {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "x-weir-tier"), "triage");
    }
    until_held(&rig, 0).await;
}

#[tokio::test]
async fn beyond_what_is_held_asks_are_told_when_to_come_back() {
    let rig = rig(json!({ "asks": 1, "wait": "2m" })).await;
    let refused = async {
        until_held(&rig, 1).await;
        let response = rig.ask(alone()).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            header(&response, "retry-after"),
            "18",
            "as long as a start takes"
        );
        assert_eq!(json_of(response).await["error"]["code"], "overloaded");
    };
    tokio::select! {
        _ = rig.ask(alone()) => panic!("nobody is there to answer"),
        () = refused => {}
    }
    // Its client has left.
    until_held(&rig, 0).await;
}

#[tokio::test]
async fn who_is_refused_is_told_of_what_is_left_of_the_start_that_others_wait_for() {
    let rig = rig(json!({ "asks": 1, "wait": "2m" })).await;
    let millis = async || {
        let response = rig.ask(alone()).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let millis = header(&response, "retry-after-ms");
        millis.parse::<u64>().unwrap()
    };
    let refused = async {
        until_held(&rig, 1).await;
        let first = millis().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let second = millis().await;
        assert!(first <= 17_500 && second + 100 <= first, "{first} {second}");
    };
    tokio::select! {
        _ = rig.ask(alone()) => panic!("nobody is there to answer"),
        () = refused => {}
    }
}

#[tokio::test]
async fn whoever_comes_back_is_told_of_the_same_start_until_there_is_a_replica() {
    let hold = json!({ "wait": "100ms" });
    let rig = rig(hold.clone()).await;
    let millis = async || {
        let response = timeout(SOON, rig.ask(alone())).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let millis = header(&response, "retry-after-ms");
        millis.parse::<u64>().unwrap()
    };
    let first = millis().await;
    // Longer than anything is kept that is swept.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let second = millis().await;
    assert!(second + 2000 <= first, "{first} {second}");
    let worker = Scripted::start([sure()]).await;
    rig.follow(holding(&rig, hold.clone(), &[&worker])).await;
    rig.follow(holding(&rig, hold, &[])).await;
    let third = millis().await;
    assert!(third > second, "another start: {second} {third}");
}

/// Of the asks that one tenant sends at once so many are held, and the others refused; and there is room for another
/// tenant.
async fn leaves_room(hold: Value, (sent, held): (usize, usize), extra: Value) {
    let rig = Rig::start(Setup {
        policy: json!({ "auth": { "keysSecretRef": { "name": "keys" } } }),
        secrets: &[
            ("keys", "greedy", "plain:much"),
            ("keys", "modest", "plain:little"),
        ],
        ..Setup::default()
    })
    .await;
    let mut world = holding(&rig, hold, &[]);
    let auth = json!({ "spec": { "auth": { "keysSecretRef": { "name": "keys" } } } });
    let mut policy = serde_json::to_value(&*world.policies[0]).unwrap();
    merge(&mut policy, auth);
    world.policies = vec![Arc::new(serde_json::from_value(policy).unwrap())];
    rig.follow(world).await;
    let ask = |key: &'static str| {
        let mut headers = http::HeaderMap::new();
        let key = http::HeaderValue::from_static(key);
        headers.insert("authorization", key);
        let mut body = alone();
        merge(&mut body, extra.clone());
        rig.ask_with(body, headers)
    };
    let refused = async {
        let asks = (0..sent).map(|_| ask("Bearer much"));
        let mut asks: futures::stream::FuturesUnordered<_> = asks.collect();
        let first = futures::StreamExt::next(&mut asks).await.unwrap();
        assert_eq!(first.status(), StatusCode::TOO_MANY_REQUESTS);
        let others = async {
            until_held(&rig, held).await;
            tokio::select! {
                response = ask("Bearer little") => panic!("{}", response.status()),
                () = until_held(&rig, held + 1) => {}
            }
        };
        let go_on = async {
            while let Some(response) = futures::StreamExt::next(&mut asks).await {
                assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            }
        };
        tokio::select! {
            () = others => {}
            () = go_on => panic!("those who are held wait"),
        }
    };
    timeout(SOON, refused).await.unwrap();
}

#[tokio::test]
async fn one_tenant_does_not_keep_all_the_places_of_a_hold() {
    let hold = json!({ "asks": 16, "wait": "2m" });
    leaves_room(hold, (16, 15), json!({})).await;
}

#[tokio::test]
async fn one_tenant_does_not_fill_the_memory_of_a_hold_also_not_with_what_is_no_text_of_its_prompts()
 {
    // Five, because a sixth would leave less than a seventh of what it has with them.
    let hold = json!({ "bytes": "64Ki", "wait": "2m" });
    let long = json!({ "user": "x".repeat(10_000) });
    leaves_room(hold, (8, 5), long).await;
}

#[tokio::test]
async fn an_ask_waits_no_longer_than_the_deployment_says() {
    let rig = rig(json!({ "wait": "100ms" })).await;
    let response = timeout(SOON, rig.ask(alone())).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    // What is left of the seventeen seconds and a half that a start takes.
    let millis: u64 = header(&response, "retry-after-ms").parse().unwrap();
    assert!((10_000..=17_400).contains(&millis), "{millis}");
    assert_eq!(json_of(response).await["error"]["code"], "no_replica");
}

#[tokio::test]
async fn where_a_tier_above_can_answer_it_is_not_waited_for() {
    let rig = rig(json!({ "wait": "2m" })).await;
    let response = timeout(SOON, rig.ask(json!({}))).await.unwrap();
    assert_eq!(header(&response, "x-weir-tier"), "frontier");
}

#[tokio::test]
async fn those_who_were_held_are_let_go_as_replicas_have_room_for_them() {
    let hold = json!({ "wait": "2m" });
    let rig = rig(hold.clone()).await;
    let worker = Scripted::start([vec![Play::Wait, Play::Say("billing", -0.01), Play::End]]).await;
    let asks = (0..12).map(|_| rig.ask(alone()));
    let asks = futures::future::join_all(asks);
    let come = async {
        until_held(&rig, 12).await;
        rig.follow(holding(&rig, hold, &[&worker])).await;
        // A replica that has not said what it can take gets eight.
        until_held(&rig, 4).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(worker.asked().len(), 8);
        for _ in 0..12 {
            worker.go_on();
        }
    };
    let (answers, ()) = timeout(SOON, async { tokio::join!(asks, come) })
        .await
        .unwrap();
    assert!(
        answers
            .iter()
            .all(|response| response.status() == StatusCode::OK)
    );
}
