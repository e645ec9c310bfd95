//! Who reaches whom, with the NetworkPolicies of the chart and the operator enforced.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_crds::labels;
use weir_e2e::cluster::PYTHON;

use crate::installing::SYSTEM;
use crate::stage::{EXAMPLE, Stage, eventually, restricted_pod};

const STRANGERS: &str = "strangers";
/// Where the strangers listen.
const PORT: u16 = 8080;
/// Rules follow objects within a second or two.
const PATIENCE: Duration = Duration::from_secs(20);
/// A packet that nobody answers is no connection after this.
const DIAL: &str = "timeout 2 bash -c";

/// A pod that dials: its namespace and name.
#[derive(Clone, Debug)]
struct Pod {
    namespace: &'static str,
    name: String,
}

/// Who is there, and at which addresses.
struct Scene {
    api_server: (String, u16),
    operator: Pod,
    router: Pod,
    worker: Pod,
    stranger: Pod,
    /// A pod of nobody's, which listens.
    listener: String,
}

pub async fn each_reaches_whom_it_needs_and_nobody_else(stage: &Stage) -> Result<()> {
    let scene = Scene::set(stage)?;
    let router = address(stage, &scene.router)?;
    let worker = address(stage, &scene.worker)?;
    let (router, worker) = (router.as_str(), worker.as_str());
    let listener = scene.listener.as_str();
    let (api_server, api_port) = (scene.api_server.0.as_str(), scene.api_server.1);
    let workers_port = labels::WORKER_PORT;
    let admin = labels::ADMIN_PORT;
    for (who, to, port) in [
        // Without this one, what is refused below would say nothing.
        (&scene.stranger, listener, PORT),
        (&scene.stranger, router, labels::ROUTER_PORT),
        (&scene.router, worker, workers_port),
        (&scene.router, api_server, api_port),
        (&scene.operator, worker, admin),
        (&scene.operator, router, admin),
        (&scene.operator, api_server, api_port),
    ] {
        eventually(PATIENCE, || {
            ensure!(reaches(stage, who, to, port)?, "it is kept from it");
            Ok(())
        })
        .await
        .with_context(|| format!("{who:?} to {to}:{port}"))?;
    }
    for (who, to, port) in [
        (&scene.stranger, worker, workers_port),
        (&scene.stranger, worker, admin),
        (&scene.stranger, router, admin),
        (&scene.router, worker, admin),
        (&scene.router, listener, PORT),
        (&scene.worker, listener, PORT),
        (&scene.worker, router, labels::ROUTER_PORT),
        (&scene.worker, api_server, api_port),
        (&scene.operator, worker, workers_port),
        (&scene.operator, listener, PORT),
    ] {
        ensure!(
            !reaches(stage, who, to, port)?,
            "{who:?} reached {to}:{port}"
        );
    }
    stage.kubectl(&format!("delete namespace {STRANGERS} --wait=false"))?;
    Ok(())
}

impl Scene {
    /// Two strangers in a namespace of their own, and one pod of each of ours.
    fn set(stage: &Stage) -> Result<Self> {
        stage.restricted_namespace(STRANGERS)?;
        let serve = format!("python3 -m http.server {PORT}");
        for (name, command) in [("stranger", "sleep infinity"), ("listener", serve.as_str())] {
            let pod = restricted_pod(STRANGERS, name, PYTHON, command);
            stage.cluster.kubectl().apply(&pod)?;
        }
        stage.kubectl(&format!(
            "wait pod --all --namespace {STRANGERS} --for=condition=Ready --timeout=60s"
        ))?;
        let stranger = |name: &str| Pod {
            namespace: STRANGERS,
            name: name.to_owned(),
        };
        Ok(Self {
            api_server: api_server(stage)?,
            operator: ours(stage, SYSTEM, "app.kubernetes.io/name=weir-operator")?,
            router: ours(stage, EXAMPLE, "weir.dev/component=router")?,
            worker: ours(stage, EXAMPLE, "weir.dev/deployment=triage")?,
            stranger: stranger("stranger"),
            listener: address(stage, &stranger("listener"))?,
        })
    }
}

/// Where the API server is, behind its Service: an address and a port.
pub fn api_server(stage: &Stage) -> Result<(String, u16)> {
    let slice = stage.json("get endpointslice kubernetes --namespace default")?;
    let address = slice["endpoints"][0]["addresses"][0].as_str();
    let port = slice["ports"][0]["port"].as_u64();
    let port = port.and_then(|port| u16::try_from(port).ok());
    Ok((
        address.context("the API server has an address")?.to_owned(),
        port.context("the API server has a port")?,
    ))
}

/// One pod with a label that is there to stay.
fn ours(stage: &Stage, namespace: &'static str, label: &str) -> Result<Pod> {
    let pods = stage.json(&format!(
        "get pods --selector={label} --namespace {namespace}"
    ))?;
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    let mut staying = pods
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let name = staying.find_map(|pod| pod["metadata"]["name"].as_str());
    let name = name.with_context(|| format!("no pod has {label}"))?.into();
    Ok(Pod { namespace, name })
}

fn address(stage: &Stage, pod: &Pod) -> Result<String> {
    let found = stage.json(&format!(
        "get pod {} --namespace {}",
        pod.name, pod.namespace
    ))?;
    let address = found["status"]["podIP"].as_str();
    Ok(address.context("a pod has an address")?.to_owned())
}

/// Whether a connection comes about. That a pod cannot be asked at all is an error.
fn reaches(stage: &Stage, pod: &Pod, to: &str, port: u16) -> Result<bool> {
    let exec = format!("exec {} --namespace {} --", pod.name, pod.namespace);
    let mut dial = stage.cluster.kubectl().command(&format!("{exec} {DIAL}"));
    dial.arg(format!("exec 3<>/dev/tcp/{to}/{port} && echo reached"));
    let said = weir_e2e::said(&mut dial, "")?;
    ensure!(
        said.ok || said.stderr.contains("exit code"),
        "{pod:?} cannot be asked: {said:?}"
    );
    Ok(said.stdout.contains("reached"))
}
