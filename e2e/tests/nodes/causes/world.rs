//! What the causes need around them: a hub, somebody else's Service, a volume in use, a quota of nothing, and a cluster
//! that refuses an object.

use anyhow::{Context, Result};
use rcgen::CertifiedKey;
use serde_json::{Value, json};
use weir_e2e::cluster::PYTHON;

use crate::stage::{Stage, restricted_pod};

pub const NAMESPACE: &str = "causes";
/// The class of which no pod may be.
pub const CLASS: &str = "none-of-these";
/// The claim that a pod of somebody else has for itself alone.
pub const CLAIM: &str = "busy";
const TOKEN: &str = "hf_of_these_causes";

/// Makes the namespace and all that is in it, and waits for the pods.
pub fn open(stage: &Stage) -> Result<()> {
    stage.restricted_namespace(NAMESPACE)?;
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec![format!("hub.{NAMESPACE}.svc")])
            .context("making a certificate")?;
    let tls = [
        ("certificate.pem", cert.pem()),
        ("key.pem", signing_key.serialize_pem()),
    ];
    let endpoint = || ("endpoint", format!("http://hub.{NAMESPACE}.svc"));
    let mut objects = vec![
        secret("tls", &tls),
        secret("known", &[endpoint(), ("token", TOKEN.to_owned())]),
        secret(
            "unknown",
            &[endpoint(), ("token", "hf_of_nobody".to_owned())],
        ),
        service(
            "hub",
            &json!([
                { "name": "plain", "port": 80, "targetPort": 8080 },
                { "name": "tls", "port": 443, "targetPort": 8443 },
            ]),
        ),
        service("name-taken", &json!([{ "port": 80 }])),
        hub()?,
    ];
    objects.extend(volume());
    objects.push(holder()?);
    objects.extend(quota());
    objects.extend(refusal());
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    stage.cluster.kubectl().apply(&list.to_string())?;
    stage.kubectl(&format!(
        "wait pods --all --namespace {NAMESPACE} --for=condition=Ready --timeout=60s"
    ))?;
    Ok(())
}

/// Takes away what is not in the namespace, and that.
pub fn close(stage: &Stage) -> Result<()> {
    for object in [
        &format!("validatingadmissionpolicybinding/{NAMESPACE}"),
        &format!("validatingadmissionpolicy/{NAMESPACE}"),
        &format!("priorityclass/{CLASS}"),
        &format!("namespace/{NAMESPACE}"),
        &format!("persistentvolume/{CLAIM}"),
    ] {
        stage.kubectl(&format!("delete {object} --wait=false"))?;
    }
    Ok(())
}

fn secret(name: &str, entries: &[(&str, String)]) -> Value {
    let entries: serde_json::Map<String, Value> = entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "stringData": entries,
    })
}

fn service(name: &str, ports: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "selector": { "app": name }, "ports": ports },
    })
}

/// Workers may reach pods with its label, by the chart's values of these tests.
fn hub() -> Result<Value> {
    let mut pod: Value = serde_json::from_str(&restricted_pod(NAMESPACE, "hub", PYTHON, ""))?;
    pod["spec"]["volumes"] = json!([{ "name": "tls", "secret": { "secretName": "tls" } }]);
    let container = &mut pod["spec"]["containers"][0];
    container["command"] = json!(["python3", "-c", include_str!("hub.py")]);
    container["env"] = json!([{ "name": "TOKEN", "value": TOKEN }]);
    container["volumeMounts"] = json!([{ "name": "tls", "mountPath": "/tls" }]);
    container["readinessProbe"] = json!({ "tcpSocket": { "port": 8080 }, "periodSeconds": 1 });
    Ok(pod)
}

fn volume() -> [Value; 2] {
    let claim = json!({ "namespace": NAMESPACE, "name": CLAIM });
    let modes = json!(["ReadWriteOncePod"]);
    [
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": CLAIM },
            "spec": {
                "storageClassName": "none", "accessModes": modes, "capacity": { "storage": "1Mi" },
                "claimRef": claim, "hostPath": { "path": "/tmp", "type": "Directory" },
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claim.clone(),
            "spec": {
                "storageClassName": "none", "accessModes": modes, "volumeName": CLAIM,
                "resources": { "requests": { "storage": "1Mi" } },
            },
        }),
    ]
}

fn holder() -> Result<Value> {
    let pod = restricted_pod(NAMESPACE, "holder", PYTHON, "sleep infinity");
    let mut pod: Value = serde_json::from_str(&pod)?;
    pod["spec"]["volumes"] =
        json!([{ "name": "held", "persistentVolumeClaim": { "claimName": CLAIM } }]);
    Ok(pod)
}

fn quota() -> [Value; 2] {
    let of_class = json!({ "scopeName": "PriorityClass", "operator": "In", "values": [CLASS] });
    [
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": { "name": CLASS }, "value": 1,
        }),
        json!({
            "apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": { "name": "none", "namespace": NAMESPACE },
            "spec": {
                "hard": { "pods": "0" }, "scopeSelector": { "matchExpressions": [of_class] },
            },
        }),
    ]
}

/// What a platform team may have in a cluster.
fn refusal() -> [Value; 2] {
    let rule = json!({
        "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"],
        "operations": ["CREATE", "UPDATE"],
    });
    let check = json!({
        "expression": "!object.metadata.name.startsWith('forbidden-')",
        "message": "ask the platform team first",
    });
    [
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": NAMESPACE },
            "spec": { "matchConstraints": { "resourceRules": [rule] }, "validations": [check] },
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": NAMESPACE },
            "spec": { "policyName": NAMESPACE, "validationActions": ["Deny"] },
        }),
    ]
}
