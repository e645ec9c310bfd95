//! What goes away or goes wrong while clients ask.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::answers::{MODEL, Question};
use crate::installing::SYSTEM;
use crate::stage::{EXAMPLE, Stage, eventually};

/// How long the operator may take to say something about a change.
pub const NOTICE: Duration = Duration::from_secs(60);

pub async fn requests_are_served_while_the_operator_is_away(stage: &Stage) -> Result<()> {
    let count = take_operator_away(stage).await?;
    let served = both_are_answered(stage);
    let restarted = match served.is_ok() {
        true => both_are_answered_by_a_fresh_router(stage).await,
        false => Ok(()),
    };
    bring_operator_back(stage, count)?;
    served.and(restarted)
}

/// Ends every pod of the operator, and says how many there were to be.
pub async fn take_operator_away(stage: &Stage) -> Result<i64> {
    let count = stage.json(&format!(
        "get deployment weir-operator --namespace {SYSTEM}"
    ))?;
    scale_operator(stage, 0)?;
    eventually(NOTICE, || {
        let pods = stage.kubectl(&format!("get pods --namespace {SYSTEM} --output=name"))?;
        ensure!(pods.is_empty(), "an operator is still there: {pods}");
        Ok(())
    })
    .await?;
    Ok(count["spec"]["replicas"].as_i64().unwrap_or(1))
}

/// Starts so many pods of the operator, and waits for them.
pub fn bring_operator_back(stage: &Stage, count: i64) -> Result<()> {
    scale_operator(stage, count)?;
    stage.kubectl(&format!(
        "rollout status deployment/weir-operator --namespace {SYSTEM} --timeout=60s"
    ))?;
    Ok(())
}

fn scale_operator(stage: &Stage, count: i64) -> Result<()> {
    stage.kubectl(&format!(
        "scale deployment weir-operator --namespace {SYSTEM} --replicas={count}"
    ))?;
    Ok(())
}

pub async fn requests_are_served_again_after_an_idle_worker_is_deleted(
    stage: &Stage,
) -> Result<()> {
    let chosen = "--selector=weir.dev/component=worker,weir.dev/deployment=triage";
    let names = || {
        stage.kubectl(&format!(
            "get pods {chosen} --namespace {EXAMPLE} --output=name"
        ))
    };
    let before = names()?;
    stage.kubectl(&format!(
        "delete pods {chosen} --namespace {EXAMPLE} --timeout=60s"
    ))?;
    eventually(NOTICE, || both_are_answered(stage)).await?;
    ensure!(names()? != before, "the worker was to be another one");
    Ok(())
}

/// Its pod is the same, and its process another one: what that knows is from the pod's last run.
pub async fn a_router_that_starts_while_the_api_server_is_away_serves_what_it_last_saw(
    stage: &mut Stage,
) -> Result<()> {
    let url = stage.address(EXAMPLE, "weir-router")?;
    let before = only_router(stage)?;
    let [node, container] = [
        &before["spec"]["nodeName"],
        &before["status"]["containerStatuses"][0]["containerID"],
    ]
    .map(|value| value.as_str().unwrap_or_default());
    let container = container.trim_start_matches("containerd://");
    stage.cluster.kill_api_server();
    let served = match stage.cluster.kill_container(node, container) {
        Ok(()) => eventually(NOTICE, || both_are_answered_at(&url, stage)).await,
        Err(error) => Err(error),
    };
    stage.cluster.start_api_server().await?;
    served.context("while the API server was away")?;
    let uid = &before["metadata"]["uid"];
    eventually(NOTICE, || {
        let now = only_router(stage)?;
        ensure!(now["metadata"]["uid"] == *uid, "the pod is another one");
        let restarts = &now["status"]["containerStatuses"][0]["restartCount"];
        ensure!(
            restarts == 1,
            "its router was started again {restarts} times"
        );
        both_are_answered(stage)
    })
    .await
}

fn only_router(stage: &Stage) -> Result<Value> {
    let chosen = format!("--selector=weir.dev/component=router --namespace {EXAMPLE}");
    let pods = stage.json(&format!("get pods {chosen}"))?;
    let pods = pods["items"].as_array().map_or(&[][..], Vec::as_slice);
    ensure!(
        pods.len() == 1,
        "one router was expected, not {}",
        pods.len()
    );
    Ok(pods[0].clone())
}

/// The update takes the name away that clients use: were it served, they would notice.
pub async fn an_invalid_update_of_a_policy_leaves_the_old_one_serving(stage: &Stage) -> Result<()> {
    let patch = |models: &str, classifier: &str| {
        stage.kubectl(&format!(
            r#"patch routepolicy support --type=merge --patch={{"spec":{{"models":["{models}"],"classifier":{classifier}}}}}"#
        ))
    };
    patch("renamed", r#"{"learned":{}}"#)?;
    let told = eventually(NOTICE, || {
        let [status, reason, message] = stage.condition("routepolicy/support", "Stalled")?;
        ensure!(
            status == "True" && reason == "NotImplemented",
            "{status} {reason}: {message}"
        );
        ensure!(
            message.contains("spec.classifier.learned"),
            "the message is {message:?}"
        );
        Ok(())
    })
    .await;
    let served = both_are_answered(stage);
    // It never saw the policy as it was: it has to find it in the leader's ConfigMap.
    let restarted = both_are_answered_by_a_fresh_router(stage).await;
    patch(MODEL, "null")?;
    stage.kubectl("wait routepolicy/support --for=condition=Ready --timeout=60s")?;
    told.and(served).and(restarted)?;
    both_are_answered(stage)
}

/// Every router of the example's namespace goes, and others come.
async fn both_are_answered_by_a_fresh_router(stage: &Stage) -> Result<()> {
    let chosen = format!("--selector=weir.dev/component=router --namespace {EXAMPLE}");
    let names = || stage.kubectl(&format!("get pods {chosen} --output=name"));
    let before = names()?;
    ensure!(!before.is_empty(), "there is a router");
    stage.kubectl(&format!("delete pods {chosen} --timeout=60s"))?;
    eventually(NOTICE, || both_are_answered(stage)).await?;
    let now = names()?;
    ensure!(
        !before.lines().any(|name| now.contains(name)),
        "routers were to be others: {before} and {now}"
    );
    Ok(())
}

/// The example's two questions, streamed and not.
pub fn both_are_answered(stage: &Stage) -> Result<()> {
    both_are_answered_at(&stage.address(EXAMPLE, "weir-router")?, stage)
}

fn both_are_answered_at(url: &str, stage: &Stage) -> Result<()> {
    for tier in ["small", "frontier"] {
        let question = Question::for_tier(tier)?;
        question.is_answered_by(&question.asked_at(url, stage)?)?;
    }
    Ok(())
}
