//! Where an ask begins: what a rule and a classifier ask of a real model, and what the record says of it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::answers::Question;
use crate::changes::NOTICE;
use crate::stage::{EXAMPLE, Stage, eventually};

/// As the example's policy; its model is the classifier as well.
const POLICY: &str = "
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: { name: routed, namespace: default }
spec:
  models: [routed]
  tiers:
    - name: small
      deployment: { name: triage }
      accept: { task: Choice, threshold: \"0.9\" }
    - name: frontier
      endpoint:
        provider: OpenAICompatible
        model: stand-in-frontier
        baseUrl: http://frontier.default.svc/v1
  classifier:
    deployment: { name: triage }
    labels: [{ label: billing, start: small }, { label: integrations, start: frontier }]
";

pub async fn a_real_model_says_where_asks_begin_and_how_long_they_are(stage: &Stage) -> Result<()> {
    stage.cluster.kubectl().apply(POLICY)?;
    let shown = labels_and_lengths(stage).await;
    stage.kubectl(&format!("delete routepolicy/routed --namespace {EXAMPLE}"))?;
    shown
}

async fn labels_and_lengths(stage: &Stage) -> Result<()> {
    stage.kubectl("wait routepolicy/routed --for=condition=Ready --timeout=60s")?;
    let clear = Question::for_tier("small")?;
    let unsure = Question::for_tier("frontier")?;
    let record = eventually(NOTICE, || record(stage, &clear, "small")).await?;
    is_classified(&record, "small", "billing")?;
    is_classified(
        &self::record(stage, &unsure, "frontier")?,
        "frontier",
        "integrations",
    )?;

    // As many tokens as the replica read; what a rule is over is not included.
    let tokens = record["attempts"][0]["tokensIn"].as_u64();
    let tokens = tokens.context("the small tier counted its prompt")?;
    over(stage, tokens - 1)?;
    let why = format!("prompt {tokens} tokens over {}", tokens - 1);
    eventually(NOTICE, || {
        let record = self::record(stage, &clear, "frontier")?;
        let expected = json!({ "by": "rule", "name": "long", "why": why });
        is_routed(&record, &expected)
    })
    .await?;
    over(stage, tokens)?;
    eventually(NOTICE, || {
        is_classified(&self::record(stage, &clear, "small")?, "small", "billing")
    })
    .await
}

/// Has the policy begin asks of more tokens at the frontier.
fn over(stage: &Stage, tokens: u64) -> Result<()> {
    let rule = json!([{
        "name": "long", "when": { "promptTokens": { "over": tokens } }, "then": { "start": "frontier" },
    }]);
    let mut patch = stage.cluster.kubectl().command(&format!(
        "patch routepolicy routed --namespace {EXAMPLE} --type=merge"
    ));
    let patch = patch.arg(format!("--patch={}", json!({ "spec": { "rules": rule } })));
    weir_e2e::succeed(patch)
}

/// The record of a question that the tier answers rightly.
fn record(stage: &Stage, question: &Question, tier: &str) -> Result<Value> {
    let url = stage.address(EXAMPLE, "weir-router")?;
    let answers = stage
        .sdk
        .ask_on_node(stage, &[question.ask(&url, "routed", false)])?;
    let answer = answers.first().context("one ask has one answer")?;
    answer.is(tier, &question.expected_answer)?;
    stage.decision(EXAMPLE, &answer.headers["x-weir-decision"])
}

fn is_classified(record: &Value, tier: &str, label: &str) -> Result<()> {
    is_routed(record, &json!({ "by": "classifier", "name": tier }))?;
    let why = record["route"]["why"].as_str().unwrap_or_default();
    let sure = why.strip_prefix(&format!("label {label:?} at "));
    let sure: f64 = sure.with_context(|| format!("why: {why}"))?.parse()?;
    ensure!(sure > 0.5, "{why}, of two");
    let attempts = record["attempts"].as_array().map_or(0, Vec::len);
    ensure!(attempts == 1, "{attempts} tiers were asked: {record}");
    Ok(())
}

/// The route has every member of `expected`.
fn is_routed(record: &Value, expected: &Value) -> Result<()> {
    let members = expected.as_object().context("a route has members")?;
    for (name, value) in members {
        ensure!(
            record["route"][name] == *value,
            "{expected} was expected of {record}"
        );
    }
    Ok(())
}
