//! The API server's rules and our parsers agree: what passes admission always parses.

use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use weir_crds::{Fraction, Money, Quantity, SLMDeployment, Source, value};
use weir_e2e::ApiServer;

/// For each text whether the API server takes it in `field` of a deployment, and whether `parses`.
async fn verdicts(
    field: &str,
    texts: &[&str],
    parses: impl Fn(&str) -> bool,
) -> Vec<(String, bool, bool)> {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("parsing").await;
    let api: Api<SLMDeployment> = Api::namespaced(server.client().await, &namespace);
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let mut verdicts = Vec::new();
    for text in texts {
        let mut object = json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
            "metadata": {"name": "triage"},
            "spec": {"model": {"source": "pvc://models/triage"}},
        });
        *place(&mut object, field) = json!(text);
        let object: SLMDeployment = serde_json::from_value(object).unwrap();
        let taken = api.create(&dry_run, &object).await.is_ok();
        verdicts.push(((*text).to_owned(), taken, parses(text)));
    }
    verdicts
}

fn place<'a>(object: &'a mut Value, field: &str) -> &'a mut Value {
    field
        .split('.')
        .fold(&mut object["spec"], |value, name| &mut value[name])
}

/// Asserts that both take `good` and both refuse `bad`.
async fn agree(field: &str, good: &[&str], bad: &[&str], parses: impl Fn(&str) -> bool) {
    for (texts, expected) in [(good, true), (bad, false)] {
        for (text, taken, parsed) in verdicts(field, texts, &parses).await {
            assert_eq!((taken, parsed), (expected, expected), "{field}: {text:?}");
        }
    }
}

#[tokio::test]
async fn durations_that_pass_admission_parse() {
    agree(
        "drain",
        &["1ms", "90s", "1h30m", "999999h", "1m1m", "000001s"],
        &[
            "",
            "0s",
            "0h0m",
            "1d",
            "1.5h",
            "-1s",
            "+1s",
            "1H",
            " 1s",
            "1s ",
            "1000000s",
            "1s1s1s1s1s1s1s1s1s",
        ],
        |text| value::duration(text).is_ok(),
    )
    .await;
}

#[tokio::test]
async fn money_that_passes_admission_parses() {
    agree(
        "price.replicaHour",
        &["0", "0.75", "999999999999.999999999", "007"],
        &["", "-1", ".5", "5.", "1,5", "1e3", "$1", "1 "],
        |text| text.parse::<Money>().is_ok(),
    )
    .await;
}

#[tokio::test]
async fn fractions_that_pass_admission_parse() {
    agree(
        "rollout.guard.errorRate",
        &["0", "1", "0.01", "1.000"],
        &["", "1.01", "2", "-0.1", ".5", "5%", "NaN"],
        |text| text.parse::<Fraction>().is_ok(),
    )
    .await;
}

#[tokio::test]
async fn quantities_that_pass_admission_parse() {
    agree(
        "resources.memory",
        &[
            "1", "500m", "8Gi", "1.5Mi", "64M", "1Pi", "2T", "1k", "0.1Ki",
        ],
        &[
            "", "0", "0Gi", "-1Gi", "8GiB", "8 Gi", "1e3", ".5Gi", "+1", "2Pi", "1Ei", "5n",
        ],
        |text| Quantity::from(text).bytes().is_ok(),
    )
    .await;
}

#[tokio::test]
async fn sources_that_pass_admission_parse() {
    agree(
        "model.source",
        &[
            "hf://Qwen/Qwen3-4B",
            "hf://Qwen/Qwen3-4B-GGUF/q4/model.gguf",
            "s3://bucket/a/b",
            "gs://bucket/a/",
            "az://container/a",
            "https://host:8443/model.gguf?x=1",
            "oci://registry:5000/models/triage@sha256:0123",
            "pvc://claim",
            "pvc://claim/",
            "pvc://claim/a/b",
            "file:///models/triage",
            "file:///m/",
            "s3://bucket/..a/b.",
            "gs://bucket/a//",
        ],
        &[
            "",
            "triage",
            "ftp://host/model",
            "http://host/model.gguf",
            "hf://repo",
            "s3://bucket",
            "s3://bucket/",
            "s3:///path",
            "pvc://",
            "pvc:///path",
            "file://models",
            "file:///",
            "file:///a/../b",
            "s3://bucket/./a",
            "s3://bucket/..",
            "s3://bucket/a b",
            "s3://bucket/a\tb",
            "HF://Qwen/Qwen3-4B",
        ],
        |text| text.parse::<Source>().is_ok(),
    )
    .await;
}
