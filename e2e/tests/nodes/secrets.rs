//! A Secret that a policy names and that does not exist yet.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::answers::Question;
use crate::changes::{NOTICE, both_are_answered};
use crate::sdk::Answer;
use crate::stage::{EXAMPLE, Stage, eventually};

/// As the example's policy, with a key for the frontier.
const POLICY: &str = "
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: { name: keyed, namespace: default }
spec:
  models: [keyed-assistant]
  tiers:
    - name: small
      deployment: { name: triage }
      accept: { threshold: \"0.9\" }
    - name: frontier
      endpoint:
        provider: OpenAICompatible
        model: stand-in-frontier
        baseUrl: http://frontier.default.svc/v1
        location: Inside
        apiKeySecretRef: { name: frontier-key, key: api-key }
";

pub async fn a_missing_secret_disables_only_its_tier_until_it_appears(stage: &Stage) -> Result<()> {
    stage.cluster.kubectl().apply(POLICY)?;
    let shown = missing_then_there(stage).await;
    stage.kubectl(&format!("delete routepolicy/keyed --namespace {EXAMPLE}"))?;
    stage.kubectl(&format!(
        "delete secret/frontier-key --namespace {EXAMPLE} --ignore-not-found"
    ))?;
    shown
}

async fn missing_then_there(stage: &Stage) -> Result<()> {
    eventually(NOTICE, || {
        let [status, reason, message] = stage.condition("routepolicy/keyed", "CredentialsReady")?;
        ensure!(
            status == "False" && reason == "CredentialsMissing",
            "{status} {reason}: {message}"
        );
        ensure!(
            message.contains("frontier-key"),
            "the message does not name it: {message:?}"
        );
        Ok(())
    })
    .await?;
    // The tier that needs nothing goes on, and so do other policies.
    let clear = Question::for_tier("small")?;
    eventually(NOTICE, || clear.is_answered_by(&[asked(stage, &clear)?])).await?;
    both_are_answered(stage)?;
    let unsure = Question::for_tier("frontier")?;
    let without = asked(stage, &unsure)?;
    ensure!(
        without.tier() != "frontier",
        "a tier without its key answered: {without:?}"
    );

    stage.kubectl(&format!(
        "create secret generic frontier-key --namespace {EXAMPLE} --from-literal=api-key=made-up"
    ))?;
    let patience = Duration::from_secs(120);
    eventually(patience, || {
        unsure.is_answered_by(&[asked(stage, &unsure)?])
    })
    .await?;
    eventually(NOTICE, || {
        let [status, ..] = stage.condition("routepolicy/keyed", "CredentialsReady")?;
        ensure!(status == "True", "CredentialsReady is {status}");
        Ok(())
    })
    .await?;
    both_are_answered(stage)
}

fn asked(stage: &Stage, question: &Question) -> Result<Answer> {
    let ask = question.ask(
        &stage.address(EXAMPLE, "weir-router")?,
        "keyed-assistant",
        false,
    );
    let mut answers = stage.sdk.ask_on_node(stage, &[ask])?;
    answers.pop().context("one ask has one answer")
}
