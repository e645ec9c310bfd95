//! The cluster itself: what the later stories take for granted of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_e2e::cluster::PYTHON;
use weir_e2e::output;

use crate::stage::{Stage, eventually, restricted_pod};

const NAMESPACE: &str = "base";
/// Asks a URL and prints the status.
const FETCH: &str =
    "import sys,urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=2).status)";

pub async fn pods_run_on_both_nodes_restricted_and_within_their_limits(
    stage: &Stage,
) -> Result<()> {
    stage.restricted_namespace(NAMESPACE)?;
    for node in 1..=2 {
        let name = format!("web-{node}");
        let pod = restricted_pod(NAMESPACE, &name, PYTHON, "python3 -m http.server 8080");
        let mut pod: serde_json::Value = serde_json::from_str(&pod)?;
        pod["spec"]["nodeName"] = format!("node-{node}").into();
        pod["metadata"]["labels"]["role"] = "web".into();
        stage.cluster.kubectl().apply(&pod.to_string())?;
    }
    stage.kubectl(&format!(
        "wait pod --all --namespace {NAMESPACE} --for=condition=Ready --timeout=60s"
    ))?;
    let script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true";
    let mut exec = stage
        .cluster
        .kubectl()
        .command(&format!("exec --namespace {NAMESPACE} web-1 --"));
    let limit = output(exec.args(["sh", "-c", script]))?;
    ensure!(
        limit.trim() == "268435456",
        "a limit of 256 MiB reads {limit:?} in the pod"
    );
    let privileged = restricted_pod(NAMESPACE, "root", PYTHON, "id").replace("true", "false");
    let said = stage.cluster.kubectl().said("apply -f -", &privileged)?;
    ensure!(
        said.stderr.contains("violates PodSecurity"),
        "a pod as root got in: {said:?}"
    );
    Ok(())
}

pub async fn a_service_answers_by_its_name_in_pods_and_by_its_address_on_nodes(
    stage: &Stage,
) -> Result<()> {
    stage.cluster.kubectl().apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: {NAMESPACE}}}, \
          spec: {{selector: {{role: web}}, ports: [{{port: 80, targetPort: 8080}}]}}}}"
    ))?;
    for name in ["web", "web.base.svc", "web.base.svc.cluster.local"] {
        eventually(Duration::from_secs(20), || {
            fetch(stage, "web-1", &format!("http://{name}/"))
        })
        .await
        .with_context(|| format!("asking for {name} in a pod"))?;
    }
    let address = stage.address(NAMESPACE, "web")?.replace("/v1", "/");
    for node in 0..2 {
        let mut fetch = stage.cluster.on_node(node, "python3 -c");
        output(fetch.args([FETCH, &address])).context("asking the Service's address on a node")?;
    }
    Ok(())
}

pub async fn a_network_policy_blocks_whom_it_does_not_name(stage: &Stage) -> Result<()> {
    let pods = stage.json(&format!("get pods --namespace {NAMESPACE}"))?;
    let address = |name: &str| {
        let pods = pods["items"].as_array()?;
        let pod = pods.iter().find(|pod| pod["metadata"]["name"] == name)?;
        Some(format!("http://{}:8080/", pod["status"]["podIP"].as_str()?))
    };
    let second = address("web-2").context("the second pod has an address")?;
    let allow = |peer: &str| {
        stage.cluster.kubectl().apply(&format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, \
              metadata: {{name: web, namespace: {NAMESPACE}}}, spec: {{ \
              podSelector: {{matchLabels: {{app: web-2}}}}, \
              ingress: [{{from: [{{podSelector: {{matchLabels: {{app: {peer}}}}}}}], \
              ports: [{{port: 8080}}]}}]}}}}"
        ))
    };
    allow("nobody")?;
    eventually(Duration::from_secs(20), || {
        ensure!(
            fetch(stage, "web-1", &second).is_err(),
            "a pod that is not named got through"
        );
        Ok(())
    })
    .await?;
    allow("web-1")?;
    eventually(Duration::from_secs(20), || fetch(stage, "web-1", &second)).await?;
    stage.kubectl(&format!("delete namespace {NAMESPACE} --wait=false"))?;
    Ok(())
}

fn fetch(stage: &Stage, pod: &str, url: &str) -> Result<()> {
    let mut exec = stage
        .cluster
        .kubectl()
        .command(&format!("exec --namespace {NAMESPACE} {pod} --"));
    output(exec.args(["python3", "-c", FETCH, url])).map(drop)
}
