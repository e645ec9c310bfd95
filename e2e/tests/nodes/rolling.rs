//! Routers that are replaced while they write.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::answers::{MODEL, Question};
use crate::changes::NOTICE;
use crate::sdk::Answer;
use crate::stage::{EXAMPLE, Stage, eventually};

/// So slowly that an answer of the frontier takes longer than a roll.
const SLOWLY: &str = "drip=25ms";
const STREAMS: usize = 3;

/// Each stream began at the router that left, and ended whole from there.
pub async fn a_roll_of_routers_cuts_no_stream(stage: &Stage) -> Result<()> {
    let question = Question::for_tier("frontier")?;
    let url = stage.address(EXAMPLE, "weir-router")?;
    let ask = question.ask(&url, MODEL, true);
    let [before] = &stage.routers(EXAMPLE)?[..] else {
        bail!("one router was expected");
    };
    stage.plan_fault((EXAMPLE, "frontier"), SLOWLY, STREAMS)?;
    let read = || {
        let answers = stage.sdk.ask_on_node(stage, std::slice::from_ref(&ask))?;
        answers.into_iter().next().context("one ask has one answer")
    };
    let answers = thread::scope(|threads| -> Result<Vec<Answer>> {
        let streams: Vec<_> = (0..STREAMS).map(|_| threads.spawn(read)).collect();
        let rolled = roll(stage, before);
        let still = streams.iter().filter(|stream| !stream.is_finished());
        let still = still.count();
        // Joined whatever happened, so that nothing outlives the story.
        let answers = streams.into_iter().map(|stream| match stream.join() {
            Ok(answer) => answer,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        let answers: Result<Vec<Answer>> = answers.collect();
        rolled?;
        ensure!(
            still == STREAMS,
            "only {still} of {STREAMS} streams outlasted the roll"
        );
        answers
    })?;
    for answer in &answers {
        // Who answers was not known yet when the headers went.
        ensure!(
            answer.text()? == question.expected_answer,
            "{:?} was expected of {answer:?}",
            question.expected_answer
        );
        ensure!(
            answer.finish.as_deref() == Some("stop"),
            "no end: {answer:?}"
        );
    }
    eventually(NOTICE, || {
        let pods = stage.kubectl(&format!("get pods --namespace {EXAMPLE} --output=name"))?;
        ensure!(!pods.contains(before), "{before} is still there");
        Ok(())
    })
    .await
}

/// Has the router replaced once it has every stream in hand, and asks the new one.
fn roll(stage: &Stage, before: &str) -> Result<()> {
    until_in_hand(stage, before)?;
    let router = format!("deployment/weir-router --namespace {EXAMPLE}");
    stage.kubectl(&format!("rollout restart {router}"))?;
    stage.kubectl(&format!("rollout status {router} --timeout=60s"))?;
    let leaving = stage.json(&format!("get pod {before} --namespace {EXAMPLE}"))?;
    ensure!(
        leaving["metadata"]["deletionTimestamp"] != Value::Null,
        "{before} was not told to leave"
    );
    let clear = Question::for_tier("small")?;
    let url = stage.address(EXAMPLE, "weir-router")?;
    let ask = clear.ask(&url, MODEL, true);
    let answers = stage.sdk.ask_on_node(stage, &[ask])?;
    clear.is_answered_by(&answers)
}

fn until_in_hand(stage: &Stage, router: &str) -> Result<()> {
    let metrics = format!("/api/v1/namespaces/{EXAMPLE}/pods/{router}:9090/proxy/metrics");
    let expected = format!("weir_router_asks_running {STREAMS}");
    let mut metrics_said = String::new();
    for _ in 0..200 {
        metrics_said = stage.kubectl(&format!("get --raw {metrics}"))?;
        if metrics_said.lines().any(|line| line == expected) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    bail!("never in hand: {expected}\n{metrics_said}")
}
