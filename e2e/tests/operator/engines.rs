//! Deployments whose server is not ours, and accelerators: what is made of them, and what is said.

use serde_json::{Value, json};

use crate::process::{World, until};

const CHAT: &str = "
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: chat }
spec:
  model: { source: pvc://models/qwen.gguf }
  engine:
    image: registry.test/llama-server:1
    protocol: OpenAI
    args: [--model, $(WEIR_MODEL), --port, $(WEIR_PORT)]
";

fn stable(world: &World) -> String {
    let deployment = world.get("slm/chat").unwrap_or_default();
    let stable = deployment["status"]["rollout"]["stable"].as_str();
    stable.unwrap_or_default().to_owned()
}

/// The pod of the deployment's one revision, as its controller would make it.
fn pod(world: &World, name: &str) -> Value {
    let replicas = world.get(&format!("deployment/chat-{}", stable(world)));
    let mut pod = replicas.unwrap()["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(name);
    pod
}

fn message(world: &World, type_: &str) -> String {
    let deployment = world.get("slm/chat").unwrap();
    let conditions = deployment["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|c| c["type"] == type_);
    let message = found.and_then(|found| found["message"].as_str());
    message.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_server_of_anothers_runs_restricted_behind_a_port_that_says_what_it_speaks() {
    let world = World::new("engines").await;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    world.kubectl(&format!("label namespace {} {label}", world.namespace));
    let operator = world.operator("one");
    world.apply(CHAT);
    until(false, || stable(&world).is_empty()).await;
    let service = world
        .get(&format!("service/chat-{}", stable(&world)))
        .unwrap();
    assert_eq!(service["spec"]["ports"][0]["name"], "openai");
    // The API server judges it as it judges the pods of a ReplicaSet.
    let pod = pod(&world, "first");
    world.apply(&pod.to_string());
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.test/llama-server:1");
    assert_eq!(container["lifecycle"]["preStop"]["sleep"]["seconds"], 120);
    operator.quiet().await;
    operator.stop();
    // What the API server made of its probes and its hook is no reason to write them again.
    let second = world.operator("two");
    second.quiet().await;
    assert_eq!(second.metric("weir_operator_writes_total").await, Some(0.0));
}

#[tokio::test]
async fn another_image_is_another_revision() {
    let world = World::new("images").await;
    let _operator = world.operator("one");
    world.apply(CHAT);
    until(false, || stable(&world).is_empty()).await;
    let first = stable(&world);
    world.make_ready(&format!("chat-{first}"), 1);
    until(true, || {
        world
            .condition("slm/chat", "Available")
            .starts_with("True/")
    })
    .await;
    world.apply(&CHAT.replace("llama-server:1", "llama-server:2"));
    until(2, || {
        let names = world.managed("deployments");
        names
            .iter()
            .filter(|name| name.starts_with("chat-"))
            .count()
    })
    .await;
    assert_eq!(stable(&world), first);
}

#[tokio::test]
async fn a_field_that_a_server_of_anothers_is_not_told_is_refused_by_its_name() {
    let world = World::new("untold").await;
    let _operator = world.operator("one");
    world.apply(&CHAT.replace("qwen.gguf }", "qwen.gguf, contextTokens: 4096 }"));
    let stalled = || world.condition("slm/chat", "Stalled");
    until("True/Invalid".to_owned(), stalled).await;
    let message = message(&world, "Stalled");
    assert!(
        message.starts_with("spec.model.contextTokens: "),
        "{message}"
    );
    world.apply(CHAT);
    until(String::new(), stalled).await;
}

#[tokio::test]
async fn an_accelerator_that_nobody_has_is_told_in_the_schedulers_words() {
    let world = World::new("accelerators").await;
    let _operator = world.operator("one");
    world.apply(&format!(
        "{CHAT}  resources: {{ accelerator: Nvidia, count: 2 }}\n"
    ));
    until(false, || stable(&world).is_empty()).await;
    let pod = pod(&world, "first");
    let limits = &pod["spec"]["containers"][0]["resources"]["limits"];
    assert_eq!(limits["nvidia.com/gpu"], "2");
    world.apply(&pod.to_string());
    let words = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.";
    let unscheduled = json!({ "status": { "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words,
    }] } });
    world.patch("pod/first", "--subresource=status", &unscheduled);
    until("False/InsufficientGpu".to_owned(), || {
        world.condition("slm/chat", "Ready")
    })
    .await;
    assert_eq!(message(&world, "Ready"), words);
}

#[tokio::test]
async fn our_worker_on_an_accelerator_waits_for_an_image_that_the_chart_names() {
    let world = World::new("cuda").await;
    let _operator = world.operator("one");
    let ours = "
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: chat }
spec: { model: { source: file:///models/triage }, resources: { accelerator: Nvidia } }
";
    world.apply(ours);
    until("True/Invalid".to_owned(), || {
        world.condition("slm/chat", "Stalled")
    })
    .await;
    let message = message(&world, "Stalled");
    assert!(message.contains("worker.cudaImage"), "{message}");
}
