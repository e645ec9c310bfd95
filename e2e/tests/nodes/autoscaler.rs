//! A HorizontalPodAutoscaler of Kubernetes' own, on what metrics-server reads of real kubelets: the example of
//! `docs/scaling.md`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weir_e2e::cluster::{Images, PYTHON};
use weir_e2e::{METRICS_SERVER, repository, succeed};

use crate::stage::{EXAMPLE, Stage, eventually, restricted_pod};

const IMAGE: &str = "weir.test/metrics-server:1";
const DEPLOYMENT: &str = "slmdeployment/outside-scaled";
/// metrics-server looks every ten seconds, and needs two looks of a pod.
const PATIENCE: Duration = Duration::from_secs(120);
/// Asks as fast as it is answered, which takes all of the tenth of a core that a replica has.
const CROWD: &str = "
import json, threading, urllib.request

BODY = {'model': 'outside-scaled', 'messages': [{'role': 'user', 'content': 'I was charged twice.'}], 'max_tokens': 16}
HEADERS = {'content-type': 'application/json'}

def ask():
    while True:
        url = 'http://outside-scaled/v1/chat/completions'
        request = urllib.request.Request(url, json.dumps(BODY).encode(), HEADERS)
        try:
            urllib.request.urlopen(request, timeout=30).read()
        except OSError as error:
            print(error, flush=True)

for _ in range(4):
    threading.Thread(target=ask).start()
";

pub async fn an_autoscaler_of_kubernetes_sets_the_count_and_nobody_fights_it(
    stage: &Stage,
) -> Result<()> {
    open_metrics(stage)?;
    for object in of_the_docs()? {
        stage.cluster.kubectl().apply(&object)?;
    }
    stage.kubectl(&format!(
        "wait {DEPLOYMENT} --for=condition=Ready --timeout=90s"
    ))?;
    let [status, reason, message] = stage.condition(DEPLOYMENT, "AutoscalingSuspended")?;
    ensure!(
        status == "True" && reason == "ReplicasSet",
        "{status} {reason}: {message}"
    );

    let crowd = restricted_pod(EXAMPLE, "crowd", PYTHON, "");
    let mut crowd: Value = serde_json::from_str(&crowd)?;
    crowd["spec"]["containers"][0]["command"] = json!(["python3", "-c", CROWD]);
    stage.cluster.kubectl().apply(&crowd.to_string())?;
    eventually(PATIENCE, || has_replicas(stage, 2))
        .await
        .context("while many ask")?;
    let refused = stage.kubectl(&format!("logs crowd --namespace {EXAMPLE}"))?;
    ensure!(refused.is_empty(), "somebody was not answered: {refused}");
    stage.kubectl(&format!("delete pod/crowd --namespace {EXAMPLE}"))?;
    eventually(PATIENCE, || has_replicas(stage, 1))
        .await
        .context("while nobody asks")?;
    nobody_else_set_the_count(stage)?;
    for object in [DEPLOYMENT, "hpa/outside-scaled"] {
        stage.kubectl(&format!("delete {object} --timeout=60s"))?;
    }
    // Namespaces do not end while a part of the API does not answer.
    let mut delete = stage.cluster.kubectl().command("delete --wait=false -f");
    succeed(delete.arg(manifest()))
}

fn open_metrics(stage: &Stage) -> Result<()> {
    let images = Images::open()?;
    let lines =
        "FROM scratch\nCOPY metrics-server /metrics-server\nENTRYPOINT [\"/metrics-server\"]\n";
    images.build_lines(IMAGE, &METRICS_SERVER.built()?, lines)?;
    let archive = stage.cluster.folder().join("metrics-server.tar");
    images.archive(&[IMAGE], &archive)?;
    stage.cluster.load(&archive)?;
    fs::remove_file(&archive).context("removing an archive of images")?;
    stage.cluster.kubectl().apply_path(&manifest())?;
    Ok(())
}

fn manifest() -> PathBuf {
    repository().join("e2e/cluster/metrics-server.yaml")
}

/// The two objects that the docs show, as they show them.
fn of_the_docs() -> Result<[String; 2]> {
    let text = fs::read_to_string(repository().join("docs/scaling.md"))?;
    let blocks = text.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let found: Vec<String> = blocks
        .filter(|block| block.contains("name: outside-scaled"))
        .flat_map(|block| block.split("---\n"))
        .map(str::to_owned)
        .collect();
    found
        .try_into()
        .map_err(|found| anyhow::anyhow!("the docs have another example: {found:?}"))
}

fn has_replicas(stage: &Stage, count: u64) -> Result<()> {
    let deployment = stage.json(&format!("get {DEPLOYMENT}"))?;
    let status = &deployment["status"];
    let told = [
        &deployment["spec"]["replicas"],
        &status["desiredReplicas"],
        &status["readyReplicas"],
    ];
    let autoscaler = stage.json("get hpa/outside-scaled")?;
    ensure!(
        told.iter().all(|told| **told == count),
        "replicas are {told:?}; the autoscaler says {}",
        autoscaler["status"]
    );
    let ready = deployment["status"]["conditions"][0].clone();
    ensure!(
        ready["type"] == "Ready" && ready["status"] == "True",
        "{ready}"
    );
    Ok(())
}

/// Each count that the autoscaler set is one change of the spec, and there was no other.
fn nobody_else_set_the_count(stage: &Stage) -> Result<()> {
    let deployment = stage.json(&format!("get {DEPLOYMENT} --show-managed-fields"))?;
    let events = stage.json("get events --field-selector=involvedObject.name=outside-scaled")?;
    let events = events["items"].as_array().cloned().unwrap_or_default();
    let rescales: u64 = events
        .iter()
        .filter(|event| event["reason"] == "SuccessfulRescale")
        .map(|event| event["count"].as_u64().unwrap_or(1))
        .sum();
    let changes = deployment["metadata"]["generation"].as_u64();
    ensure!(
        changes == Some(rescales + 1),
        "{rescales} rescales, and the generation is {changes:?}"
    );
    let managers = deployment["metadata"]["managedFields"].as_array();
    let of_the_count: Vec<&Value> = managers
        .into_iter()
        .flatten()
        .filter(|manager| !manager["fieldsV1"]["f:spec"]["f:replicas"].is_null())
        .collect();
    let is_theirs = of_the_count
        .iter()
        .any(|manager| manager["manager"] == "kube-controller-manager");
    ensure!(is_theirs, "the count is of {of_the_count:?}");
    Ok(())
}
