//! A chat template in a ConfigMap of the user's: kept by its revision, named where it is missing.

use serde_json::json;

use crate::process::{World, until};

const TEMPLATED: &str = "
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: triage }
spec:
  model:
    source: file:///models/triage
    chatTemplate: { configMapRef: { name: templates, key: chat } }
";

fn map(world: &World, key: &str, text: &str) {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "templates" },
        "data": { key: text },
    });
    world.apply(&map.to_string());
}

/// What each revision of replicas has mounted as its template.
fn templates(world: &World) -> Vec<String> {
    let mut names = world.managed("deployments");
    names.retain(|name| name.starts_with("triage-"));
    let mut texts: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let replicas = world.get(&format!("deployment/{name}"))?;
            let pod = &replicas["spec"]["template"]["spec"];
            let volumes = pod["volumes"].as_array()?;
            let volume = volumes.iter().find(|volume| volume["name"] == "revision")?;
            let config = volume["configMap"]["name"].as_str()?;
            let data = world.get(&format!("configmap/{config}"))?["data"].clone();
            Some(data["chat_template.jinja"].as_str()?.to_owned())
        })
        .collect();
    texts.sort();
    texts
}

fn message(world: &World) -> String {
    let deployment = world.get("slm/triage").unwrap();
    let conditions = deployment["status"]["conditions"].as_array().unwrap();
    let stalled = conditions.iter().find(|c| c["type"] == "Stalled");
    let message = stalled.and_then(|stalled| stalled["message"].as_str());
    message.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn another_template_begins_a_revision_and_the_old_one_keeps_its_own() {
    let world = World::new("templates").await;
    let operator = world.operator("one");
    map(&world, "chat", "one");
    world.apply(TEMPLATED);
    until(vec!["one".to_owned()], || templates(&world)).await;
    until(false, || world.revision().is_empty()).await;
    world.make_ready(&format!("triage-{}", world.revision()), 1);
    let available = || world.condition("slm/triage", "Available");
    until("True/Serving".to_owned(), available).await;
    map(&world, "chat", "two");
    until(vec!["one".to_owned(), "two".to_owned()], || {
        templates(&world)
    })
    .await;
    // Another key of the ConfigMap is nothing to us.
    let more = json!({ "data": { "other": "three" } });
    world.patch("configmap/templates", "", &more);
    operator.quiet().await;
    assert_eq!(templates(&world), ["one", "two"]);
    map(&world, "chat", "one");
    until(vec!["one".to_owned()], || templates(&world)).await;
}

#[tokio::test]
async fn a_template_that_is_missing_is_named_until_it_appears() {
    let world = World::new("missing").await;
    let _operator = world.operator("one");
    world.apply(TEMPLATED);
    let stalled = || world.condition("slm/triage", "Stalled");
    until("True/ConfigMapNotFound".to_owned(), stalled).await;
    assert_eq!(
        message(&world),
        "spec.model.chatTemplate: there is no ConfigMap templates to have the key chat"
    );
    map(&world, "other", "x");
    let no_key = "spec.model.chatTemplate: ConfigMap templates has no key chat";
    until(no_key.to_owned(), || message(&world)).await;
    assert_eq!(templates(&world), Vec::<String>::new());

    map(&world, "chat", "one");
    until(vec!["one".to_owned()], || templates(&world)).await;
    until(String::new(), stalled).await;
    world.kubectl("delete configmap templates");
    until("True/ConfigMapNotFound".to_owned(), stalled).await;
    assert_eq!(templates(&world), ["one"], "what ran goes on");
}
