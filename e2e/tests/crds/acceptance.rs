//! Which objects the API server takes, and what it fills in.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use weir_crds::{RoutePolicy, SLMDeployment};
use weir_e2e::ApiServer;

/// Every example, by file name.
fn examples() -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/examples");
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, serde_saphyr::from_str(&text).unwrap())
        })
        .collect()
}

/// The spec as the API server has it after `kubectl apply`.
async fn applied(object: &Value) -> Value {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("applied").await;
    let said = server
        .kubectl()
        .said(
            &format!("apply --namespace {namespace} --output json --filename -"),
            &object.to_string(),
        )
        .unwrap();
    assert!(said.ok, "{}", said.stderr);
    serde_json::from_str::<Value>(&said.stdout).unwrap()["spec"].take()
}

/// The spec as serde has it, for a file that no API server has seen.
fn on_a_laptop(object: &Value) -> Value {
    let whole = match object["kind"].as_str().unwrap() {
        "SLMDeployment" => {
            serde_json::to_value(serde_json::from_value::<SLMDeployment>(object.clone()).unwrap())
        }
        _ => serde_json::to_value(serde_json::from_value::<RoutePolicy>(object.clone()).unwrap()),
    };
    whole.unwrap()["spec"].take()
}

#[tokio::test]
async fn every_example_is_accepted_and_reads_the_same_on_a_laptop() {
    let examples = examples();
    assert!(examples.len() >= 10);
    for (name, example) in examples {
        assert_eq!(
            applied(&example).await,
            on_a_laptop(&example),
            "{name}: the API server and serde fill in different defaults"
        );
    }
}

#[tokio::test]
async fn a_deployment_that_says_little_gets_the_documented_defaults() {
    let spec = applied(&json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment", "metadata": {"name": "triage"},
        "spec": {"model": {"source": "pvc://models/triage"}},
    }))
    .await;
    assert_eq!(
        spec,
        json!({
            "model": {"source": "pvc://models/triage", "quantization": "Auto"},
            "engine": {"prefixCache": "Enabled", "keyValueType": "Auto", "protocol": "Weir"},
            "resources": {"accelerator": "None", "cpu": "2", "memory": "4Gi"},
            "scaling": {
                "min": 1, "max": 1, "utilization": "0.8", "downAfter": "5m", "zeroAfter": "10m",
                "hold": {"asks": 1000, "bytes": "64Mi", "wait": "2m"},
            },
            "rollout": {
                "strategy": "Canary",
                "steps": [
                    {"weight": 5, "pause": "5m"},
                    {"weight": 25, "pause": "10m"},
                    {"weight": 50, "pause": "10m"},
                ],
                "guard": {
                    "errorRate": "0.01", "latencyIncrease": "0.2", "escalationIncrease": "0.1",
                    "minAsks": 200, "maxStepWait": "2h", "onNoTraffic": "Wait",
                },
                "onFailure": "Rollback",
            },
            "placement": {"topologySpread": "Zone"},
            "drain": "2m",
        })
    );
}

#[tokio::test]
async fn a_policy_that_says_little_gets_the_documented_defaults() {
    let spec = applied(&json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy", "metadata": {"name": "support"},
        "spec": {
            "models": ["support-assistant"],
            "tiers": [
                {"name": "small", "deployment": {"name": "triage"}, "accept": {}},
                {"name": "frontier", "endpoint": {"provider": "OpenAI", "model": "gpt-5"}},
            ],
            "quality": {"maxRegret": "0.02", "reference": "frontier"},
            "budget": [{"period": "Month", "limit": "500.00"}],
        },
    }))
    .await;
    assert_eq!(
        spec,
        json!({
            "models": ["support-assistant"],
            "tiers": [
                {
                    "name": "small",
                    "deployment": {"name": "triage"},
                    "accept": {
                        "task": "Auto",
                        "escalateOn": {"minTokens": 1, "schemaFailure": true, "refusal": true},
                    },
                },
                {
                    "name": "frontier",
                    "endpoint": {
                        "provider": "OpenAI", "model": "gpt-5", "location": "Outside",
                        "timeouts": {"connect": "2s", "firstByte": "30s", "idle": "60s"},
                    },
                },
            ],
            "quality": {
                "maxRegret": "0.02", "confidence": "0.95", "reference": "frontier",
                "judge": "Auto", "shadow": {"rate": "0.02"}, "until": "Escalate",
            },
            "privacy": {"egress": "Allow"},
            "budget": [{"period": "Month", "limit": "500.00", "onExhausted": "Local"}],
            "streaming": {"holdBack": "Auto", "headersAfter": "10s"},
            "timeout": "2m",
            "idleTimeout": "60s",
            "maxDuration": "10m",
            "retries": {"max": 2, "causes": ["Connect", "Overloaded", "WorkerLost"]},
            "onAllUnsure": "Best",
            "sticky": "None",
            "records": {"to": "OTel", "text": "Exclude"},
        })
    );
}

#[tokio::test]
async fn a_field_whose_presence_counts_has_no_default() {
    let deployment = applied(&examples()["deployment-smallest.yaml"]).await;
    for field in [
        "/resources/count",
        "/cache",
        "/engine/image",
        "/engine/args",
        "/replicas",
    ] {
        assert_eq!(deployment.pointer(field), None, "{field}");
    }
    let policy = applied(&examples()["policy-smallest.yaml"]).await;
    for field in ["/quality", "/tiers/0/accept"] {
        assert_eq!(policy.pointer(field), None, "{field}");
    }
    let policy = applied(&examples()["policy-quality.yaml"]).await;
    assert_eq!(policy.pointer("/tiers/0/accept/threshold"), None);
}

#[tokio::test]
async fn an_address_inside_the_cluster_is_taken_in_every_form() {
    for address in [
        "http://vllm.models.svc/v1",
        "http://vllm.models.svc:8000/v1",
        "https://vllm.models.svc.cluster.local",
        "http://vllm-0.vllm.models.svc.corp.example:8000/",
    ] {
        applied(&json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy", "metadata": {"name": "p"},
            "spec": {
                "models": ["m"],
                "tiers": [{"name": "large", "endpoint": {
                    "provider": "OpenAICompatible", "model": "m", "baseUrl": address,
                    "location": "Inside", "apiKeySecretRef": {"name": "s", "key": "k"},
                }}],
                "privacy": {"egress": "Deny"},
            },
        }))
        .await;
    }
}
