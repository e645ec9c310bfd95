//! A router in this process, between traffic and whatever the test has it route to.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use weir_crds::{RoutePolicy, SLMDeployment};
use weir_process::{Process, ProcessArgs};
use weir_router::{Args, World};

use crate::replica::{Replica, Wrongs};
use crate::traffic::Traffic;

/// A minute, for a machine that is busy.
const LOOKS: usize = 3000;
/// Between two pieces of the stand-in's answers.
pub const PACE: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(20);

/// One fault at a time: what machine there is, is for its traffic.
pub static TURN: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);

pub struct Stage {
    pub client: Client,
    pub url: String,
    pub admin: String,
    pub frontier: String,
    pub world: watch::Sender<Arc<World>>,
    /// What replicas saw that must not be.
    pub wrongs: Wrongs,
    _router: Process,
    _stand_in: Process,
    _secrets: TempDir,
    _turn: OwnedMutexGuard<()>,
}

impl Stage {
    /// With the policy `support`, whose tiers are `small`, the deployment `triage`, and `frontier`, the stand-in; `spec` says
    /// all else of it.
    pub async fn start(spec: impl Fn(&str) -> Value, change: impl Fn(&mut Args)) -> Self {
        let turn = TURN.clone().lock_owned().await;
        // Fails if another test of this binary was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let stand_in = Process::start("weir-stand-in", &ProcessArgs::embedded()).unwrap();
        let args = weir_stand_in::Args {
            pace: PACE,
            ..weir_stand_in::Args::embedded()
        };
        let frontier = weir_stand_in::serve(&args, &stand_in).await;
        let frontier = format!("http://{}", frontier.unwrap());
        let secrets = tempfile::tempdir().unwrap();
        let router = Process::start("weir-router", &ProcessArgs::embedded()).unwrap();
        let mut args = Args::embedded(secrets.path());
        change(&mut args);
        let (world, worlds) = watch::channel(Arc::new(world(spec(&frontier))));
        let address = weir_router::serve(&router, &args, worlds).await.unwrap();
        let stage = Self {
            client: Client::new(),
            url: format!("http://{address}"),
            admin: format!("http://{}", router.admin_address()),
            frontier,
            world,
            wrongs: Wrongs::default(),
            _router: router,
            _stand_in: stand_in,
            _secrets: secrets,
            _turn: turn,
        };
        let is_followed = |load: &Value| load["policies"]["support"] == 1;
        stage.until("the policy is followed", is_followed).await;
        stage
    }

    /// A hundred asks a second for the policy's model.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            client: self.client.clone(),
            url: self.url.clone(),
            model: "assistant".to_owned(),
            max_tokens: 100,
            per_second: 100,
        }
    }

    /// Starts replicas, and waits until the router knows what they are.
    pub async fn replicas(&self, count: usize) -> Vec<Replica> {
        let replicas: Vec<Replica> = (0..count)
            .map(|index| Replica::start(&self.wrongs, index % 2 == 0))
            .collect();
        self.list(addresses(&replicas));
        tokio::time::sleep(Duration::from_millis(500)).await;
        replicas
    }

    /// The deployment `triage` has this, too.
    pub fn deploy(&self, spec: Value, status: Value) {
        let deployment = deployment(spec, status);
        self.world.send_modify(|world| {
            Arc::make_mut(world).deployments = vec![deployment];
        });
    }

    /// These are ready, and no others.
    pub fn list(&self, addresses: impl Iterator<Item = SocketAddr>) {
        let revision = [("11111111".to_owned(), addresses.collect())];
        self.world.send_modify(|world| {
            Arc::make_mut(world).replicas = [("triage".to_owned(), revision.into())].into();
        });
    }

    pub async fn load(&self) -> Value {
        let load = self.client.get(format!("{}/load", self.admin));
        let text = load.send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["router"].clone()
    }

    pub async fn metrics(&self) -> String {
        let metrics = self.client.get(format!("{}/metrics", self.admin));
        metrics.send().await.unwrap().text().await.unwrap()
    }

    /// Waits until the report of load is as it should be.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let mut load = Value::Null;
        for _ in 0..LOOKS {
            load = self.load().await;
            if is_so(&load) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("never so: {what}; the last load was {load}");
    }

    /// The frontier's next answers fail like this, behind those that are to fail already: so many as are told back.
    pub async fn frontier_fault(&self, fault: &str, count: usize) -> u64 {
        let plan = json!({ "fault": fault, "count": count }).to_string();
        let request = self
            .client
            .post(format!("{}/control/faults", self.frontier));
        let request = request
            .header("content-type", "application/json")
            .body(plan);
        let told = request.send().await.unwrap().error_for_status().unwrap();
        let told: Value = serde_json::from_str(&told.text().await.unwrap()).unwrap();
        told["waiting"].as_u64().unwrap()
    }

    /// Nothing is left in hand, here and at replicas, and nobody saw anything wrong.
    pub async fn nothing_is_left(&self, replicas: &[Replica]) {
        let line = "weir_router_asks_running 0";
        for _ in 0..LOOKS {
            let is_idle = replicas.iter().all(|replica| replica.running() == 0);
            if is_idle && self.metrics().await.contains(line) {
                let wrongs = self.wrongs.lock().unwrap();
                assert!(wrongs.is_empty(), "{wrongs:?}");
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        let running: Vec<usize> = replicas.iter().map(Replica::running).collect();
        panic!("something is left: {running:?} at replicas");
    }
}

pub fn addresses(replicas: &[Replica]) -> impl Iterator<Item = SocketAddr> {
    replicas.iter().map(|replica| replica.address)
}

/// The tier that replicas answer.
pub fn small() -> Value {
    json!({ "name": "small", "deployment": { "name": "triage" } })
}

/// The tier that the stand-in answers, at prices that [`charged`](crate::leader::charged) knows.
pub fn endpoint(frontier: &str) -> Value {
    json!({ "name": "frontier", "endpoint": {
        "provider": "OpenAICompatible", "model": "big", "baseUrl": format!("{frontier}/v1"),
        "price": { "inputPerMillion": "3", "outputPerMillion": "15" },
        "timeouts": { "connect": "1s", "firstByte": "5s", "idle": "5s" },
    } })
}

fn world(spec: Value) -> World {
    World {
        policies: vec![policy(spec)],
        deployments: vec![deployment(json!({}), json!({}))],
        ..World::default()
    }
}

pub fn policy(mut spec: Value) -> Arc<RoutePolicy> {
    spec["models"] = json!(["assistant"]);
    let policy = json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
        "metadata": { "name": "support", "generation": 1 }, "spec": spec,
    });
    Arc::new(serde_json::from_value(policy).unwrap())
}

pub fn deployment(mut spec: Value, status: Value) -> Arc<SLMDeployment> {
    spec["model"] = json!({ "source": "file:///models/triage" });
    let deployment = json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
        "metadata": { "name": "triage" }, "spec": spec, "status": status,
    });
    Arc::new(serde_json::from_value(deployment).unwrap())
}
