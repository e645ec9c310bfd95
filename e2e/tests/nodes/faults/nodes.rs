//! A node whose programs die under its pods.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{ANSWER, go_on, is_whole, nothing_was_restarted, running, runs, wish};
use crate::stage::Stage;
use crate::traffic::{Traffic, are_whole};

/// Its containers go on by themselves, and are found again.
pub async fn kubelet_and_containerd_killed_cost_no_answer_and_restart_no_pod(
    stage: &mut Stage,
) -> Result<()> {
    let before = runs(stage)?;
    let workers = running(stage, "worker")?;
    let node = workers[0]["spec"]["nodeName"].as_str();
    let node = node.context("a worker is on a node")?.to_owned();
    ensure!(
        workers.iter().any(|pod| pod["spec"]["nodeName"] != *node),
        "both workers are on {node}"
    );
    let clients = Traffic::begin(stage, &wish(stage)?)?;
    go_on(&clients, 10).await?;
    stage.cluster.kill_node_programs(&node)?;
    // In full length longer than the cluster believes in a node that says nothing.
    stage.pause(Duration::from_secs(60)).await;
    go_on(&clients, 10).await?;
    stage.cluster.start_node_programs(&node).await?;
    is_whole(stage).await?;
    go_on(&clients, 10).await?;
    are_whole(&clients.end()?, ANSWER, 60)?;
    nothing_was_restarted(stage, &before)
}
