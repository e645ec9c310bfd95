//! Canaries under streams that never stop: one is promoted, one whose answers are worse goes by itself, and
//! every stream has its whole answer all the while.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weir_e2e::succeed;

use crate::sdk::Ask;
use crate::stage::{EXAMPLE, Stage, eventually};

const DEPLOYMENT: &str = "slmdeployment/canaried";
const MODEL: &str = "canaried-assistant";
/// Of either tier.
const ANSWER: &str = "billing";
/// Clients at once, and what each asks one after the other before it looks up.
const CLIENTS: usize = 4;
const BATCH: usize = 5;
/// Streams that at least run meanwhile.
const STREAMS: usize = 100;
/// A rollout of some short steps, or four batches of the guard, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

pub async fn a_canary_is_promoted_under_a_hundred_streams_and_none_is_cut(
    stage: &Stage,
) -> Result<()> {
    stage.cluster.kubectl().apply(&objects())?;
    stage.kubectl(&format!(
        "wait {DEPLOYMENT} --for=condition=Ready --timeout=120s"
    ))?;
    eventually(PATIENCE, || ask(stage, 1, Some("small")).map(drop)).await?;
    let before = rollout(stage)?;
    change(stage, &json!({ "drain": "20s" }))?;
    under_streams(stage, Some("small"), || {
        let now = rollout(stage)?;
        let [status, ..] = stage.condition(DEPLOYMENT, "Ready")?;
        Ok(now["stable"] != before["stable"] && status == "True")
    })
}

/// It is told something that is no ticket, is not sure of anything, and so all of its asks go up a tier.
pub async fn a_canary_that_is_less_sure_is_rolled_back_by_itself_and_none_is_cut(
    stage: &Stage,
) -> Result<()> {
    let template = "{% for message in messages %}{{ message.content | length }} {% endfor %}";
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "canaried", "namespace": EXAMPLE },
        "data": { "chat": template },
    });
    stage.cluster.kubectl().apply(&map.to_string())?;
    let before = rollout(stage)?;
    let template = json!({ "configMapRef": { "name": "canaried", "key": "chat" } });
    let worse = json!({
        "model": { "chatTemplate": template },
        "rollout": { "steps": [{ "weight": 50, "pause": "5m" }] },
    });
    change(stage, &worse)?;
    under_streams(stage, None, || {
        let conditions = stage.json(&format!("get {DEPLOYMENT}"))?["status"]["conditions"].clone();
        let conditions = conditions.as_array().cloned().unwrap_or_default();
        let mut health = conditions.iter().filter(|c| c["type"] == "CanaryHealthy");
        Ok(health.any(|health| health["reason"] == "CanaryFailed"))
    })?;
    let [_, _, message] = stage.condition(DEPLOYMENT, "CanaryHealthy")?;
    ensure!(message.contains("of the stable revision's"), "{message}");
    ensure!(
        rollout(stage)?["stable"] == before["stable"],
        "it was promoted: {message}"
    );
    for object in [DEPLOYMENT, "routepolicy/canaried", "configmap/canaried"] {
        stage.kubectl(&format!(
            "delete {object} --namespace {EXAMPLE} --timeout=60s"
        ))?;
    }
    Ok(())
}

/// Has clients ask until it is so, and for as many streams as there are to be; each has its whole answer, of that
/// tier if one is named.
fn under_streams(
    stage: &Stage,
    tier: Option<&str>,
    is_over: impl Fn() -> Result<bool>,
) -> Result<()> {
    let ended = AtomicBool::new(false);
    thread::scope(|threads| {
        let client = || -> Result<usize> {
            let mut asked = 0;
            while !ended.load(Ordering::Relaxed) || asked < STREAMS / CLIENTS {
                asked += ask(stage, BATCH, tier)?;
            }
            Ok(asked)
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| threads.spawn(client)).collect();
        let came = wait(is_over);
        ended.store(true, Ordering::Relaxed);
        // Joined whatever happened, so that nothing outlives the story.
        let asked = clients.into_iter().map(|client| match client.join() {
            Ok(asked) => asked,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        let asked: Result<Vec<usize>> = asked.collect();
        let asked: usize = asked?.into_iter().sum();
        came.with_context(|| format!("after {asked} streams"))?;
        ensure!(asked >= STREAMS, "only {asked} streams");
        Ok(())
    })
}

fn wait(is_over: impl Fn() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is_over()? {
        ensure!(began.elapsed() < PATIENCE, "it never came");
        thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// So many streams, one after the other. Whichever tier answers, the answer is whole and right.
fn ask(stage: &Stage, streams: usize, tier: Option<&str>) -> Result<usize> {
    let url = stage.address(EXAMPLE, "weir-router")?;
    let asks: Vec<Ask> = (0..streams).map(|_| next_ask(&url)).collect();
    for answer in stage.sdk.ask_on_node(stage, &asks)? {
        ensure!(
            answer.text()? == ANSWER && answer.finish.as_deref() == Some("stop"),
            "{ANSWER:?} was expected, not {answer:?}"
        );
        ensure!(
            tier.is_none_or(|tier| answer.tier() == tier),
            "it is another tier's: {answer:?}"
        );
    }
    Ok(streams)
}

/// Of a conversation of its own: who goes on with one stays with the revision that began it.
fn next_ask(url: &str) -> Ask {
    static CUSTOMERS: AtomicU32 = AtomicU32::new(100_001);
    let number = CUSTOMERS.fetch_add(7919, Ordering::Relaxed) % 1_000_000;
    Ask {
        base_url: url.to_owned(),
        model: MODEL.to_owned(),
        question: format!(
            "Hello, my customer number is {number:06}. I was charged twice for my subscription this month. Please help!"
        ),
        stream: true,
    }
}

fn rollout(stage: &Stage) -> Result<Value> {
    Ok(stage.json(&format!("get {DEPLOYMENT}"))?["status"]["rollout"].clone())
}

fn change(stage: &Stage, spec: &Value) -> Result<()> {
    let line = format!("patch {DEPLOYMENT} --namespace {EXAMPLE} --type=merge");
    let mut patch = stage.cluster.kubectl().command(&line);
    let change = json!({ "spec": spec });
    succeed(patch.arg(format!("--patch={change}")))
}

fn objects() -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: {{ name: canaried, namespace: {EXAMPLE} }}
spec:
  model: {{ source: file:///models/triage }}
  resources: {{ cpu: 250m, memory: 512Mi }}
  drain: 10s
  rollout:
    steps: [{{ weight: 20, pause: 5s }}, {{ weight: 50, pause: 5s }}]
    guard: {{ minAsks: 10, maxStepWait: 2m, latencyIncrease: '10' }}
---
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: {{ name: canaried, namespace: {EXAMPLE} }}
spec:
  models: [{MODEL}]
  tiers:
    - {{ name: small, deployment: {{ name: canaried }}, accept: {{ task: Choice, threshold: '0.9' }} }}
    - name: frontier
      endpoint:
        provider: OpenAICompatible
        model: stand-in-frontier
        baseUrl: http://frontier.{EXAMPLE}.svc/v1
"
    )
}
