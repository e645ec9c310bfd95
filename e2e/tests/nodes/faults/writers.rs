//! Somebody else who writes into everything that the operator made.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weir_e2e::succeed;

use super::{ANSWER, NAMESPACE, RECOVERY, is_whole, name, nothing_was_restarted, runs, wish};
use crate::operators::Operator;
use crate::stage::{Stage, eventually};
use crate::tenants::ours;
use crate::traffic::{Traffic, are_whole};

/// Somebody who is not the operator, as the API server knows it.
const HAND: &str = "--field-manager=hand";
const LASTS: Duration = Duration::from_secs(60);
/// An edit, and what it is answered with: one write, and now and then a second where the two met.
const WRITES_PER_EDIT: u64 = 2;

/// What a hand does to a field of ours, by kind. Ports, selectors and templates are left out: with them
/// requests would be lost at once, whoever puts them back.
fn edits() -> [(&'static str, Value); 6] {
    let anything = json!({ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] });
    let router = json!({ "kind": "ServiceAccount", "name": "weir-router", "namespace": NAMESPACE });
    let everybody =
        json!({ "kind": "Group", "name": "everybody", "apiGroup": "rbac.authorization.k8s.io" });
    [
        (
            "Deployment",
            json!({ "spec": { "revisionHistoryLimit": 9 } }),
        ),
        (
            "PodDisruptionBudget",
            json!({ "spec": { "maxUnavailable": 2 } }),
        ),
        ("NetworkPolicy", json!({ "spec": { "ingress": [{}] } })),
        ("Role", json!({ "rules": [anything] })),
        ("RoleBinding", json!({ "subjects": [router, everybody] })),
        (
            "ServiceAccount",
            json!({ "automountServiceAccountToken": null }),
        ),
    ]
}

pub async fn what_a_hand_changes_every_second_is_put_back_without_a_war(
    stage: &Stage,
) -> Result<()> {
    let before = objects(stage)?;
    ensure!(before.len() > 10, "too few objects: {:?}", before.keys());
    let pods = runs(stage)?;
    let clients = Traffic::begin(stage, &wish(stage)?)?;
    let operator = Operator::leading(stage)?;
    let applied = operator.applied(stage)?;
    let (began, mut edited) = (Instant::now(), 0);
    let lasts = if stage.whole { LASTS } else { LASTS / 6 };
    while began.elapsed() < lasts {
        edited += edit(stage, &before)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    eventually(RECOVERY, || {
        let now = objects(stage)?;
        let changed = before
            .iter()
            .filter(|(name, object)| now.get(*name) != Some(*object));
        let changed: Vec<_> = changed
            .map(|(name, was)| (name, was, now.get(name)))
            .collect();
        ensure!(changed.is_empty(), "not put back: {changed:?}");
        Ok(())
    })
    .await?;
    let applied = operator.applied(stage)? - applied;
    ensure!(
        applied <= WRITES_PER_EDIT * edited,
        "{applied} writes followed {edited} edits"
    );
    ensure!(applied > 0, "nothing had to be put back");
    is_whole(stage).await?;
    are_whole(&clients.end()?, ANSWER, 40)?;
    nothing_was_restarted(stage, &pods)
}

/// Changes a label of every object, and a field of most; says how many writes that was.
fn edit(stage: &Stage, objects: &BTreeMap<(String, String), Value>) -> Result<u64> {
    let mut names: Vec<String> = objects
        .keys()
        .map(|(kind, name)| format!("{kind}/{name}"))
        .collect();
    names.sort();
    let mut edited = names.len() as u64;
    let names = names.join(" ");
    let hand = format!("--namespace {NAMESPACE} {HAND}");
    stage.kubectl(&format!(
        "label {names} weir.dev/component=nobody --overwrite {hand}"
    ))?;
    for (kind, patch) in edits() {
        let names = objects.keys().filter(|(other, _)| other == kind);
        for (_, name) in names {
            let line = format!("patch {kind} {name} --type=merge {hand}");
            let mut command = stage.cluster.kubectl().command(&line);
            succeed(command.arg(format!("--patch={patch}")))?;
            edited += 1;
        }
    }
    Ok(edited)
}

/// What the operator made here, without what every write changes. Pods are the kubelets'; and where the operator
/// only notes something for itself, it writes when there is something to note.
fn objects(stage: &Stage) -> Result<BTreeMap<(String, String), Value>> {
    let mut objects = BTreeMap::new();
    for mut object in ours(stage, NAMESPACE)? {
        let kind = object["kind"].as_str().context("a kind")?.to_owned();
        if kind == "Pod" || name(&object) == "triage-rollout" {
            continue;
        }
        object["status"] = Value::Null;
        for field in ["managedFields", "resourceVersion", "generation"] {
            object["metadata"][field] = Value::Null;
        }
        objects.insert((kind, name(&object)), object);
    }
    Ok(objects)
}
