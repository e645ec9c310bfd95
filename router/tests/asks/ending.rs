//! A router that is told to end.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::time::timeout;

use crate::rig::{Rig, Setup};
use crate::worker::{Scripted, unsure};

/// Far below the deadline after which a process drops what still runs.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn an_idle_router_ends_at_once() {
    let rig = Rig::start(Setup::default()).await;
    rig.begin_end();
    timeout(SOON, rig.ended()).await.unwrap();
}

#[tokio::test]
async fn an_ask_in_hand_is_answered_before_the_end() {
    let worker = Scripted::start([unsure()]).await;
    let workers = vec![worker];
    let rig = Rig::start(Setup {
        workers,
        ..Setup::default()
    })
    .await;
    rig.frontier_fault("stall=500ms").await;
    let (response, ()) = tokio::join!(rig.ask(json!({})), async {
        rig.until_counted("weir_router_asks_running 1").await;
        rig.begin_end();
    });
    assert_eq!(response.status(), StatusCode::OK);
    timeout(SOON, rig.ended()).await.unwrap();
}
