//! What kubectl shows of our kinds and can do with them.

use serde_json::{Value, json};
use weir_e2e::ApiServer;

const DEPLOYMENT: &str = "
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: triage }
spec:
  model: { source: pvc://models/triage }
";

const POLICY: &str = "
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: { name: support }
spec:
  models: [support-assistant]
  tiers: [{ name: small, deployment: { name: triage } }]
";

/// A namespace with what `yaml` holds, and a function that runs kubectl in it.
async fn with(yaml: &str) -> impl Fn(&str) -> anyhow::Result<String> + use<> {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("kubectl").await;
    let said = server
        .kubectl()
        .said(&format!("apply --namespace {namespace} --filename -"), yaml)
        .unwrap();
    assert!(said.ok, "{}", said.stderr);
    move |arguments: &str| {
        server
            .kubectl()
            .run(&format!("--namespace {namespace} {arguments}"))
    }
}

/// Writes the status of an object, as the operator would.
fn set_status(kubectl: &impl Fn(&str) -> anyhow::Result<String>, object: &str, status: &Value) {
    let patch = json!({ "status": status }).to_string();
    kubectl(&format!(
        "patch {object} --subresource status --type merge --patch {patch}"
    ))
    .unwrap();
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": "",
        "lastTransitionTime": "2026-11-21T06:00:00Z",
    })
}

/// The columns and the first row of a table; columns are at least two blanks apart.
fn table(text: &str) -> Vec<(String, String)> {
    let mut lines = text.lines();
    let (header, row) = (lines.next().unwrap(), lines.next().unwrap());
    let mut starts: Vec<usize> = vec![0];
    let bytes = header.as_bytes();
    starts.extend((2..bytes.len()).filter(|at| &bytes[at - 2..*at] == b"  " && bytes[*at] != b' '));
    starts.push(usize::MAX);
    let cell = |line: &str, from: usize, to: usize| {
        let line: Vec<char> = line.chars().collect();
        let (from, to) = (from.min(line.len()), to.min(line.len()));
        line[from..to].iter().collect::<String>().trim().to_owned()
    };
    starts
        .windows(2)
        .map(|range| {
            (
                cell(header, range[0], range[1]),
                cell(row, range[0], range[1]),
            )
        })
        .collect()
}

fn columns(text: &str, without: &str) -> Vec<(String, String)> {
    let mut columns = table(text);
    columns.retain(|(name, _)| name != without);
    columns
}

fn row(cells: &[(&str, &str)]) -> Vec<(String, String)> {
    cells
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}

#[tokio::test]
async fn get_prints_the_columns_of_a_deployment() {
    let kubectl = with(DEPLOYMENT).await;
    let status = json!({
        "conditions": [condition("Ready", "True", "Serving"), condition("Available", "True", "Serving")],
        "replicasText": "2/2",
        "urls": {"openai": "http://triage.support.svc/v1", "anthropic": "http://triage.support.svc"},
        "rollout": {"stable": "4f0c9a2b", "canary": "90ab12cd", "weight": 25},
        "capacity": {"tokensPerSecond": 2100},
        "coldStart": {"totalText": "17.5s"},
    });
    set_status(&kubectl, "slm/triage", &status);
    let narrow = row(&[
        ("NAME", "triage"),
        ("READY", "True"),
        ("REASON", "Serving"),
        ("REPLICAS", "2/2"),
        ("MODEL", "pvc://models/triage"),
        ("URL", "http://triage.support.svc/v1"),
    ]);
    assert_eq!(columns(&kubectl("get slm").unwrap(), "AGE"), narrow);
    let wide = row(&[
        ("STABLE", "4f0c9a2b"),
        ("CANARY", "90ab12cd"),
        ("WEIGHT", "25"),
        ("TOKENS/S", "2100"),
        ("COLD START", "17.5s"),
    ]);
    let shown = columns(&kubectl("get slmdeployments --output wide").unwrap(), "AGE");
    assert_eq!(shown, [narrow, wide].concat());
}

#[tokio::test]
async fn get_prints_the_columns_of_a_policy() {
    let kubectl = with(POLICY).await;
    let status = json!({
        "conditions": [condition("Ready", "False", "CredentialsMissing")],
        "tiers": [{"name": "small", "ready": true, "answeredText": "83%"}],
        "calibration": {"state": "Certified", "threshold": "0.871", "regretBound": "0.018", "samples": 3120},
        "spend": {"month": "2026-11", "frontier": "212.40", "savedText": "83%"},
    });
    set_status(&kubectl, "rpol/support", &status);
    let narrow = row(&[
        ("NAME", "support"),
        ("READY", "False"),
        ("REASON", "CredentialsMissing"),
        ("MODELS", r#"["support-assistant"]"#),
        ("ANSWERED SMALL", "83%"),
        ("SPEND", "212.40"),
        ("SAVED", "83%"),
    ]);
    assert_eq!(columns(&kubectl("get rpol").unwrap(), "AGE"), narrow);
    let wide = row(&[
        ("STATE", "Certified"),
        ("THRESHOLD", "0.871"),
        ("REGRET BOUND", "0.018"),
        ("SHADOWS", "3120"),
    ]);
    let shown = columns(&kubectl("get routepolicies --output wide").unwrap(), "AGE");
    assert_eq!(shown, [narrow, wide].concat());
}

#[tokio::test]
async fn both_kinds_are_listed_by_their_category() {
    let kubectl = with(&format!("{DEPLOYMENT}---{POLICY}")).await;
    let names = kubectl("get weir --output name").unwrap();
    assert_eq!(
        names,
        "routepolicy.weir.dev/support\nslmdeployment.weir.dev/triage\n"
    );
}

#[tokio::test]
async fn explain_shows_what_a_field_is_for() {
    let kubectl = with(DEPLOYMENT).await;
    for (field, says) in [
        ("slm", "One small language model, served by replicas."),
        (
            "slm.spec.scaling.hold.wait",
            "Longest wait of one ask, at most 10m. Default 2m.",
        ),
        ("slm.spec.model.quantization", "ENUM: Auto None Q8 Q4"),
        (
            "slm.status.coldStart.totalText",
            "From no pod to ready, for the column: `17.5s`.",
        ),
        (
            "rpol.spec.tiers.accept.threshold",
            "Lowest score that is accepted, from 0 to 1.",
        ),
        (
            "rpol.spec.streaming.holdBack",
            "None (nothing: the first token commits)",
        ),
    ] {
        let shown = kubectl(&format!("explain {field}")).unwrap();
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains(says), "{field}: {shown}");
    }
}

#[tokio::test]
async fn scale_changes_replicas_with_and_without_scaling() {
    for scaling in ["", "  scaling: { min: 1, max: 8 }\n"] {
        let kubectl = with(&format!("{DEPLOYMENT}  replicas: 2\n{scaling}")).await;
        let status = json!({"replicas": 2, "selector": "weir.dev/deployment=triage"});
        set_status(&kubectl, "slm/triage", &status);
        kubectl("scale slm/triage --current-replicas 2 --replicas 5").unwrap();
        let replicas = kubectl("get slm triage --output jsonpath={.spec.replicas}").unwrap();
        assert_eq!(replicas, "5", "{scaling}");
        let path = namespaced(&kubectl, "scale");
        let scale: Value =
            serde_json::from_str(&kubectl(&format!("get --raw {path}")).unwrap()).unwrap();
        assert_eq!(scale["spec"]["replicas"], 5);
        assert_eq!(
            scale["status"],
            json!({"replicas": 2, "selector": "weir.dev/deployment=triage"})
        );
    }
}

#[tokio::test]
async fn the_scale_of_a_deployment_without_replicas_cannot_be_read() {
    let kubectl = with(DEPLOYMENT).await;
    let path = namespaced(&kubectl, "scale");
    let refusal = kubectl(&format!("get --raw {path}"))
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("spec.replicas"), "{refusal}");
}

/// The path of the deployment's subresource in the API.
fn namespaced(kubectl: &impl Fn(&str) -> anyhow::Result<String>, subresource: &str) -> String {
    let namespace = kubectl("get slm triage --output jsonpath={.metadata.namespace}").unwrap();
    format!("/apis/weir.dev/v1alpha1/namespaces/{namespace}/slmdeployments/triage/{subresource}")
}
