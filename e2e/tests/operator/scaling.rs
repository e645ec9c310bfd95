//! A deployment has as many replicas as what its routers report asks for, and its status says why.

use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{World, until};
use crate::stand_in::StandIn;

/// Scaled between none and three, soon.
const SCALED: &str = "
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: triage }
spec:
  model: { source: file:///models/triage }
  scaling: { min: 0, max: 3, concurrency: 10, downAfter: 4s, zeroAfter: 6s }
";

/// So much longer than it takes to decide anything.
const A_WHILE: Duration = Duration::from_secs(8);

fn wanted(world: &World) -> Value {
    let deployment = format!("deployment/triage-{}", world.revision());
    let deployment = world.get(&deployment).unwrap_or_default();
    deployment["spec"]["replicas"].clone()
}

/// Why the count changed last.
fn reason(world: &World) -> String {
    let deployment = world.get("slm/triage").unwrap_or_default();
    let decision = &deployment["status"]["scaling"]["decisions"][0];
    decision["reason"].as_str().unwrap_or_default().to_owned()
}

fn says(router: &StandIn, running: u32, held: u32) {
    let load = json!({ "running": running, "held": held, "asked": 0 });
    router.says(json!({ "run": "a", "deployments": { "triage": load } }));
}

#[tokio::test]
async fn nobody_takes_it_to_zero_a_held_ask_brings_it_back_and_more_asks_bring_more() {
    let world = World::new("scaling").await;
    let _operator = world.operator("one");
    world.apply(SCALED);
    until(false, || world.revision().is_empty()).await;
    assert_eq!(wanted(&world), 1, "the first shows whether the model comes");
    let router = StandIn::router("127.94.0.1", "router");
    says(&router, 0, 0);
    router.run_router_soon(&world).await;
    until(json!(0), || wanted(&world)).await;
    until("ToZero".to_owned(), || reason(&world)).await;
    let ready = || world.condition("slm/triage", "Ready");
    until("True/ScaledToZero".to_owned(), ready).await;

    says(&router, 0, 1);
    until(json!(1), || wanted(&world)).await;
    until("FromZero".to_owned(), || reason(&world)).await;
    until("True/Starting".to_owned(), ready).await;
    says(&router, 25, 5);
    until(json!(3), || wanted(&world)).await;
    let deployment = world.get("slm/triage").unwrap();
    let decisions = deployment["status"]["scaling"]["decisions"].as_array();
    assert!((3..=5).contains(&decisions.unwrap().len()), "{decisions:?}");
    says(&router, 5, 0);
    until(json!(1), || wanted(&world)).await;
    until("Quiet".to_owned(), || reason(&world)).await;
}

#[tokio::test]
async fn silence_another_leader_and_somebody_elses_count_move_nothing() {
    let world = World::new("scaling-still").await;
    let first = world.operator("one");
    world.apply(SCALED);
    let router = StandIn::router("127.94.0.2", "router");
    says(&router, 15, 0);
    router.run_router_soon(&world).await;
    until(json!(2), || wanted(&world)).await;

    router.says_nothing();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(wanted(&world), 2, "nobody says that fewer would do");

    first.crash();
    let second = world.operator("two");
    second.leads().await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(wanted(&world), 2, "a new leader begins with what there is");

    let set = json!({ "spec": { "replicas": 1 } });
    world.patch("slm/triage", "", &set);
    until(json!(1), || wanted(&world)).await;
    let suspended = || world.condition("slm/triage", "AutoscalingSuspended");
    until("True/ReplicasSet".to_owned(), suspended).await;
    says(&router, 30, 9);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(wanted(&world), 1, "somebody else owns the count");
    world.patch("slm/triage", "", &json!({ "spec": { "replicas": null } }));
    until(json!(3), || wanted(&world)).await;
}
