//! A change of the spec makes a new revision; the old one serves until the new one does.

use serde_json::{Value, json};

use crate::process::{TRIAGE, World, until};

/// The revision that serves, and the one on trial.
fn rollout(world: &World) -> [String; 2] {
    let deployment = world.get("slm/triage").unwrap_or_default();
    let rollout = &deployment["status"]["rollout"];
    ["stable", "canary"].map(|field| rollout[field].as_str().unwrap_or_default().to_owned())
}

async fn first_serves(world: &World) -> String {
    world.apply(TRIAGE);
    until(2, || world.managed("deployments").len()).await;
    until(false, || rollout(world)[0].is_empty()).await;
    let [first, _] = rollout(world);
    world.make_ready(&format!("triage-{first}"), 1);
    until("False/RouterUnavailable".to_owned(), || {
        world.condition("slm/triage", "Ready")
    })
    .await;
    world.run_router();
    until("True/Serving".to_owned(), || {
        world.condition("slm/triage", "Ready")
    })
    .await;
    first
}

#[tokio::test]
async fn the_old_revision_serves_until_the_new_one_does_and_then_goes() {
    let world = World::new("rollout").await;
    let _operator = world.operator("one");
    let first = first_serves(&world).await;

    let rolling = json!({ "strategy": "Rolling" });
    let change = json!({ "spec": { "drain": "1m", "rollout": rolling } });
    world.patch("slm/triage", "", &change);
    until("False/RollingOut".to_owned(), || {
        world.condition("slm/triage", "Ready")
    })
    .await;
    let [stable, second] = rollout(&world);
    assert_eq!(stable, first);
    assert_eq!(world.condition("slm/triage", "CanaryHealthy"), "");
    assert!(
        world
            .condition("slm/triage", "Available")
            .starts_with("True/")
    );

    world.make_ready(&format!("triage-{second}"), 1);
    until([second.clone(), String::new()], || rollout(&world)).await;
    assert!(
        world.get(&format!("deployment/triage-{first}")).is_some(),
        "routers are given time to see the switch"
    );
    until("True/Serving".to_owned(), || {
        world.condition("slm/triage", "Ready")
    })
    .await;
    let of_second = format!("triage-{second}");
    assert_eq!(
        world.managed("deployments"),
        [of_second.clone(), "weir-router".into()]
    );
    let mut maps = [
        of_second.as_str(),
        "triage-adapters",
        "triage-rollout",
        "weir-policies",
    ];
    maps.sort_unstable();
    assert_eq!(world.managed("configmaps"), maps);
}

#[tokio::test]
async fn a_change_that_is_taken_back_leaves_what_served() {
    let world = World::new("rollback").await;
    let _operator = world.operator("one");
    let first = first_serves(&world).await;
    world.patch("slm/triage", "", &json!({ "spec": { "drain": "1m" } }));
    until(3, || world.managed("deployments").len()).await;
    world.patch("slm/triage", "", &json!({ "spec": { "drain": "2m" } }));
    until([first, String::new()], || rollout(&world)).await;
    until("True/Serving".to_owned(), || {
        world.condition("slm/triage", "Ready")
    })
    .await;
    assert_eq!(world.managed("deployments").len(), 2);
}

#[tokio::test]
async fn scaling_reaches_what_serves_while_the_new_revision_is_stuck() {
    let world = World::new("stuck").await;
    let _operator = world.operator("one");
    let first = first_serves(&world).await;
    world.patch("slm/triage", "", &json!({ "spec": { "drain": "1m" } }));
    until(3, || world.managed("deployments").len()).await;
    world.kubectl("scale slm/triage --replicas=3");
    let replicas = |revision: &str| {
        let found = world.get(&format!("deployment/triage-{revision}"));
        found.map(|found| found["spec"]["replicas"].clone())
    };
    until(Some(json!(3)), || replicas(&first)).await;
    let [stable, second] = rollout(&world);
    assert_eq!((stable, replicas(&second)), (first.clone(), Some(json!(1))));

    // The whole object is applied again, over what only its count was changed of.
    let back = json!({ "spec": { "drain": "2m", "replicas": 2 } });
    world.patch("slm/triage", "", &back);
    until(Some(json!(2)), || replicas(&first)).await;
}

#[tokio::test]
async fn scaling_makes_no_revision() {
    let world = World::new("scale").await;
    let _operator = world.operator("one");
    let first = first_serves(&world).await;
    world.patch("slm/triage", "", &json!({ "spec": { "replicas": 2 } }));
    let name = format!("deployment/triage-{first}");
    let replicas = || {
        world
            .get(&name)
            .map(|found| found["spec"]["replicas"].clone())
    };
    until(Some(json!(2)), replicas).await;
    world.kubectl("scale slm/triage --replicas=3");
    until(Some(json!(3)), replicas).await;
    assert_eq!(rollout(&world), [first, String::new()]);
    assert_eq!(world.condition("slm/triage", "Ready"), "True/Serving");
    assert_eq!(
        world.condition("slm/triage", "AutoscalingSuspended"),
        "True/ReplicasSet"
    );
}

#[tokio::test]
async fn a_replica_that_cannot_start_is_told_in_its_own_words() {
    let world = World::new("causes").await;
    let _operator = world.operator("one");
    world.apply(TRIAGE);
    until(false, || rollout(&world)[0].is_empty()).await;
    let [revision, _] = rollout(&world);
    let template = world.get(&format!("deployment/triage-{revision}")).unwrap();
    let mut pod: Value = template["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("triage-pod");
    world.apply(&pod.to_string());
    let ended = |reason: &str, message: &str| {
        json!({ "status": { "containerStatuses": [{
            "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 1,
            "state": { "waiting": { "reason": reason, "message": message } },
            "lastState": { "terminated": {
                "exitCode": 1, "message": "ModelNotFound: nothing at /models/triage",
                "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z",
            } },
        }] } })
    };
    world.patch(
        "pod/triage-pod",
        "--subresource=status",
        &ended("CrashLoopBackOff", "back-off"),
    );
    until("True/ModelNotFound".to_owned(), || {
        world.condition("slm/triage", "Stalled")
    })
    .await;
    world.patch(
        "pod/triage-pod",
        "--subresource=status",
        &ended("ImagePullBackOff", "no such image"),
    );
    until("False/ImagePullFailed".to_owned(), || {
        world.condition("slm/triage", "Ready")
    })
    .await;
}
