//! A model that comes from elsewhere, onto a claim that replicas share.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use weir_e2e::cluster::PYTHON;
use weir_e2e::{output, repository};

use crate::answers::Question;
use crate::stage::{EXAMPLE, Stage, eventually, restricted_pod};

const TOKEN: &str = "hf_of_this_test";
const COMMIT: &str = "5f1c2ab05f1c2ab05f1c2ab05f1c2ab05f1c2ab0";
const DEPLOYMENT: &str = "slmdeployment/from-hub";
/// A replica that nothing keeps waiting is ready in a few seconds.
const PATIENCE: Duration = Duration::from_secs(90);

pub async fn a_model_of_a_hub_comes_once_and_is_there_for_the_next_replica(
    stage: &Stage,
) -> Result<()> {
    open_hub(stage)?;
    claim(
        stage,
        "downloads",
        &stage.cluster.folder().join("downloads"),
    )?;
    stage.kubectl(&format!(
        "create secret generic hub --namespace {EXAMPLE} --from-literal=token={TOKEN} \
         --from-literal=endpoint=http://hub.{EXAMPLE}.svc"
    ))?;
    stage.cluster.kubectl().apply(&format!(
        "{{apiVersion: weir.dev/v1alpha1, kind: SLMDeployment, \
          metadata: {{name: from-hub, namespace: {EXAMPLE}}}, spec: {{ \
          model: {{source: 'hf://acme/triage', credentialsSecretRef: {{name: hub}}}}, \
          cache: {{persistentVolumeClaim: {{name: downloads}}}}, \
          resources: {{cpu: 500m, memory: 512Mi}}}}}}"
    ))?;
    eventually(PATIENCE, || {
        let [status, reason, message] = stage.condition(DEPLOYMENT, "Ready")?;
        let is_told = reason == "Downloading" && message.contains(" % of ");
        ensure!(is_told, "Ready is {status}, {reason}: {message}");
        Ok(())
    })
    .await?;
    let open = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/open')";
    let exec = format!("exec hub --namespace {EXAMPLE} -- python3 -c");
    output(stage.cluster.kubectl().command(&exec).arg(open))?;
    stage.kubectl(&format!(
        "wait {DEPLOYMENT} --namespace {EXAMPLE} --for=condition=Ready --timeout=120s"
    ))?;
    is_pinned(stage).await?;
    is_answered(stage).await?;
    let asked = stage.kubectl(&format!("logs hub --namespace {EXAMPLE}"))?;
    let weights = asked.matches("/model.safetensors").count();
    ensure!(
        weights == 1,
        "the weights were asked for {weights} times:\n{asked}"
    );

    stage.kubectl(&format!(
        "scale {DEPLOYMENT} --namespace {EXAMPLE} --replicas=2"
    ))?;
    eventually(PATIENCE, || {
        let status = stage.json(&format!("get {DEPLOYMENT}"))?["status"].clone();
        ensure!(status["readyReplicas"] == 2, "{status}");
        Ok(())
    })
    .await?;
    let asked_now = stage.kubectl(&format!("logs hub --namespace {EXAMPLE}"))?;
    ensure!(
        asked_now == asked,
        "the second replica asked too:\n{asked_now}"
    );
    clear(stage)
}

/// The pod of the hub, with the example's model on a claim.
fn open_hub(stage: &Stage) -> Result<()> {
    let folder = stage.cluster.folder().join("hub");
    fs::create_dir_all(&folder).context("making the hub's folder")?;
    for file in fs::read_dir(repository().join("examples/triage/model"))? {
        let file = file?;
        fs::copy(file.path(), folder.join(file.file_name())).context("filling the hub")?;
    }
    claim(stage, "hub", &folder)?;
    let pod = restricted_pod(EXAMPLE, "hub", PYTHON, "python3 -c");
    let mut pod: serde_json::Value = serde_json::from_str(&pod)?;
    let spec = &mut pod["spec"];
    spec["volumes"] =
        json!([{ "name": "models", "persistentVolumeClaim": { "claimName": "hub" } }]);
    let container = &mut spec["containers"][0];
    container["command"] = json!(["python3", "-c", include_str!("hub.py")]);
    container["env"] = json!([{ "name": "TOKEN", "value": TOKEN }]);
    container["volumeMounts"] = json!([{ "name": "models", "mountPath": "/models" }]);
    let port = json!({ "tcpSocket": { "port": 8080 }, "periodSeconds": 1 });
    container["readinessProbe"] = port;
    stage.cluster.kubectl().apply(&pod.to_string())?;
    stage.cluster.kubectl().apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: hub, namespace: {EXAMPLE}}}, \
          spec: {{selector: {{app: hub}}, ports: [{{port: 80, targetPort: 8080}}]}}}}"
    ))?;
    stage.kubectl(&format!(
        "wait pod/hub --namespace {EXAMPLE} --for=condition=Ready --timeout=60s"
    ))?;
    Ok(())
}

/// A claim on a folder of the machine, which both nodes have, and which anybody may write to.
fn claim(stage: &Stage, name: &str, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).context("making a volume")?;
    fs::set_permissions(folder, Permissions::from_mode(0o777)).context("opening a volume")?;
    let spec = "storageClassName: none, accessModes: [ReadWriteMany]";
    let folder = folder.display();
    stage.cluster.kubectl().apply(&format!(
        "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {name}}}, spec: {{{spec}, \
          capacity: {{storage: 1Gi}}, claimRef: {{namespace: {EXAMPLE}, name: {name}}}, \
          hostPath: {{path: '{folder}', type: Directory}}}}}}
---
{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: {name}, namespace: {EXAMPLE}}}, \
          spec: {{{spec}, volumeName: {name}, resources: {{requests: {{storage: 1Gi}}}}}}}}"
    ))?;
    Ok(())
}

/// What the first replica found is in the status, and in the ConfigMap of its revision.
async fn is_pinned(stage: &Stage) -> Result<()> {
    eventually(PATIENCE, || {
        let status = stage.json(&format!("get {DEPLOYMENT}"))?["status"].clone();
        let (model, revision) = (&status["model"], status["rollout"]["stable"].as_str());
        ensure!(model["revision"] == COMMIT, "{status}");
        ensure!(status["coldStart"]["download"].is_string(), "{status}");
        let config = format!("get configmap/from-hub-{}", revision.unwrap_or_default());
        let pinned = stage.json(&config)?["data"].clone();
        let is_same = pinned["digest"] == model["digest"] && pinned["resolved"] == COMMIT;
        ensure!(is_same, "{pinned} of {model}");
        Ok(())
    })
    .await
}

async fn is_answered(stage: &Stage) -> Result<()> {
    let question = Question::for_tier("small")?;
    let asks = [question.ask(&stage.address(EXAMPLE, "from-hub")?, "from-hub", false)];
    eventually(Duration::from_secs(20), || {
        let answers = stage.sdk.ask_on_node(stage, &asks)?;
        let answer = answers.first().context("one ask has one answer")?.text()?;
        ensure!(
            answer == question.expected_answer,
            "the model said {answer}"
        );
        Ok(())
    })
    .await
}

fn clear(stage: &Stage) -> Result<()> {
    for object in [
        DEPLOYMENT,
        "pod/hub",
        "service/hub",
        "secret/hub",
        "pvc/hub",
        "pvc/downloads",
    ] {
        stage.kubectl(&format!(
            "delete {object} --namespace {EXAMPLE} --timeout=60s"
        ))?;
    }
    stage.kubectl("delete pv/hub pv/downloads --timeout=60s")?;
    Ok(())
}
