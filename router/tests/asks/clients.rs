//! Clients that read slowly.

use serde_json::json;

use crate::rig::{Rig, Setup, streamed};
use crate::worker::{Play, Scripted};

#[tokio::test]
async fn a_client_that_reads_late_is_told_that_the_time_was_over_and_not_of_a_defect() {
    // More than the buffers of a connection and the router's places for pieces hold together.
    let page: &'static str = "x".repeat(256 << 10).leak();
    let script = vec![Play::Say(page, -0.01); 200];
    let worker = Scripted::start([script]).await;
    let rig = Rig::start(Setup {
        policy: json!({ "maxDuration": "2s", "streaming": { "holdBack": "None" } }),
        workers: vec![worker],
        ..Setup::default()
    })
    .await;
    let response = rig.ask(json!({ "stream": true })).await;
    rig.until_counted("weir_router_asks_total{policy=\"support\",outcome=\"refused\"} 1")
        .await;
    let late = streamed(response).await;
    assert!(!late.text.is_empty() && late.text.len() < 200 * page.len());
    assert_eq!(late.chunks.last().unwrap()["error"]["code"], "too_slow");
}
