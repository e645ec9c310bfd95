//! From an empty cluster to the example, ready.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use weir_e2e::{repository, succeed};

use crate::answers::Question;
use crate::network::api_server;
use crate::stage::{EXAMPLE, Stage, eventually};

/// The namespace of the operator.
pub const SYSTEM: &str = "weir-system";

pub async fn our_images_are_built_from_their_dockerfiles(stage: &Stage) -> Result<()> {
    stage.load_images()
}

pub async fn the_chart_passes_its_lint_and_installs(stage: &Stage) -> Result<()> {
    let chart = repository().join("charts/weir");
    succeed(stage.cluster.helm("lint --strict")?.arg(&chart))?;
    stage.restricted_namespace(SYSTEM)?;
    install(stage)
}

/// Installs the chart as a user would, and waits for the operator.
pub fn install(stage: &Stage) -> Result<()> {
    let mut helm = chart_with(stage, "install")?;
    succeed(helm.arg(repository().join("charts/weir")))
}

/// Helm, about to `install` or `upgrade` with this cluster's values; the chart is the last word.
pub fn chart_with(stage: &Stage, verb: &str) -> Result<Command> {
    let mut helm = stage.cluster.helm(&format!(
        "{verb} weir --namespace {SYSTEM} --wait --timeout 90s"
    ))?;
    // The addresses of the cluster's Services and pods, as on any cluster.
    helm.args(["--set", "clusterCIDRs={198.18.0.0/15}"]);
    let networks = network_policies(&api_server(stage)?).to_string();
    helm.args(["--set-json", &format!("networkPolicies={networks}")]);
    Ok(helm)
}

/// What of the network differs from one cluster to the next: the API server, by which tests read
/// metrics too; and the hub of a test, which listens on another port than its Service.
fn network_policies((address, port): &(String, u16)) -> serde_json::Value {
    let api_server = format!("{address}/32");
    let hub = json!({ "podSelector": { "matchLabels": { "app": "hub" } } });
    json!({
        "scrapers": [{ "ipBlock": { "cidr": api_server } }],
        "apiServer": { "cidrs": [api_server], "ports": [port] },
        "egress": { "workers": [{ "to": [hub] }] },
    })
}

pub async fn the_example_applied_as_it_is_becomes_ready(stage: &Stage) -> Result<()> {
    stage.kubectl(&format!(
        "label namespace {EXAMPLE} pod-security.kubernetes.io/enforce=restricted"
    ))?;
    let began = Instant::now();
    stage
        .cluster
        .kubectl()
        .apply_path(&repository().join("examples/triage"))?;
    for object in ["slmdeployment/triage", "routepolicy/support"] {
        stage.kubectl(&format!(
            "wait {object} --for=condition=Ready --timeout=120s"
        ))?;
    }
    let ready = began.elapsed();
    stage.kubectl("rollout status deployment/frontier --timeout=60s")?;
    let question = Question::for_tier("small")?;
    // Ready speaks of pods; what a node does to reach a Service follows in its own time.
    eventually(Duration::from_secs(30), || {
        question.is_answered_by(&question.asked_on_node(stage)?)
    })
    .await?;
    println!(
        "from apply to Ready {ready:.1?}, to the first answers {:.1?}",
        began.elapsed()
    );
    for (namespace, deployment) in [(SYSTEM, "weir-operator"), (EXAMPLE, "weir-router")] {
        print_memory(stage, namespace, &format!("deployment/{deployment}"))?;
    }
    let worker = "get pods --selector=weir.dev/component=worker --output=name";
    print_memory(stage, EXAMPLE, stage.kubectl(worker)?.trim())
}

/// What a program of ours holds in memory when nobody asks anything.
fn print_memory(stage: &Stage, namespace: &str, object: &str) -> Result<()> {
    let status = stage.kubectl(&format!(
        "exec {object} --namespace {namespace} -- cat /proc/1/status"
    ))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    println!(
        "{object} holds {}",
        resident.context("a process has a resident set")?.trim()
    );
    Ok(())
}
