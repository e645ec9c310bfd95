//! Policies: the last good one stays, names belong to the older, Secrets are mounted and not read.

use serde_json::{Value, json};

use crate::process::{SUPPORT, TRIAGE, World, until};

fn last_good(world: &World) -> Value {
    let config = world.get("configmap/weir-policies");
    let entry = config.and_then(|config| config["data"]["support"].as_str().map(str::to_owned));
    entry.map_or(Value::Null, |entry| serde_json::from_str(&entry).unwrap())
}

#[tokio::test]
async fn an_invalid_update_leaves_the_last_good_one_and_says_why() {
    let world = World::new("lastgood").await;
    let operator = world.operator("one");
    world.apply(TRIAGE);
    world.apply(SUPPORT);
    until(json!(1), || last_good(&world)["generation"].clone()).await;

    // Admission takes it; nobody honours it yet.
    let change = json!({ "spec": { "classifier": { "learned": {} }, "models": ["renamed"] } });
    world.patch("rpol/support", "", &change);
    until("True/NotImplemented".to_owned(), || {
        world.condition("rpol/support", "Stalled")
    })
    .await;
    let kept = last_good(&world);
    assert_eq!(kept["generation"], 1);
    assert_eq!(kept["spec"]["models"], json!(["assistant"]));
    let policy = world.get("rpol/support").unwrap();
    let message = policy["status"]["conditions"][0]["message"]
        .as_str()
        .unwrap();
    assert!(message.contains("spec.classifier.learned"), "{message}");
    assert!(
        message.contains("generation 1 goes on serving"),
        "{message}"
    );
    assert_eq!(policy["status"]["observedGeneration"], 2);
    let learned = &policy["spec"]["classifier"]["learned"];
    assert!(learned.is_object(), "a spec is the user's");

    // One that starts afresh knows no more than what is written down.
    operator.stop();
    let second = world.operator("two");
    second.quiet().await;
    assert_eq!(last_good(&world)["generation"], 1);

    world.patch(
        "rpol/support",
        "",
        &json!({ "spec": { "classifier": null } }),
    );
    until(json!(3), || last_good(&world)["generation"].clone()).await;
    until(String::new(), || world.condition("rpol/support", "Stalled")).await;
}

#[tokio::test]
async fn an_invalid_deployment_changes_nothing_that_runs() {
    let world = World::new("invalid").await;
    let _operator = world.operator("one");
    world.apply(TRIAGE);
    until(2, || world.managed("deployments").len()).await;
    let before = world.managed("deployments");
    world.patch(
        "slm/triage",
        "",
        &json!({ "spec": { "resources": { "profile": "lost" }, "drain": "1m" } }),
    );
    until("True/Invalid".to_owned(), || {
        world.condition("slm/triage", "Stalled")
    })
    .await;
    assert_eq!(world.managed("deployments"), before);
}

#[tokio::test]
async fn a_model_name_belongs_to_the_older_policy() {
    let world = World::new("names").await;
    let _operator = world.operator("one");
    world.apply(SUPPORT);
    until("False/RouterUnavailable".to_owned(), || {
        world.condition("rpol/support", "Ready")
    })
    .await;
    // Creation times have seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    world.apply(&SUPPORT.replace("name: support", "name: younger"));
    until("True/ModelNameTaken".to_owned(), || {
        world.condition("rpol/younger", "Stalled")
    })
    .await;
    assert_eq!(world.condition("rpol/support", "Stalled"), "");
    world.kubectl("delete rpol support");
    until(String::new(), || world.condition("rpol/younger", "Stalled")).await;
}

#[tokio::test]
async fn secrets_are_mounted_by_name_and_optional() {
    let world = World::new("secrets").await;
    let _operator = world.operator("one");
    world.apply(SUPPORT);
    // Beside them is what the router keeps for its next run.
    let secrets = || {
        let router = world.get("deployment/weir-router")?;
        let volumes = router["spec"]["template"]["spec"]["volumes"].as_array()?;
        let secrets = volumes.iter().map(|volume| volume["secret"].clone());
        Some(secrets.filter(|secret| secret.is_object()).collect())
    };
    let count = || secrets().map(|secrets: Vec<Value>| secrets.len());
    until(Some(1), count).await;
    let secret = &secrets().unwrap()[0];
    assert_eq!(secret["secretName"], "keys");
    assert_eq!(secret["optional"], true);

    let auth = json!({ "spec": { "auth": { "keysSecretRef": { "name": "clients" } } } });
    world.patch("rpol/support", "", &auth);
    until(Some(2), count).await;
}
