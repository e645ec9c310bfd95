//! Every reason that a person can act on, reached by its real cause: real pods, a real scheduler, kubelet and quota, a
//! hub that is wrong in many ways. All at once, so that it takes no longer than the slowest.
//!
//! Of the reasons of deployments `Downloading` is told in `downloads`, `CanaryFailed` and `RollingOut` in `canary`; of
//! policies `BudgetExhausted` in `budgets`, what there is to say of records in `outside`, a field that is not
//! implemented in `changes`.

mod world;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use weir_e2e::cluster::PYTHON;

use crate::stage::{Stage, eventually};

use world::{CLAIM, CLASS, NAMESPACE};

/// The kubelet waits ten and then twenty seconds before it starts again what ended.
const PATIENCE: Duration = Duration::from_secs(150);

/// Nobody has this image.
const NO_IMAGE: &str = "registry.invalid/nobody/nothing:1";

/// What is wrong with an object, and what is to be said of it.
struct Cause {
    kind: &'static str,
    name: &'static str,
    spec: Value,
    condition: &'static str,
    reason: &'static str,
    /// All of it is in the message.
    says: &'static [&'static str],
    /// Whether it waits for somebody to change something, and not for what may pass.
    stalls: bool,
}

pub async fn every_reason_is_reached_by_its_real_cause_and_told(stage: &Stage) -> Result<()> {
    world::open(stage)?;
    let all: Vec<Cause> = [
        of_sources(),
        of_pods(),
        of_volumes(),
        of_the_cluster(),
        of_policies(),
    ]
    .into_iter()
    .flatten()
    .collect();
    apply(stage, all.iter().filter(|cause| cause.name != "younger"))?;
    // Times of creation count in seconds.
    tokio::time::sleep(Duration::from_secs(1)).await;
    apply(stage, all.iter().filter(|cause| cause.name == "younger"))?;
    eventually(PATIENCE, || are_told(stage, &all)).await?;
    eventually(PATIENCE, || ended_twice(stage)).await?;
    are_told(stage, &all)?;
    each_has_one_event(stage, &all)?;
    world::close(stage)
}

fn apply<'a>(stage: &Stage, causes: impl Iterator<Item = &'a Cause>) -> Result<()> {
    let items: Vec<Value> = causes
        .map(|cause| {
            json!({
                "apiVersion": "weir.dev/v1alpha1", "kind": cause.kind,
                "metadata": { "name": cause.name, "namespace": NAMESPACE },
                "spec": cause.spec,
            })
        })
        .collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    stage.cluster.kubectl().apply(&list.to_string())?;
    Ok(())
}

fn deployment(
    name: &'static str,
    spec: Value,
    reason: &'static str,
    says: &'static [&'static str],
) -> Cause {
    let mut whole = json!({
        "model": { "source": "file:///models/triage" },
        "resources": { "cpu": "100m", "memory": "256Mi" },
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        whole[field] = value.clone();
    }
    Cause {
        kind: "SLMDeployment",
        name,
        spec: whole,
        condition: "Ready",
        reason,
        says,
        stalls: false,
    }
}

fn stalled(cause: Cause) -> Cause {
    Cause {
        stalls: true,
        ..cause
    }
}

/// A model of the hub, asked for with a Secret.
fn hub(model: &str, secret: &str) -> Value {
    let source = format!("hf://acme/{model}");
    json!({ "model": { "source": source, "credentialsSecretRef": { "name": secret } } })
}

/// A server of another's: a line of Python.
fn server(line: &str) -> Value {
    let args = ["python3", "-c", line];
    json!({ "engine": { "image": PYTHON, "protocol": "OpenAI", "args": args } })
}

fn of_sources() -> Vec<Cause> {
    let untrusted = format!("https://hub.{NAMESPACE}.svc/acme/kept/model.gguf");
    let known = json!({ "name": "known" });
    vec![
        deployment(
            "unauthorized",
            hub("kept", "unknown"),
            "Unauthorized",
            &[
                "hf://acme/kept",
                "name a Secret in credentialsSecretRef that may read it",
            ],
        ),
        deployment(
            "untrusted",
            json!({ "model": { "source": untrusted, "credentialsSecretRef": known } }),
            "SourceUnavailable",
            &[
                "certificate of hub.causes.svc",
                "name its authority in caBundle",
            ],
        ),
        deployment(
            "too-vast",
            hub("vast", "known"),
            "DiskFull",
            &["more bytes are needed", "are free: give it a larger disk"],
        ),
        stalled(deployment(
            "not-found",
            hub("nothing", "known"),
            "ModelNotFound",
            &["nothing to serve at hf://acme/nothing"],
        )),
        stalled(deployment(
            "ambiguous",
            hub("several", "known"),
            "AmbiguousSource",
            &["name one of them", "one.gguf", "two.gguf"],
        )),
        stalled(deployment(
            "lying",
            hub("lying", "known"),
            "DigestMismatch",
            &["model.safetensors", "000000", "was asked for"],
        )),
        stalled(deployment(
            "strange",
            hub("strange", "known"),
            "Unsupported",
            &["StrangeForCausalLM", "is not supported; these are"],
        )),
    ]
}

fn of_pods() -> Vec<Cause> {
    let no_image = json!({ "engine": { "image": NO_IMAGE, "protocol": "OpenAI" } });
    let mut gpu = server("");
    gpu["resources"] = json!({ "cpu": "100m", "memory": "64Mi", "accelerator": "Nvidia" });
    let killed = "kept = []\nwhile True: kept.append(b'x' * (1 << 20))";
    vec![
        deployment("no-image", no_image, "ImagePullFailed", &[NO_IMAGE]),
        deployment(
            "killed",
            server(killed),
            "OutOfMemory",
            &["the kernel ended the worker", "raise resources.memory"],
        ),
        deployment(
            "crashing",
            server("import sys; sys.exit('the port is taken')"),
            "CrashLoop",
            &["exit code 1", "the port is taken"],
        ),
        deployment(
            "too-large",
            json!({ "resources": { "cpu": "500", "memory": "256Mi" } }),
            "Unschedulable",
            &["0/2 nodes are available", "Insufficient cpu"],
        ),
        deployment(
            "no-gpu",
            gpu,
            "InsufficientGpu",
            &["Insufficient nvidia.com/gpu"],
        ),
    ]
}

fn of_volumes() -> Vec<Cause> {
    let mut busy = hub("kept", "known");
    busy["cache"] = json!({ "persistentVolumeClaim": { "name": CLAIM } });
    vec![
        deployment(
            "no-claim",
            json!({ "model": { "source": "pvc://nobodys/triage" } }),
            "Unschedulable",
            &["persistentvolumeclaim \"nobodys\" not found"],
        ),
        deployment(
            "volume-busy",
            busy,
            "VolumeBusy",
            &[
                "another pod has the claim of this one",
                "name one that is ReadWriteMany",
            ],
        ),
    ]
}

fn of_the_cluster() -> Vec<Cause> {
    let template = json!({ "configMapRef": { "name": "nowhere", "key": "template.jinja" } });
    vec![
        deployment("well", json!({}), "Serving", &["1 of 1 replicas"]),
        deployment(
            "refused",
            json!({ "placement": { "priorityClassName": CLASS } }),
            "ReplicasRefused",
            &["exceeded quota: none"],
        ),
        stalled(deployment(
            "name-taken",
            json!({}),
            "NameTaken",
            &["Service name-taken"],
        )),
        stalled(deployment(
            "forbidden",
            json!({}),
            "ApplyFailed",
            &["Deployment forbidden-", "ask the platform team first"],
        )),
        stalled(deployment(
            "no-template",
            json!({ "model": { "source": "file:///models/triage", "chatTemplate": template } }),
            "ConfigMapNotFound",
            &["nowhere", "template.jinja"],
        )),
    ]
}

fn policy(
    name: &'static str,
    deployment: &Value,
    reason: &'static str,
    says: &'static [&'static str],
) -> Cause {
    Cause {
        kind: "RoutePolicy",
        name,
        spec: json!({
            "models": [format!("{name}-assistant")],
            "tiers": [{ "name": "small", "deployment": deployment }],
        }),
        condition: "Ready",
        reason,
        says,
        stalls: false,
    }
}

fn of_policies() -> Vec<Cause> {
    let well = json!({ "name": "well" });
    let adapter = json!({ "name": "well", "adapter": "nobodys" });
    let large = json!({ "name": "too-large" });
    let mut older = policy("older", &well, "Serving", &["every tier answers"]);
    older.spec["models"] = json!(["contested"]);
    let mut younger = policy("younger", &well, "ModelNameTaken", &["contested", "older"]);
    younger.spec["models"] = json!(["contested"]);
    let mut keyless = policy(
        "keyless",
        &well,
        "CredentialsMissing",
        &[
            "tier big is out",
            "entry api-key of Secret nobodys is missing",
        ],
    );
    keyless.condition = "CredentialsReady";
    let key = json!({ "name": "nobodys", "key": "api-key" });
    let endpoint = json!({ "provider": "OpenAI", "model": "gpt-5", "apiKeySecretRef": key });
    keyless.spec["tiers"] = json!([
        { "name": "small", "deployment": well },
        { "name": "big", "endpoint": endpoint },
    ]);
    vec![
        older,
        stalled(younger),
        keyless,
        policy(
            "nowhere",
            &json!({ "name": "nobody" }),
            "DeploymentNotFound",
            &["there is no SLMDeployment nobody"],
        ),
        policy(
            "unadapted",
            &adapter,
            "AdapterNotFound",
            &["SLMDeployment well has no adapter nobodys"],
        ),
        policy(
            "unanswered",
            &large,
            "TierUnavailable",
            &["tier small: no replica of too-large is ready"],
        ),
    ]
}

/// Every condition as it is to be; all that differ are in the error.
fn are_told(stage: &Stage, causes: &[Cause]) -> Result<()> {
    let found = stage.json(&format!(
        "get slmdeployments,routepolicies --namespace {NAMESPACE}"
    ))?;
    let found = found["items"].as_array().context("a list has items")?;
    let wrong: Vec<String> = causes
        .iter()
        .filter_map(|cause| {
            let object = found.iter().find(|object| {
                object["metadata"]["name"] == cause.name && object["kind"] == cause.kind
            })?;
            let error = is_told(cause, object).err()?;
            Some(format!("{}: {error}", cause.name))
        })
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn is_told(cause: &Cause, object: &Value) -> Result<()> {
    let conditions = object["status"]["conditions"].as_array();
    let of = |kind: &str| {
        let mut all = conditions.into_iter().flatten();
        all.find(|condition| condition["type"] == kind)
    };
    let Some(condition) = of(cause.condition) else {
        bail!("it has no condition {}", cause.condition);
    };
    let message = condition["message"].as_str().unwrap_or_default();
    let is_same = condition["reason"] == cause.reason
        && condition["status"]
            == if cause.reason == "Serving" {
                "True"
            } else {
                "False"
            };
    ensure!(is_same, "{condition}");
    for words in cause.says {
        ensure!(message.contains(words), "{words:?} is not in {message:?}");
    }
    let stalls = of("Stalled").is_some();
    ensure!(stalls == cause.stalls, "Stalled is there: {stalls}");
    Ok(())
}

/// What ends again and again has ended twice, and so was told twice if it is told each time.
fn ended_twice(stage: &Stage) -> Result<()> {
    let chosen = "--selector=weir.dev/deployment=crashing";
    let pods = stage.json(&format!("get pods {chosen} --namespace {NAMESPACE}"))?;
    let restarts = &pods["items"][0]["status"]["containerStatuses"][0]["restartCount"];
    ensure!(
        restarts.as_u64() >= Some(2),
        "it restarted {restarts} times"
    );
    Ok(())
}

/// The pods of a cause fail again and again; what is said of it is one Event. It counts up where the reason was another
/// for a moment: a policy's when a router begins anew, a deployment's when a kubelet says of a container that begins
/// again nothing of how it ended.
fn each_has_one_event(stage: &Stage, causes: &[Cause]) -> Result<()> {
    let events = stage.json(&format!("get events --namespace {NAMESPACE}"))?;
    let events = events["items"].as_array().context("a list has items")?;
    let is_wrong = |cause: &&Cause| cause.condition == "Ready" && cause.reason != "Serving";
    for cause in causes.iter().filter(is_wrong) {
        let told: Vec<&Value> = events
            .iter()
            .filter(|event| {
                let of = &event["involvedObject"];
                event["reason"] == cause.reason
                    && of["name"] == cause.name
                    && of["kind"] == cause.kind
            })
            .collect();
        let is_one = told.len() == 1 && told[0]["type"] == "Warning";
        ensure!(is_one, "{} was told as {told:?}", cause.name);
    }
    Ok(())
}
