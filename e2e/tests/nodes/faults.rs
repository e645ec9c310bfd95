//! What goes wrong in a cluster while clients ask, in a namespace of its own with two routers, two replicas and a
//! frontier.
//!
//! In short among the other stories, and whole by `make e2e-faults`.

pub mod control;
pub mod namespaces;
pub mod nodes;
pub mod routers;
pub mod statuses;
pub mod workers;
pub mod writers;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weir_e2e::succeed;

use crate::budgets::have_two_routers;
use crate::stage::{Stage, eventually};
use crate::traffic::{Traffic, Wish};

pub const NAMESPACE: &str = "faults";
pub const DEPLOYMENT: &str = "slmdeployment/triage";
/// Asks under this name begin at the small tier.
pub const MODEL: &str = "faults-assistant";
/// Asks under this one go to the frontier at once.
pub const PLAIN: &str = "faults-frontier";
/// A ticket of one customer after the other, and its answer by either tier.
const TICKET: &str = "Hello, my customer number is #. I was charged twice for my subscription this month. Please help!";
pub const ANSWER: &str = "billing";
/// How long whatever was harmed may take to be whole again on a busy machine.
pub const RECOVERY: Duration = Duration::from_secs(120);

pub async fn a_namespace_with_two_routers_and_two_replicas_is_served(stage: &Stage) -> Result<()> {
    have_two_routers(stage)?;
    stage.restricted_namespace(NAMESPACE)?;
    stage.provider_pod(NAMESPACE)?;
    stage.cluster.kubectl().apply(&objects())?;
    let wait = format!("--namespace {NAMESPACE} --for=condition=Ready --timeout=120s");
    stage.kubectl(&format!("wait pod/provider {wait}"))?;
    stage.kubectl(&format!("wait {DEPLOYMENT} {wait}"))?;
    is_whole(stage).await
}

/// Waits until both routers and both replicas are ready, and an answer is the small tier's.
pub async fn is_whole(stage: &Stage) -> Result<()> {
    eventually(RECOVERY, || {
        for component in ["router", "worker"] {
            let ready = running(stage, component)?
                .iter()
                .filter(|pod| is_ready(pod))
                .count();
            ensure!(ready == 2, "{ready} pods of {component} are ready");
        }
        let [status, reason, message] = condition(stage, DEPLOYMENT, "Ready")?;
        ensure!(status == "True", "{reason}: {message}");
        Ok(())
    })
    .await?;
    eventually(RECOVERY, || {
        let wish = Wish {
            clients: 1,
            asks: Some(1),
            ..wish(stage)?
        };
        let came = Traffic::begin(stage, &wish)?.end_by_itself()?;
        let is_small = |tier: Option<&str>| tier == Some("small");
        ensure!(
            came.iter()
                .all(|came| came.is_whole(ANSWER) && is_small(came.tier.as_deref())),
            "the small tier was to answer: {came:?}"
        );
        Ok(())
    })
    .await
}

/// A few clients that never stop, and raise whatever goes wrong.
pub fn wish(stage: &Stage) -> Result<Wish> {
    let base_url = stage.address(NAMESPACE, "weir-router")?;
    Ok(Wish {
        next_base_url: base_url.clone(),
        base_url,
        model: MODEL.to_owned(),
        question: TICKET.to_owned(),
        clients: 3,
        asks: None,
        pause: 0.1,
        retries: 0,
    })
}

/// Waits until so many more asks have ended.
pub async fn go_on(traffic: &Traffic, more: usize) -> Result<()> {
    let enough = traffic.ended() + more;
    eventually(RECOVERY, || {
        let ended = traffic.ended();
        ensure!(ended >= enough, "{ended} asks of {enough} have ended");
        Ok(())
    })
    .await
}

/// The namespace's pods of a component that are not leaving.
pub fn running(stage: &Stage, component: &str) -> Result<Vec<Value>> {
    let chosen = format!("--selector=weir.dev/component={component} --namespace {NAMESPACE}");
    let pods = stage.json(&format!("get pods {chosen}"))?;
    let mut pods = pods["items"].as_array().context("a list")?.clone();
    pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    Ok(pods)
}

pub fn name(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str();
    name.unwrap_or_default().to_owned()
}

/// The namespace's pods, each with the runs of its container.
pub fn runs(stage: &Stage) -> Result<Vec<(String, Value)>> {
    let mut runs = Vec::new();
    for component in ["router", "worker"] {
        let pods = running(stage, component)?;
        runs.extend(pods.iter().map(|pod| {
            let container = &pod["status"]["containerStatuses"][0];
            (name(pod), container["containerID"].clone())
        }));
    }
    Ok(runs)
}

/// Fails where a pod was replaced, or started again.
pub fn nothing_was_restarted(stage: &Stage, before: &[(String, Value)]) -> Result<()> {
    let now = runs(stage)?;
    ensure!(now == before, "it was {before:?}, it is {now:?}");
    Ok(())
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// A condition of an object of the namespace: its status, reason and message.
pub fn condition(stage: &Stage, object: &str, kind: &str) -> Result<[String; 3]> {
    stage.condition(&format!("{object} --namespace {NAMESPACE}"), kind)
}

/// Changes the spec of the deployment.
pub fn change(stage: &Stage, spec: &Value) -> Result<()> {
    let line = format!("patch {DEPLOYMENT} --namespace {NAMESPACE} --type=merge");
    let mut patch = stage.cluster.kubectl().command(&line);
    succeed(patch.arg(format!("--patch={}", json!({ "spec": spec }))))
}

pub fn status(stage: &Stage) -> Result<Value> {
    let deployment = stage.json(&format!("get {DEPLOYMENT} --namespace {NAMESPACE}"))?;
    Ok(deployment["status"].clone())
}

fn objects() -> String {
    let frontier = format!(
        "{{ provider: OpenAICompatible, model: stand-in-frontier, location: Inside, baseUrl: http://provider.{NAMESPACE}.svc/v1 }}"
    );
    format!(
        "apiVersion: v1
kind: Service
metadata: {{ name: provider, namespace: {NAMESPACE} }}
spec: {{ selector: {{ app: provider }}, ports: [{{ port: 80, targetPort: 8080 }}] }}
---
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: {{ name: triage, namespace: {NAMESPACE} }}
spec:
  replicas: 2
  model: {{ source: file:///models/triage }}
  resources: {{ cpu: 250m, memory: 512Mi }}
  drain: 10s
  rollout:
    steps: [{{ weight: 50, pause: 5s }}]
    guard: {{ minAsks: 10, maxStepWait: 2m, latencyIncrease: '10' }}
---
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: {{ name: assistant, namespace: {NAMESPACE} }}
spec:
  models: [{MODEL}]
  tiers:
    - {{ name: small, deployment: {{ name: triage }}, accept: {{ task: Choice, threshold: '0.9' }} }}
    - {{ name: frontier, endpoint: {frontier} }}
---
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: {{ name: plain, namespace: {NAMESPACE} }}
spec:
  models: [{PLAIN}]
  tiers: [{{ name: frontier, endpoint: {frontier} }}]
"
    )
}
