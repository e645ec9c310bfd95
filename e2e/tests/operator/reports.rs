//! What replicas report at `/load` comes into the status, and what the first one found is pinned.

use serde_json::{Value, json};

use crate::process::{TRIAGE, World, until};
use crate::stand_in::StandIn;

fn model(digest: &str) -> Value {
    json!({
        "digest": digest, "revision": "5f1c2ab", "architecture": "Llama", "parameters": 1,
        "bytes": 1, "quantization": "None", "context_tokens": 512,
    })
}

#[tokio::test]
async fn what_the_first_ready_replica_found_is_pinned_and_another_is_told() {
    let world = World::new("pins").await;
    let _operator = world.operator("one");
    world.apply(TRIAGE);
    until(false, || world.revision().is_empty()).await;
    let config = format!("configmap/triage-{}", world.revision());
    let pinned = || {
        let data = world.get(&config).unwrap_or_default()["data"].clone();
        [data["digest"].clone(), data["resolved"].clone()]
    };
    assert_eq!(pinned(), [json!(null), json!(null)]);
    let first = StandIn::worker("127.93.0.1", "first");
    first.says(json!({ "model": model("sha256:abc") }));
    first.run_replica(&world);
    let found = [json!("sha256:abc"), json!("5f1c2ab")];
    until(found.clone(), pinned).await;
    let deployment = world.get("slm/triage").unwrap();
    assert_eq!(deployment["status"]["model"]["revision"], "5f1c2ab");

    let second = StandIn::worker("127.93.0.2", "second");
    second.says(json!({ "model": model("sha256:def") }));
    second.run_replica(&world);
    let ready = || world.condition("slm/triage", "Ready");
    until("False/DigestMismatch".to_owned(), ready).await;
    assert_eq!(pinned(), found);
    second.says(json!({ "model": model("sha256:abc") }));
    until("False/Starting".to_owned(), ready).await;
}
