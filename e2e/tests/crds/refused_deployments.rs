//! Every way in which the API server refuses an `SLMDeployment`.

use crate::refusal::{Refusal, surprises, untried_messages};

const VALID: &str = "
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: triage }
spec:
  model: { source: pvc://models/triage }
";

const NAMES: &[Refusal] = &[
    Refusal {
        name: "a name that is no name of a Service",
        patch: "metadata: { name: 3b.model }",
        message: "metadata.name becomes the name of a Service: use at most 50 lower-case letters",
    },
    Refusal {
        name: "a name of 51 letters",
        patch: "metadata: { name: abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxy }",
        message: "metadata.name becomes the name of a Service: use at most 50 lower-case letters",
    },
    Refusal {
        name: "the router's name",
        patch: "metadata: { name: weir-router }",
        message: "metadata.name weir-router is taken by the router's own Service",
    },
];

const MODEL: &[Refusal] = &[
    Refusal {
        name: "credentials outside the folder of Secrets",
        patch: "spec: { model: { source: pvc://models/triage, credentialsSecretRef: { name: ../keys } } }",
        message: "must be the name of an object: lower-case letters, digits, dashes and dots, no slash",
    },
    Refusal {
        name: "a template in an entry outside its ConfigMap",
        patch: "spec: { model: { source: pvc://models/triage, chatTemplate: { configMapRef: { name: a, key: ../b } } } }",
        message: "must be the name of an entry: letters, digits and - . _ without .. at its beginning",
    },
    Refusal {
        name: "no source",
        patch: "spec: { model: { source: null } }",
        message: "spec.model.source: Required value",
    },
    Refusal {
        name: "an unknown scheme",
        patch: "spec: { model: { source: ftp://models/triage } }",
        message: "unknown source scheme: begin with hf://, s3://, gs://, az://, https://, oci://, pvc:// or file:///",
    },
    Refusal {
        name: "a file address without a root",
        patch: "spec: { model: { source: file://models/triage } }",
        message: "the source is not complete: write hf://owner/repo, s3://bucket/path",
    },
    Refusal {
        name: "sha256 of a repository",
        patch: "spec: { model: { source: hf://Qwen/Qwen3-4B, sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef } }",
        message: "sha256 is for a source that is one file by its suffix",
    },
    Refusal {
        name: "sha256 that is none",
        patch: "spec: { model: { source: hf://a/b/model.gguf, sha256: ABCDEF } }",
        message: "must be a SHA-256 in 64 lower-case hex digits",
    },
    Refusal {
        name: "quantization of a GGUF file",
        patch: "spec: { model: { source: hf://a/b/model.gguf, quantization: Q4 } }",
        message: "a .gguf file keeps its own quantization: take model.quantization out",
    },
    Refusal {
        name: "an unknown quantization",
        patch: "spec: { model: { quantization: Q2 } }",
        message: r#"supported values: "Auto", "None", "Q8", "Q4""#,
    },
    Refusal {
        name: "a context of no tokens",
        patch: "spec: { model: { contextTokens: 0 } }",
        message: "spec.model.contextTokens in body should be greater than or equal to 16",
    },
    Refusal {
        name: "an image source with a cache",
        patch: "spec: { model: { source: oci://registry.example.com/models/triage:v1 }, cache: { persistentVolumeClaim: { name: models } } }",
        message: "an oci source is mounted as an image and downloads nothing: take spec.cache out",
    },
    Refusal {
        name: "a cache of two kinds",
        patch: "spec: { cache: { persistentVolumeClaim: { name: models }, hostPath: { path: /var/cache } } }",
        message: "set exactly one of cache.persistentVolumeClaim and cache.hostPath",
    },
    Refusal {
        name: "a cache of no kind",
        patch: "spec: { cache: {} }",
        message: "set exactly one of cache.persistentVolumeClaim and cache.hostPath",
    },
    Refusal {
        name: "a relative host path",
        patch: "spec: { cache: { hostPath: { path: cache } } }",
        message: "must be an absolute path without dots",
    },
    Refusal {
        name: "adapters of one name",
        patch: "spec: { adapters: [{ name: a, source: s3://m/a }, { name: a, source: s3://m/b }] }",
        message: "adapter names must be unique: rename one of the two",
    },
    Refusal {
        name: "an adapter that cannot be part of a model name",
        patch: "spec: { adapters: [{ name: a:b, source: s3://m/a }] }",
        message: "must be lower-case letters, digits and dashes, beginning and ending with a letter or digit",
    },
];

const ENGINE_AND_RESOURCES: &[Refusal] = &[
    Refusal {
        name: "OpenAI's protocol without an image",
        patch: "spec: { engine: { protocol: OpenAI } }",
        message: "protocol: OpenAI is for a server of your own: set engine.image",
    },
    Refusal {
        name: "an image without OpenAI's protocol",
        patch: "spec: { engine: { image: llama-server } }",
        message: "engine.image is for a server that speaks OpenAI: set engine.protocol to OpenAI",
    },
    Refusal {
        name: "arguments without an image",
        patch: "spec: { engine: { args: [--fast] } }",
        message: "engine.args are arguments of engine.image: set that too",
    },
    Refusal {
        name: "a count without an accelerator",
        patch: "spec: { resources: { count: 1 } }",
        message: "resources.count counts accelerators: set resources.accelerator",
    },
    Refusal {
        name: "two accelerators for our worker",
        patch: "spec: { resources: { accelerator: Nvidia, count: 2 } }",
        message: "our worker runs on one accelerator: set resources.count to 1, or set engine.image",
    },
    Refusal {
        name: "memory that is no quantity",
        patch: "spec: { resources: { memory: plenty } }",
        message: "must be a quantity above zero and up to 1Pi, written as 8Gi, 500m or a whole number",
    },
    Refusal {
        name: "no CPU",
        patch: "spec: { resources: { cpu: 0 } }",
        message: "must be a quantity above zero",
    },
    Refusal {
        name: "a variable with a value from two places",
        patch: "spec: { placement: { env: [{ name: A, value: b, valueFrom: { secretKeyRef: { name: s, key: k } } }] } }",
        message: "set value or valueFrom, not both",
    },
    Refusal {
        name: "a variable from a Secret and a ConfigMap",
        patch: "spec: { placement: { env: [{ name: A, valueFrom: { secretKeyRef: { name: s, key: k }, configMapKeyRef: { name: c, key: k } } }] } }",
        message: "set exactly one of secretKeyRef and configMapKeyRef",
    },
    Refusal {
        name: "a price as a number",
        patch: "spec: { price: { replicaHour: 0.75 } }",
        message: "spec.price.replicaHour in body must be of type string",
    },
    Refusal {
        name: "a price with a currency",
        patch: "spec: { price: { replicaHour: $0.75 } }",
        message: r#"must be an amount of US dollars in quotes, written as "0.75""#,
    },
];

const SCALING_AND_ROLLOUT: &[Refusal] = &[
    Refusal {
        name: "min above max",
        patch: "spec: { scaling: { min: 3, max: 2 } }",
        message: "min is above max: lower scaling.min or raise scaling.max",
    },
    Refusal {
        name: "max 0",
        patch: "spec: { scaling: { min: 0, max: 0 } }",
        message: "max 0 would never serve: set scaling.max to 1 or more",
    },
    Refusal {
        name: "a utilization above 1",
        patch: r#"spec: { scaling: { utilization: "1.2" } }"#,
        message: r#"must be a fraction above "0" and up to "1", in quotes"#,
    },
    Refusal {
        name: "a utilization of nothing",
        patch: r#"spec: { scaling: { utilization: "0.0" } }"#,
        message: r#"must be a fraction above "0" and up to "1", in quotes"#,
    },
    Refusal {
        name: "a hold over ten minutes",
        patch: "spec: { scaling: { hold: { wait: 10m1s } } }",
        message: "hold.wait is over 10m: clients give up long before, so lower it",
    },
    Refusal {
        name: "a hold of no time",
        patch: "spec: { scaling: { hold: { wait: 0s } } }",
        message: "must be a duration above zero",
    },
    Refusal {
        name: "a drain of no time",
        patch: "spec: { drain: 0m }",
        message: "must be a duration above zero, written as 500ms, 90s, 5m or 1h30m",
    },
    Refusal {
        name: "a duration below zero",
        patch: "spec: { scaling: { downAfter: -5m } }",
        message: "must be a duration above zero, written as 500ms, 90s, 5m or 1h30m",
    },
    Refusal {
        name: "a duration longer than Go's",
        patch: "spec: { scaling: { zeroAfter: 99999999h } }",
        message: "must be a duration above zero, written as 500ms, 90s, 5m or 1h30m",
    },
    Refusal {
        name: "more replicas than anybody has",
        patch: "spec: { replicas: 1001 }",
        message: "spec.replicas in body should be less than or equal to 1000",
    },
    Refusal {
        name: "canary weights that do not ascend",
        patch: "spec: { rollout: { steps: [{ weight: 50, pause: 1m }, { weight: 25, pause: 1m }] } }",
        message: "canary weights must ascend: give every step more weight than the one before it",
    },
    Refusal {
        name: "canary weights that stay",
        patch: "spec: { rollout: { steps: [{ weight: 25, pause: 1m }, { weight: 25, pause: 1m }] } }",
        message: "canary weights must ascend",
    },
    Refusal {
        name: "a canary weight of 100",
        patch: "spec: { rollout: { steps: [{ weight: 100, pause: 1m }] } }",
        message: "a canary weight is from 1 to 99: full traffic follows the last step by itself",
    },
    Refusal {
        name: "a canary weight of 0",
        patch: "spec: { rollout: { steps: [{ weight: 0, pause: 1m }] } }",
        message: "a canary weight is from 1 to 99",
    },
    Refusal {
        name: "a canary without steps",
        patch: "spec: { rollout: { steps: [] } }",
        message: "spec.rollout.steps in body should have at least 1 items",
    },
    Refusal {
        name: "an error rate above 1",
        patch: r#"spec: { rollout: { guard: { errorRate: "2" } } }"#,
        message: r#"must be a fraction from "0" to "1", in quotes"#,
    },
    Refusal {
        name: "an increase that is no number",
        patch: r#"spec: { rollout: { guard: { latencyIncrease: "20%" } } }"#,
        message: r#"must be a relative increase from "0" to "10", in quotes; "0.2" is 20 %"#,
    },
];

fn table() -> Vec<Refusal> {
    [NAMES, MODEL, ENGINE_AND_RESOURCES, SCALING_AND_ROLLOUT]
        .into_iter()
        .flatten()
        .map(|row| Refusal { ..*row })
        .collect()
}

#[tokio::test]
async fn a_deployment_that_cannot_be_is_refused_with_what_to_change() {
    let surprises = surprises(VALID, &table()).await;
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn every_rule_of_deployments_is_in_the_table() {
    assert_eq!(
        untried_messages("SLMDeployment", &table()),
        Vec::<String>::new()
    );
}
