//! A deployment whose server is not ours: an image of somebody's with its own arguments, found by its OpenAI wire
//! alone.
//!
//! The server is our worker all the same, asked as if it were not: it is the one image here that speaks that wire.
//! Nobody reads its admin port, and its gRPC is not used. What is not covered: what other servers do otherwise.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::answers::Question;
use crate::sdk::Answer;
use crate::stage::{EXAMPLE, Stage, eventually, published};

const DEPLOYMENT: &str = "slmdeployment/foreign";
const MODEL: &str = "foreign-assistant";
/// A replica that nothing keeps waiting is ready in a few seconds.
const PATIENCE: Duration = Duration::from_secs(90);

pub async fn a_server_of_anothers_is_a_tier_and_rolls_as_any_other(stage: &Stage) -> Result<()> {
    stage.cluster.kubectl().apply(&objects("1"))?;
    stage.kubectl(&format!(
        "wait {DEPLOYMENT} --namespace {EXAMPLE} --for=condition=Ready --timeout=120s"
    ))?;
    eventually(PATIENCE, || is_told(stage)).await?;
    eventually(PATIENCE, || both_are_answered(stage)).await?;
    let before = stable(stage)?;

    stage.cluster.kubectl().apply(&objects("2"))?;
    eventually(PATIENCE, || {
        // Whichever revision answers.
        both_are_answered(stage)?;
        let after = stable(stage)?;
        ensure!(after != before, "{before} still serves");
        let pods = format!("get pods --namespace {EXAMPLE} --selector=weir.dev/revision={before}");
        let pods = stage.json(&pods)?;
        let left = pods["items"].as_array().map_or(0, Vec::len);
        ensure!(left == 0, "{left} pods of {before} are left");
        Ok(())
    })
    .await?;
    both_are_answered(stage)?;
    for object in [DEPLOYMENT, "routepolicy/foreign"] {
        stage.kubectl(&format!(
            "delete {object} --namespace {EXAMPLE} --timeout=60s"
        ))?;
    }
    Ok(())
}

/// The deployment and a policy over it; `waiting` is an argument that makes another revision.
fn objects(waiting: &str) -> String {
    let image = published("worker");
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: {{ name: foreign, namespace: {EXAMPLE} }}
spec:
  model: {{ source: file:///models/triage }}
  engine:
    image: {image}
    protocol: OpenAI
    args:
      - --model-name=tickets
      - --source=file://$(WEIR_MODEL)
      - --listen=0.0.0.0:$(WEIR_PORT)
      - --admin=127.0.0.1:9099
      - --threads=$(WEIR_THREADS)
      - --max-waiting={waiting}0
  resources: {{ cpu: 500m, memory: 512Mi }}
  drain: 5s
  rollout: {{ strategy: Rolling }}
---
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: {{ name: foreign, namespace: {EXAMPLE} }}
spec:
  models: [{MODEL}]
  tiers:
    - {{ name: small, deployment: {{ name: foreign }}, accept: {{ task: Choice, threshold: '0.9' }} }}
    - name: frontier
      endpoint:
        provider: OpenAICompatible
        model: stand-in-frontier
        baseUrl: http://frontier.{EXAMPLE}.svc/v1
"
    )
}

/// What of its status only its pod can have said.
fn is_told(stage: &Stage) -> Result<()> {
    let [status, reason, message] = stage.condition(DEPLOYMENT, "ModelReady")?;
    ensure!(
        status == "True",
        "ModelReady is {status}, {reason}: {message}"
    );
    let status = stage.json(&format!("get {DEPLOYMENT}"))?["status"].clone();
    ensure!(status["coldStart"]["totalText"].is_string(), "{status}");
    ensure!(status["model"].is_null(), "{status}");
    Ok(())
}

/// A sure ticket by the server, an ambiguous one by the frontier: its evidence is read from its wire.
fn both_are_answered(stage: &Stage) -> Result<()> {
    for tier in ["small", "frontier"] {
        let question = Question::for_tier(tier)?;
        let url = stage.address(EXAMPLE, "weir-router")?;
        let asks = [false, true].map(|stream| question.ask(&url, MODEL, stream));
        let answers = stage.sdk.ask_on_node(stage, &asks)?;
        question.is_answered_by(&answers)?;
        let attempt = first_attempt(stage, &answers)?;
        ensure!(attempt["provider"] == "openai_compatible", "{attempt}");
    }
    Ok(())
}

fn first_attempt(stage: &Stage, answers: &[Answer]) -> Result<Value> {
    let answer = answers.first().context("an ask has an answer")?;
    let id = answer.headers.get("x-weir-decision");
    let record = stage.decision(EXAMPLE, id.context("an answer has a decision")?)?;
    Ok(record["attempts"][0].clone())
}

fn stable(stage: &Stage) -> Result<String> {
    let status = stage.json(&format!("get {DEPLOYMENT}"))?["status"].clone();
    let stable = status["rollout"]["stable"].as_str();
    Ok(stable.context("a revision serves")?.to_owned())
}
