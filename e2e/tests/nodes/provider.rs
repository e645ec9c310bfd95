//! A namespace with what is elsewhere for real: a provider with a certificate of its own, an egress
//! proxy, and an S3 server that checks signatures.

use anyhow::{Context, Result};
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, ObjectStoreExt};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use weir_e2e::cluster::PYTHON;

use crate::stage::{STORE, Stage, published, restricted_pod};

pub const NAMESPACE: &str = "outside";
/// Those whom the S3 server knows.
pub const USER: &str = "anna";
pub const PASSWORD: &str = "a-password-of-tests";
/// The one bucket that it has.
const BUCKET: &str = "models";
const STORE_PORT: u16 = 9000;
/// Says on its standard output whom it was asked for.
const PROXY: &str =
    "printf 'Port 3128\nTimeout 60\nLogLevel Connect\n' | exec tinyproxy -d -c /dev/stdin";

/// Makes the namespace and all that is in it, and waits for the pods. Gives the certificate of the
/// authority that signed for the provider.
pub fn open(stage: &Stage) -> Result<String> {
    stage.restricted_namespace(NAMESPACE)?;
    let authority = certify(stage)?;
    let shell = |line: &str| json!(["sh", "-c", line]);
    let proxy = pod("proxy", PYTHON, &shell(PROXY), 3128)?;
    // It serves until its input ends.
    let serve = format!("sleep infinity | exec /servers s3 0.0.0.0:{STORE_PORT}");
    let store = pod("store", STORE, &shell(&serve), STORE_PORT)?;
    for (name, pod, ports) in [
        (
            "provider",
            provider()?,
            json!([port(443, 8443), port(80, 8080)]),
        ),
        ("proxy", proxy, json!([port(3128, 3128)])),
        ("store", store, json!([port(80, STORE_PORT)])),
    ] {
        stage.cluster.kubectl().apply(&pod.to_string())?;
        stage.cluster.kubectl().apply(&service(name, &ports))?;
    }
    stage.kubectl(&format!(
        "wait pods --all --namespace {NAMESPACE} --for=condition=Ready --timeout=60s"
    ))?;
    Ok(authority)
}

/// The stand-in, and beside it what takes TLS off for it.
fn provider() -> Result<Value> {
    let stand_in = json!(["weir-stand-in"]);
    let mut pod = pod("provider", &published("stand-in"), &stand_in, 8080)?;
    let front = json!(["python3", "-c", include_str!("tls.py")]);
    let mut front = self::pod("provider", PYTHON, &front, 8443)?["spec"]["containers"][0].take();
    front["name"] = "tls".into();
    front["volumeMounts"] = json!([{ "name": "tls", "mountPath": "/tls" }]);
    let containers = pod["spec"]["containers"].as_array_mut();
    containers.context("a pod has containers")?.push(front);
    pod["spec"]["volumes"] = json!([{ "name": "tls", "secret": { "secretName": "provider-tls" } }]);
    Ok(pod)
}

fn pod(name: &str, image: &str, command: &Value, port: u16) -> Result<Value> {
    let pod = restricted_pod(NAMESPACE, name, image, "");
    let mut pod: Value = serde_json::from_str(&pod)?;
    let container = &mut pod["spec"]["containers"][0];
    container["command"] = command.clone();
    container["readinessProbe"] = json!({ "tcpSocket": { "port": port }, "periodSeconds": 1 });
    Ok(pod)
}

fn port(port: u16, target: u16) -> Value {
    json!({ "name": format!("p{port}"), "port": port, "targetPort": target })
}

fn service(name: &str, ports: &Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "selector": { "app": name }, "ports": ports },
    })
    .to_string()
}

/// Makes an authority, and by it the Secret with the provider's certificate.
fn certify(stage: &Stage) -> Result<String> {
    let mut params = CertificateParams::new(Vec::new()).context("making an authority")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names = vec![format!("provider.{NAMESPACE}.svc")];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "provider-tls", "namespace": NAMESPACE },
        "stringData": { "certificate.pem": certificate.pem(), "key.pem": key.serialize_pem() },
    });
    stage.cluster.kubectl().apply(&secret.to_string())?;
    Ok(authority.pem())
}

/// Every line of every object in the store.
pub async fn stored(stage: &Stage) -> Result<Vec<Value>> {
    use futures::TryStreamExt;
    let pod = stage.json(&format!("get pod store --namespace {NAMESPACE}"))?;
    let address = pod["status"]["podIP"]
        .as_str()
        .context("the store has an address")?;
    let store = AmazonS3Builder::new()
        .with_endpoint(format!("http://{address}:{STORE_PORT}"))
        .with_allow_http(true)
        .with_bucket_name(BUCKET)
        .with_access_key_id(USER)
        .with_secret_access_key(PASSWORD)
        .build()?;
    let objects: Vec<_> = store.list(None).try_collect().await?;
    let mut lines = Vec::new();
    for object in objects {
        let body = store.get(&object.location).await?.bytes().await?;
        for line in body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            lines.push(serde_json::from_slice(line).context("reading a line of a record")?);
        }
    }
    Ok(lines)
}
