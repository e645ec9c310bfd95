//! A second team in a namespace of its own, which nothing done to the first may touch.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_e2e::repository;

use crate::answers::{MODEL, Question};
use crate::changes::NOTICE;
use crate::stage::{Stage, eventually};

pub const NAMESPACE: &str = "second";
/// What the operator makes, by kind.
const KINDS: &str = "pods,deployments.apps,services,configmaps,serviceaccounts,\
                     roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io,\
                     poddisruptionbudgets.policy,networkpolicies.networking.k8s.io";

/// What the second tenant's objects looked like before the first was disturbed.
static BEFORE: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub async fn a_second_tenant_is_served_from_its_own_namespace(stage: &Stage) -> Result<()> {
    stage.kubectl(&format!("create namespace {NAMESPACE}"))?;
    stage.kubectl(&format!(
        "label namespace {NAMESPACE} pod-security.kubernetes.io/enforce=restricted"
    ))?;
    for file in ["slmdeployment.yaml", "routepolicy.yaml"] {
        let mut apply = stage
            .cluster
            .kubectl()
            .command(&format!("apply --namespace {NAMESPACE} -f"));
        let file = repository().join("examples/triage").join(file);
        weir_e2e::succeed(apply.arg(file))?;
    }
    for object in ["slmdeployment/triage", "routepolicy/support"] {
        let wait = "--for=condition=Ready --timeout=120s";
        stage.kubectl(&format!("wait {object} --namespace {NAMESPACE} {wait}"))?;
    }
    eventually(Duration::from_secs(30), || is_served(stage)).await?;
    *BEFORE.lock().expect("no story panics") = fingerprints(stage)?;
    Ok(())
}

pub async fn the_second_tenant_was_left_alone(stage: &Stage) -> Result<()> {
    let before = BEFORE.lock().expect("no story panics").clone();
    ensure!(!before.is_empty(), "the second tenant never came about");
    let now = fingerprints(stage)?;
    ensure!(
        now == before,
        "objects changed: before {before:#?} and now {now:#?}"
    );
    is_served(stage)
}

/// Both questions are answered in the second tenant's namespace.
pub fn is_served(stage: &Stage) -> Result<()> {
    let url = stage.address(NAMESPACE, "weir-router")?;
    let questions = [
        Question::for_tier("small")?,
        Question::for_tier("frontier")?,
    ];
    let asks = questions
        .each_ref()
        .map(|question| question.ask(&url, MODEL, false));
    let answers = stage.sdk.ask_on_node(stage, &asks)?;
    // The frontier of the example goes with the example.
    let frontier_is_there = stage
        .kubectl("get service frontier --namespace default")
        .is_ok();
    let expected = if frontier_is_there { 2 } else { 1 };
    for (question, answer) in questions.iter().zip(&answers).take(expected) {
        question.is_answered_by(std::slice::from_ref(answer))?;
    }
    Ok(())
}

/// A new price of the second tenant's deployment reaches the operator.
pub async fn is_taken_up(stage: &Stage, price: &str) -> Result<()> {
    stage.kubectl(&format!(
        "patch slmdeployment/triage --namespace {NAMESPACE} --type=merge --patch={{\"spec\":{{\"price\":{{\"replicaHour\":\"{price}\"}}}}}}"
    ))?;
    eventually(NOTICE, || {
        let object = stage.json(&format!("get slmdeployment/triage --namespace {NAMESPACE}"))?;
        let [asked, seen] = [
            &object["metadata"]["generation"],
            &object["status"]["observedGeneration"],
        ];
        ensure!(asked == seen, "generation {asked} was not taken up: {seen}");
        Ok(())
    })
    .await
}

/// What is ours in a namespace: identity and specification of each object, not its status.
pub fn fingerprints(stage: &Stage) -> Result<Vec<String>> {
    ours(stage, NAMESPACE)?
        .iter()
        .map(|object| {
            let metadata = &object["metadata"];
            let generation = metadata["generation"].as_i64().unwrap_or(0);
            let restarts = &object["status"]["containerStatuses"][0]["restartCount"];
            let [kind, name, uid] = [&object["kind"], &metadata["name"], &metadata["uid"]];
            Ok(format!("{kind} {name} {uid} {generation} {restarts}"))
        })
        .collect()
}

/// Every object in a namespace that the operator made.
pub fn ours(stage: &Stage, namespace: &str) -> Result<Vec<Value>> {
    let selector = "--selector=app.kubernetes.io/managed-by=weir";
    let list = stage.json(&format!("get {KINDS} {selector} --namespace {namespace}"))?;
    list["items"]
        .as_array()
        .cloned()
        .context("a list has items")
}
