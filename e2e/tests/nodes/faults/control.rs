//! What controls is away, and the data plane does not notice: the operator, the API server, etcd.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{ANSWER, RECOVERY, change, go_on, is_whole, nothing_was_restarted, runs, status, wish};
use crate::changes::{bring_operator_back, take_operator_away};
use crate::stage::{Stage, eventually};
use crate::traffic::{Traffic, are_whole};

/// What was asked for meanwhile is done afterwards: more replicas first, and then another revision.
pub async fn without_any_operator_asks_are_answered_and_changes_wait_for_it(
    stage: &Stage,
) -> Result<()> {
    let before = runs(stage)?;
    let stable = status(stage)?["rollout"]["stable"].clone();
    let clients = Traffic::begin(stage, &wish(stage)?)?;
    let count = take_operator_away(stage).await?;
    stage.pause(Duration::from_secs(300)).await;
    let kept = nothing_was_restarted(stage, &before);
    change(stage, &json!({ "replicas": 3 }))?;
    bring_operator_back(stage, count)?;
    kept?;
    is_as(stage, "the third replica", |status| {
        status["readyReplicas"] == 3
    })
    .await?;
    change(stage, &json!({ "replicas": 2, "drain": "11s" }))?;
    is_as(stage, "another revision", |status| {
        let rollout = &status["rollout"];
        rollout["stable"] != stable && rollout["canary"] == "" && status["readyReplicas"] == 2
    })
    .await?;
    is_whole(stage).await?;
    are_whole(&clients.end()?, ANSWER, 60)
}

async fn is_as(stage: &Stage, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<()> {
    eventually(RECOVERY, || {
        let status = status(stage)?;
        ensure!(is_it(&status), "{what} has not come: {status}");
        Ok(())
    })
    .await
}

pub async fn without_the_api_server_asks_are_answered_and_nothing_is_restarted(
    stage: &mut Stage,
) -> Result<()> {
    let before = runs(stage)?;
    let clients = Traffic::begin(stage, &wish(stage)?)?;
    go_on(&clients, 10).await?;
    stage.cluster.kill_api_server();
    stage.pause(Duration::from_secs(120)).await;
    stage.cluster.start_api_server().await?;
    is_whole(stage).await?;
    go_on(&clients, 10).await?;
    are_whole(&clients.end()?, ANSWER, 40)?;
    nothing_was_restarted(stage, &before)
}

pub async fn a_restart_of_etcd_costs_no_answer_and_restarts_nothing(
    stage: &mut Stage,
) -> Result<()> {
    let before = runs(stage)?;
    let clients = Traffic::begin(stage, &wish(stage)?)?;
    go_on(&clients, 10).await?;
    stage.cluster.kill_etcd();
    stage.pause(Duration::from_secs(30)).await;
    stage.cluster.start_etcd().await?;
    is_whole(stage).await?;
    go_on(&clients, 10).await?;
    are_whole(&clients.end()?, ANSWER, 40)?;
    nothing_was_restarted(stage, &before)
}
