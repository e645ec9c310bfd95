//! A namespace that is deleted in the middle of what happens in it.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use weir_e2e::succeed;

use super::{ANSWER, RECOVERY, go_on, is_whole, nothing_was_restarted, runs, wish};
use crate::operators::Operator;
use crate::stage::{Stage, eventually};
use crate::traffic::{Traffic, are_whole};

const DOOMED: &str = "doomed";
/// Errors of a last pass or two that met the end; after that there are none.
const SETTLED: Duration = Duration::from_secs(20);

pub async fn a_namespace_deleted_in_mid_rollout_ends_and_disturbs_nobody(
    stage: &Stage,
) -> Result<()> {
    let before = runs(stage)?;
    stage.restricted_namespace(DOOMED)?;
    stage.cluster.kubectl().apply(&objects())?;
    let object = format!("slmdeployment/triage --namespace {DOOMED}");
    stage.kubectl(&format!(
        "wait {object} --for=condition=Ready --timeout=120s"
    ))?;
    let clients = Traffic::begin(stage, &wish(stage)?)?;
    let mut patch = stage
        .cluster
        .kubectl()
        .command(&format!("patch {object} --type=merge"));
    let change = json!({ "spec": { "drain": "6s" } });
    succeed(patch.arg(format!("--patch={change}")))?;
    eventually(RECOVERY, || {
        let rollout = stage.json(&format!("get {object}"))?["status"]["rollout"].clone();
        let canary = rollout["canary"].as_str().unwrap_or_default();
        ensure!(!canary.is_empty(), "no canary yet: {rollout}");
        Ok(())
    })
    .await?;
    stage.kubectl(&format!("delete namespace {DOOMED} --timeout=120s"))?;
    tokio::time::sleep(SETTLED).await;
    let operator = Operator::leading(stage)?;
    let failed = operator.failed_passes(stage)?;
    tokio::time::sleep(SETTLED).await;
    ensure!(
        operator.failed_passes(stage)? == failed,
        "it goes on failing: {}",
        operator.log(stage)?
    );
    go_on(&clients, 10).await?;
    are_whole(&clients.end()?, ANSWER, 40)?;
    is_whole(stage).await?;
    nothing_was_restarted(stage, &before)
}

fn objects() -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: {{ name: triage, namespace: {DOOMED} }}
spec:
  model: {{ source: file:///models/triage }}
  resources: {{ cpu: 100m, memory: 512Mi }}
  drain: 5s
  rollout: {{ steps: [{{ weight: 20, pause: 5m }}] }}
---
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: {{ name: assistant, namespace: {DOOMED} }}
spec:
  models: [doomed-assistant]
  tiers: [{{ name: small, deployment: {{ name: triage }} }}]
"
    )
}
