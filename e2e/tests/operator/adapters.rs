//! A list of adapters changes without a new revision, and pods are told.

use serde_json::{Value, json};

use crate::process::{TRIAGE, World, until};

fn list(world: &World) -> Value {
    let map = world.get("configmap/triage-adapters").unwrap_or_default();
    let text = map["data"]["adapters.json"].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

/// Deployments of replicas, and not that of the router.
fn workers(world: &World) -> Vec<String> {
    let mut names = world.managed("deployments");
    names.retain(|name| name.starts_with("triage-"));
    names
}

fn told(world: &World) -> bool {
    let pod = world.get("pod/triage-pod").unwrap();
    pod["metadata"]["annotations"]["weir.dev/adapters"].is_string()
}

#[tokio::test]
async fn a_list_of_adapters_reaches_pods_that_run() {
    let world = World::new("adapters").await;
    let _operator = world.operator("one");
    world.apply(TRIAGE);
    until(1, || workers(&world).len()).await;
    until(json!([]), || list(&world)).await;
    let before = workers(&world);
    let replicas = world.get(&format!("deployment/{}", before[0])).unwrap();
    let mut pod = replicas["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("triage-pod");
    world.apply(&pod.to_string());
    let adapters = json!([{ "name": "tickets", "source": "s3://models/tickets" }]);
    world.patch(
        "slm/triage",
        "",
        &json!({ "spec": { "adapters": adapters } }),
    );
    until(adapters, || list(&world)).await;
    until(true, || told(&world)).await;
    assert_eq!(workers(&world), before);
    until("False/Starting".to_owned(), || {
        world.condition("slm/triage", "AdaptersReady")
    })
    .await;
    let status = world.get("slm/triage").unwrap()["status"]["adapters"].clone();
    assert_eq!(
        status,
        json!([{ "name": "tickets", "ready": 0, "outdated": 0 }])
    );
}
