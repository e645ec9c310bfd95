//! A second team in a namespace of its own, which nothing done to the first may touch.

use std::collections::BTreeMap;
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
static BEFORE: Mutex<Fingerprints> = Mutex::new(Fingerprints::new());

/// By kind and name, what an object is apart from its status.
pub type Fingerprints = BTreeMap<String, Value>;

pub async fn a_second_tenant_is_served_from_its_own_namespace(stage: &Stage) -> Result<()> {
    stage.restricted_namespace(NAMESPACE)?;
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
    // What the first replica resolved is noted a moment after it is ready.
    eventually(NOTICE, || {
        let maps = stage.json(&format!("get configmaps --namespace {NAMESPACE}"))?;
        let maps = maps["items"].as_array().context("no list")?;
        let is_noted = maps.iter().any(|map| map["data"]["digest"].is_string());
        ensure!(is_noted, "no digest is noted yet");
        Ok(())
    })
    .await?;
    *BEFORE.lock().expect("no story panics") = fingerprints(stage)?;
    Ok(())
}

pub async fn the_second_tenant_was_left_alone(stage: &Stage) -> Result<()> {
    let before = BEFORE.lock().expect("no story panics").clone();
    ensure!(!before.is_empty(), "the second tenant never came about");
    are_unchanged(&before, &fingerprints(stage)?)?;
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

/// What is ours in a namespace: everything of each object but its status, of which only how often
/// a pod has restarted counts.
pub fn fingerprints(stage: &Stage) -> Result<Fingerprints> {
    ours(stage, NAMESPACE)?
        .into_iter()
        .map(fingerprint)
        .collect()
}

fn fingerprint(mut object: Value) -> Result<(String, Value)> {
    let restarts = object["status"]["containerStatuses"][0]["restartCount"].clone();
    let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
    object["status"] = serde_json::json!({ "restarts": restarts });
    let metadata = object["metadata"].as_object_mut();
    let metadata = metadata.with_context(|| format!("{name} has metadata"))?;
    // They change with every status that is written, and say nothing else of the object.
    metadata.remove("managedFields");
    metadata.remove("resourceVersion");
    Ok((name, object))
}

/// Fails with the objects that are not as they were, and with nothing of the others.
pub fn are_unchanged(before: &Fingerprints, now: &Fingerprints) -> Result<()> {
    let names = before.keys().chain(now.keys());
    let changed: BTreeMap<&String, [Option<&Value>; 2]> = names
        .map(|name| (name, [before.get(name), now.get(name)]))
        .filter(|(_, [before, now])| before != now)
        .collect();
    ensure!(
        changed.is_empty(),
        "objects changed, before and now: {changed:#?}"
    );
    Ok(())
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
