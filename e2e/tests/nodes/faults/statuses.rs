//! Statuses that nobody may write, and statuses that are gone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    ANSWER, DEPLOYMENT, NAMESPACE, change, go_on, is_whole, nothing_was_restarted, running, runs,
    status, wish,
};
use crate::changes::{bring_operator_back, take_operator_away};
use crate::operators::Operator;
use crate::stage::{Stage, eventually};
use crate::traffic::{Came, Traffic, are_whole};

/// An operator that failed for a minute comes again within one more.
const HEARD: Duration = Duration::from_secs(180);
/// In a minute, with waits that double.
const MOST_FAILURES: u64 = 40;

pub async fn with_statuses_closed_asks_are_answered_and_replicas_made_and_all_is_told_afterwards(
    stage: &Stage,
) -> Result<()> {
    let clients = Traffic::begin(stage, &wish(stage)?)?;
    let operator = Operator::leading(stage)?;
    let failed = operator.failed_passes(stage)?;
    stage.cluster.kubectl().apply(CLOSED)?;
    eventually(HEARD, || is_closed(stage)).await?;
    change(stage, &json!({ "replicas": 3 }))?;
    let made = eventually(HEARD, || {
        let workers = running(stage, "worker")?.len();
        ensure!(workers == 3, "{workers} workers");
        Ok(())
    })
    .await;
    stage.pause(Duration::from_secs(60)).await;
    let failures = operator.failed_passes(stage)? - failed;
    let said = status(stage)?["replicas"].clone();
    stage.kubectl("delete validatingadmissionpolicybinding,validatingadmissionpolicy closed")?;
    made?;
    ensure!(said == 2, "a status was written: {said} replicas");
    ensure!(
        (1..=MOST_FAILURES).contains(&failures),
        "{failures} passes failed"
    );
    told(stage, 3).await?;
    change(stage, &json!({ "replicas": 2 }))?;
    told(stage, 2).await?;
    is_whole(stage).await?;
    are_whole(&clients.end()?, ANSWER, 60)
}

const CLOSED: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: { name: closed }
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - { apiGroups: [weir.dev], apiVersions: ["*"], operations: [UPDATE], resources: ["*/status"] }
  validations: [{ expression: "false", message: statuses are closed }]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: { name: closed }
spec: { policyName: closed, validationActions: [Deny] }
"#;

fn is_closed(stage: &Stage) -> Result<()> {
    let line = format!(
        "patch {DEPLOYMENT} --namespace {NAMESPACE} --subresource=status --dry-run=server --type=merge"
    );
    let mut patch = stage.cluster.kubectl().command(&line);
    let said = weir_e2e::said(patch.arg(r#"--patch={"status":{"replicas":9}}"#), "")?;
    ensure!(said.stderr.contains("statuses are closed"), "{said:?}");
    Ok(())
}

/// Waits until the status says so many replicas, of the spec as it is now.
async fn told(stage: &Stage, replicas: u64) -> Result<()> {
    eventually(HEARD, || {
        let deployment = stage.json(&format!("get {DEPLOYMENT} --namespace {NAMESPACE}"))?;
        let status = &deployment["status"];
        ensure!(
            status["readyReplicas"] == replicas
                && status["observedGeneration"] == deployment["metadata"]["generation"],
            "{replicas} were to be told of: {status}"
        );
        Ok(())
    })
    .await
}

/// As a backup is brought back: no operator meanwhile, and the same objects with other identities. While there is
/// no policy, its model is not there, and whoever asks for it is told so.
pub async fn objects_restored_without_their_status_are_served_at_once_and_nothing_is_restarted(
    stage: &Stage,
) -> Result<()> {
    const KINDS: &str = "slmdeployments,routepolicies";
    let (before, told_before) = (runs(stage)?, status(stage)?);
    let clients = Traffic::begin(stage, &wish(stage)?)?;
    let kept = stage.json(&format!("get {KINDS} --namespace {NAMESPACE}"))?;
    let count = take_operator_away(stage).await?;
    let restored = restore(stage, kept, KINDS);
    // A router hears of it within a moment.
    go_on(&clients, 10).await?;
    let at_once = clients.ended();
    stage.pause(Duration::from_secs(20)).await;
    bring_operator_back(stage, count)?;
    restored?;
    told(stage, 2).await?;
    go_on(&clients, 20).await?;
    is_whole(stage).await?;
    let came = clients.end()?;
    let is_unknown = |came: &Came| came.kinds.iter().any(|kind| kind == "NotFoundError");
    let (early, late) = came.split_at(at_once);
    are_whole(late, ANSWER, 40)?;
    let answered = early.iter().filter(|came| !is_unknown(came)).cloned();
    are_whole(&answered.collect::<Vec<_>>(), ANSWER, 10)?;
    nothing_was_restarted(stage, &before)?;
    let told_now = status(stage)?;
    ensure!(
        told_now["rollout"]["stable"] == told_before["rollout"]["stable"],
        "another revision serves: {told_now}"
    );
    Ok(())
}

fn restore(stage: &Stage, mut kept: Value, kinds: &str) -> Result<()> {
    for object in kept["items"].as_array_mut().context("a list")? {
        let metadata = &object["metadata"];
        object["metadata"] =
            json!({ "name": metadata["name"], "namespace": metadata["namespace"] });
        let fields = object.as_object_mut().context("an object")?;
        fields.remove("status");
    }
    stage.kubectl(&format!(
        "delete {kinds} --all --cascade=orphan --namespace {NAMESPACE} --timeout=60s"
    ))?;
    stage.cluster.kubectl().apply(&kept.to_string())?;
    Ok(())
}
