//! What a router has to do with that is outside: a provider that an authority of its own vouches for,
//! a store of records, a proxy.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weir_e2e::{repository, succeed};

use crate::answers::Question;
use crate::changes::NOTICE;
use crate::installing::chart_with;
use crate::provider::{self, NAMESPACE, PASSWORD, USER, stored};
use crate::sdk::Answer;
use crate::stage::{Stage, eventually};

/// One provider by four ways: with its authority, without, plainly, and as one of the cluster.
const POLICIES: &str = "
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: { name: known, namespace: outside }
spec:
  models: [known]
  tiers:
    - name: provider
      endpoint:
        provider: OpenAICompatible
        model: stand-in-frontier
        baseUrl: https://provider.outside.svc/v1
        caBundle: { configMapRef: { name: authorities, key: ca.pem } }
  records: { to: s3://models/decisions, credentialsSecretRef: { name: store } }
---
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: { name: unknown, namespace: outside }
spec:
  models: [unknown]
  tiers:
    - name: provider
      endpoint:
        provider: OpenAICompatible
        model: stand-in-frontier
        baseUrl: https://provider.outside.svc/v1
---
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: { name: plain, namespace: outside }
spec:
  models: [plain]
  tiers:
    - name: provider
      endpoint:
        provider: OpenAICompatible
        model: stand-in-frontier
        baseUrl: http://provider.outside.svc/v1
---
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: { name: inside, namespace: outside }
spec:
  models: [inside]
  tiers:
    - name: provider
      endpoint:
        provider: OpenAICompatible
        model: stand-in-frontier
        baseUrl: http://provider.outside.svc/v1
        location: Inside
";

/// The router's environment names a proxy that nobody is: it is never asked.
pub async fn an_endpoint_is_asked_only_where_its_authority_is_known(stage: &Stage) -> Result<()> {
    let authority = provider::open(stage)?;
    stage.cluster.kubectl().apply(POLICIES)?;
    name_a_proxy_in_the_environment(stage).await?;
    eventually(NOTICE, || {
        let [status, reason, message] = credentials(stage)?;
        let is_told = status == "False"
            && reason == "CredentialsMissing"
            && message.contains("entry ca.pem of ConfigMap authorities is missing");
        ensure!(is_told, "{status} {reason}: {message}");
        is_answered(stage, "plain")?;
        is_answered(stage, "inside")
    })
    .await?;
    is_refused(stage, "known")?;
    is_refused(stage, "unknown")?;

    let bundle = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "authorities", "namespace": NAMESPACE },
        "data": { "ca.pem": authority },
    });
    stage.cluster.kubectl().apply(&bundle.to_string())?;
    hasten(stage, "authority")?;
    eventually(NOTICE, || is_answered(stage, "known")).await?;
    is_refused(stage, "unknown")
}

pub async fn records_are_in_a_store_once_its_credentials_are_right(stage: &Stage) -> Result<()> {
    let without = decision(stage)?;
    let before = records(stage, "dropped")?;
    // Lines go in their order: what is counted from here on is the first one or came after it.
    decision(stage)?;
    eventually(NOTICE, || {
        let [status, _, message] = credentials(stage)?;
        let is_told = message.contains(
            "records are not written: entry aws_access_key_id of Secret store is missing",
        );
        ensure!(status == "False" && is_told, "{status}: {message}");
        let dropped = records(stage, "dropped")?;
        ensure!(dropped > before, "{dropped} were dropped, as before");
        Ok(())
    })
    .await?;

    give(stage, "another-password")?;
    eventually(NOTICE, || {
        let [status, _, message] = credentials(stage)?;
        ensure!(status == "True", "{message}");
        Ok(())
    })
    .await?;
    let wrong = decision(stage)?;
    eventually(NOTICE, || {
        let log = stage.kubectl(&format!(
            "logs deployment/weir-router --namespace {NAMESPACE}"
        ))?;
        ensure!(log.contains("the store answers 403"), "the log is {log}");
        ensure!(
            !log.contains("another-password"),
            "a password is in the log"
        );
        Ok(())
    })
    .await?;
    is_answered(stage, "known")?;

    give(stage, PASSWORD)?;
    let right = decision(stage)?;
    let lines = arrived(stage, &right).await?;
    eventually(NOTICE, || {
        ensure!(records(stage, "written")? > 0, "none was counted");
        Ok(())
    })
    .await?;
    let has = |id: &str| lines.iter().any(|line| line["id"] == id);
    ensure!(
        has(&wrong),
        "what was refused was not tried again: {lines:?}"
    );
    ensure!(!has(&without), "what was dropped is there: {lines:?}");
    let secrets = lines.iter().any(|line| line.get("text").is_some());
    ensure!(!secrets, "there is text where none was wanted: {lines:?}");
    Ok(())
}

/// The provider lets nobody else in, and the environment still names a proxy that nobody is.
pub async fn what_leaves_the_cluster_goes_by_the_proxy_of_the_chart(stage: &Stage) -> Result<()> {
    stage.cluster.kubectl().apply(&format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, \
          metadata: {{name: provider, namespace: {NAMESPACE}}}, spec: {{ \
          podSelector: {{matchLabels: {{app: provider}}}}, \
          ingress: [{{from: [{{podSelector: {{matchLabels: {{app: proxy}}}}}}]}}]}}}}"
    ))?;
    ensure!(
        asked_of_proxy(stage)?.is_empty(),
        "the proxy was asked before anybody named it"
    );

    let mut upgrade = chart_with(stage, "upgrade")?;
    let proxy = format!("router.egressProxy=http://proxy.{NAMESPACE}.svc:3128");
    succeed(
        upgrade
            .args(["--set", &proxy])
            .arg(repository().join("charts/weir")),
    )?;
    let url = format!("provider.{NAMESPACE}.svc");
    for (model, expected) in [
        ("known", format!("CONNECT {url}:443 ")),
        ("plain", format!("POST http://{url}/v1/chat/completions ")),
    ] {
        // A router that leaves may answer by a connection that it had before.
        eventually(NOTICE, || {
            is_answered(stage, model)?;
            let asked = asked_of_proxy(stage)?;
            ensure!(
                asked.contains(&expected),
                "{expected:?} was expected in {asked}"
            );
            Ok(())
        })
        .await?;
    }
    // By the proxy it would be answered.
    eventually(NOTICE, || is_refused(stage, "inside")).await
}

async fn name_a_proxy_in_the_environment(stage: &Stage) -> Result<()> {
    eventually(NOTICE, || {
        stage.kubectl(&format!(
            "set env deployment/weir-router --namespace {NAMESPACE} HTTP_PROXY=http://127.0.0.1:9 \
             http_proxy=http://127.0.0.1:9 HTTPS_PROXY=http://127.0.0.1:9 ALL_PROXY=http://127.0.0.1:9"
        ))
    })
    .await?;
    let router = format!("deployment/weir-router --namespace {NAMESPACE}");
    stage.kubectl(&format!("rollout status {router} --timeout=60s"))?;
    let env = "jsonpath={.spec.template.spec.containers[0].env[*].name}";
    let names = stage.kubectl(&format!("get {router} --output={env}"))?;
    ensure!(names.contains("HTTPS_PROXY"), "the environment has {names}");
    Ok(())
}

/// What tinyproxy's log says of requests.
fn asked_of_proxy(stage: &Stage) -> Result<String> {
    let log = stage.kubectl(&format!("logs proxy --namespace {NAMESPACE}"))?;
    let requests = log.lines().filter(|line| line.contains("Request"));
    Ok(requests.collect::<Vec<_>>().join("\n"))
}

/// Gives the store's credentials with a password, to a router that has none or others.
fn give(stage: &Stage, password: &str) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "store", "namespace": NAMESPACE },
        "stringData": {
            "endpoint": format!("http://store.{NAMESPACE}.svc"),
            "aws_access_key_id": USER,
            "aws_secret_access_key": password,
        },
    });
    stage.cluster.kubectl().apply(&secret.to_string())?;
    hasten(stage, password)
}

/// Has the kubelet look after the router's files now, and not when it would next.
fn hasten(stage: &Stage, why: &str) -> Result<()> {
    stage.kubectl(&format!(
        "annotate pods --selector=weir.dev/component=router --namespace {NAMESPACE} \
         --overwrite tests/hastened-for={why}"
    ))?;
    Ok(())
}

fn credentials(stage: &Stage) -> Result<[String; 3]> {
    let policy = format!("routepolicy/known --namespace {NAMESPACE}");
    stage.condition(&policy, "CredentialsReady")
}

/// How many records of the policy had this end.
fn records(stage: &Stage, outcome: &str) -> Result<u64> {
    let routers = stage.routers(NAMESPACE)?;
    let pod = routers.first().context("there is a router")?;
    let metrics = stage.kubectl(&format!(
        "get --raw /api/v1/namespaces/{NAMESPACE}/pods/{pod}:9090/proxy/metrics"
    ))?;
    let line = format!("weir_router_records_total{{policy=\"known\",outcome=\"{outcome}\"}} ");
    let count = metrics.lines().find_map(|text| text.strip_prefix(&line));
    let count = count.map_or(Ok(0), str::parse);
    count.with_context(|| format!("reading {line}"))
}

/// All lines of the store, once that of a decision is among them.
async fn arrived(stage: &Stage, id: &str) -> Result<Vec<Value>> {
    let deadline = std::time::Instant::now() + NOTICE;
    loop {
        let lines = stored(stage).await?;
        if lines.iter().any(|line| line["id"] == id) {
            return Ok(lines);
        }
        ensure!(
            std::time::Instant::now() < deadline,
            "{id} is not in {lines:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
}

/// The id of an ask that is answered.
fn decision(stage: &Stage) -> Result<String> {
    let answer = asked(stage, "known")?;
    answer.text()?;
    Ok(answer.headers["x-weir-decision"].clone())
}

fn is_answered(stage: &Stage, model: &str) -> Result<()> {
    let question = Question::for_tier("frontier")?;
    asked(stage, model)?.is("provider", &question.expected_answer)
}

fn is_refused(stage: &Stage, model: &str) -> Result<()> {
    let answer = asked(stage, model)?;
    let error = answer.error.as_deref().unwrap_or_default();
    ensure!(
        error.starts_with("50"),
        "no refusal of a gateway: {answer:?}"
    );
    Ok(())
}

fn asked(stage: &Stage, model: &str) -> Result<Answer> {
    let question = Question::for_tier("frontier")?;
    let ask = question.ask(&stage.address(NAMESPACE, "weir-router")?, model, false);
    let mut answers = stage.sdk.ask_on_node(stage, &[ask])?;
    answers.pop().context("one ask has one answer")
}
