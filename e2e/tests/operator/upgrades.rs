//! An operator of another version, which brings other pods.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::process::{TRIAGE, World, until};

/// Longer than a deployment waits between two times of asking whether it is its turn.
const ASKED_AGAIN: Duration = Duration::from_secs(22);

/// Stable and canary of a deployment by the image of their pods; empty where there is none.
fn images(world: &World, name: &str) -> [String; 2] {
    let deployment = world.get(&format!("slm/{name}")).unwrap_or_default();
    let rollout = &deployment["status"]["rollout"];
    ["stable", "canary"].map(|role| {
        let revision = rollout[role].as_str().unwrap_or_default();
        let found = world.get(&format!("deployment/{name}-{revision}"));
        let pod = &found.unwrap_or_default()["spec"]["template"]["spec"];
        let image = pod["containers"][0]["image"].as_str();
        image.unwrap_or_default().to_owned()
    })
}

fn make_ready(world: &World, name: &str, role: &str) {
    let deployment = world.get(&format!("slm/{name}")).unwrap_or_default();
    let revision = &deployment["status"]["rollout"][role];
    let revision = revision.as_str().unwrap_or_default();
    world.make_ready(&format!("{name}-{revision}"), 1);
}

#[tokio::test]
async fn another_workers_image_comes_to_one_deployment_after_the_other() {
    let world = World::new("upgrade").await;
    let both = ["triage", "tickets"];
    let first = world.operator_with("one", &["--worker-image=worker.test:1"]);
    world.apply(TRIAGE);
    world.apply(&TRIAGE.replace("name: triage", "name: tickets"));
    for name in both {
        let rolling = json!({ "spec": { "rollout": { "strategy": "Rolling" } } });
        world.patch(&format!("slm/{name}"), "", &rolling);
        until("worker.test:1".to_owned(), || {
            images(&world, name)[0].clone()
        })
        .await;
        make_ready(&world, name, "stable");
    }
    world.run_router();
    for name in both {
        let ready = || world.condition(&format!("slm/{name}"), "Ready");
        until("True/Serving".to_owned(), ready).await;
    }
    first.stop();
    let flags = ["--worker-image=worker.test:2", "--upgrades-at-once=1"];
    let _second = world.operator_with("two", &flags);
    let canaries = || both.map(|name| images(&world, name)[1].clone());
    until(1, || {
        canaries().iter().filter(|image| !image.is_empty()).count()
    })
    .await;
    let (begun, waiting) = match canaries()[0].as_str() {
        "" => ("tickets", "triage"),
        _ => ("triage", "tickets"),
    };
    let serves = |name: &str| images(&world, name)[0].clone();
    let began = Instant::now();
    until(true, || {
        let waits = ["worker.test:1".to_owned(), String::new()];
        assert_eq!(images(&world, waiting), waits);
        began.elapsed() > ASKED_AGAIN
    })
    .await;
    assert_eq!(
        world.condition(&format!("slm/{waiting}"), "Ready"),
        "True/Serving"
    );
    make_ready(&world, begun, "canary");
    until("worker.test:2".to_owned(), || serves(begun)).await;
    until("worker.test:2".to_owned(), || {
        images(&world, waiting)[1].clone()
    })
    .await;
    make_ready(&world, waiting, "canary");
    until("worker.test:2".to_owned(), || serves(waiting)).await;
}
