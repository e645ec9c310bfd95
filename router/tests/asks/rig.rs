//! A router on loopback with scripted workers and the stand-in frontier, and a client for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use weir_process::{Process, ProcessArgs};
use weir_router::{Args, World};

use crate::worker::Scripted;

/// The question of every test; no ticket, so that the stand-in answers it with [`POLITE`].
pub const QUESTION: &str = "Where does this go?";

/// What a test may choose.
pub struct Setup {
    /// Merged over the spec of the policy `support`.
    pub policy: Value,
    pub workers: Vec<Scripted>,
    pub args: fn(&mut Args),
    pub process: fn(&mut ProcessArgs),
    pub egress_proxy: Option<String>,
    /// Before the router starts: secret, entry, text.
    pub secrets: &'static [(&'static str, &'static str, &'static str)],
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policy: json!({}),
            workers: Vec::new(),
            args: |_| {},
            process: |_| {},
            egress_proxy: None,
            secrets: &[],
        }
    }
}

/// A minute, for a machine that is busy.
const LOOKS: usize = 3000;

pub struct Rig {
    pub client: Client,
    pub url: String,
    pub admin: String,
    pub frontier: String,
    pub secrets: TempDir,
    pub world: watch::Sender<Arc<World>>,
    _workers: Vec<Scripted>,
    router: Process,
    _stand_in: Process,
}

impl Rig {
    /// With a policy and workers, and all else as usual.
    pub async fn with(policy: Value, workers: &[&Scripted]) -> Self {
        let workers = workers.iter().map(|worker| (*worker).clone()).collect();
        Self::start(Setup {
            policy,
            workers,
            ..Setup::default()
        })
        .await
    }

    pub async fn start(setup: Setup) -> Self {
        // Fails if another test of this binary was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let stand_in = Process::start("weir-stand-in", &ProcessArgs::embedded()).unwrap();
        let frontier = weir_stand_in::serve(&weir_stand_in::Args::embedded(), &stand_in).await;
        let frontier = format!("http://{}", frontier.unwrap());
        let secrets = tempfile::tempdir().unwrap();
        for (secret, entry, text) in setup.secrets {
            write_secret(&secrets, secret, entry, text);
        }
        let mut process = ProcessArgs::embedded();
        (setup.process)(&mut process);
        let process = Process::start("weir-router", &process).unwrap();
        let mut args = Args::embedded(secrets.path());
        args.replica_wait = Duration::from_millis(50);
        (setup.args)(&mut args);
        args.egress_proxy = setup.egress_proxy.map(|url| url.parse().unwrap());
        let addresses: Vec<_> = setup.workers.iter().map(|worker| worker.address).collect();
        let world = world(setup.policy, &frontier, &addresses);
        let (world, worlds) = watch::channel(Arc::new(world));
        let address = weir_router::serve(&process, &args, worlds).await.unwrap();
        let rig = Self {
            client: Client::new(),
            url: format!("http://{address}"),
            admin: format!("http://{}", process.admin_address()),
            frontier,
            secrets,
            world,
            _workers: setup.workers,
            router: process,
            _stand_in: stand_in,
        };
        // The secrets are read once after the start.
        rig.until("the policy is followed", |load| {
            load["policies"]["support"] == 1
        })
        .await;
        rig
    }

    /// Tells the router to end, as a signal would.
    pub fn begin_end(&self) {
        self.router.shutdown().begin("the test is over");
    }

    /// Waits for the end of everything that the router does.
    pub async fn ended(self) {
        drop(self.world);
        self.router.finish().await.unwrap();
    }

    /// Asks the policy's model, with `extra` merged into the request.
    pub async fn ask(&self, extra: Value) -> Response {
        self.ask_with(extra, HeaderMap::new()).await
    }

    pub async fn ask_with(&self, extra: Value, headers: HeaderMap) -> Response {
        let mut body = json!({
            "model": "assistant",
            "messages": [{ "role": "user", "content": QUESTION }],
        });
        merge(&mut body, extra);
        self.post(body.to_string(), headers).await
    }

    pub async fn post(&self, body: String, headers: HeaderMap) -> Response {
        let url = format!("{}/v1/chat/completions", self.url);
        self.client
            .post(url)
            .headers(headers)
            .body(body)
            .send()
            .await
            .unwrap()
    }

    pub async fn get(&self, path: &str, headers: HeaderMap) -> Response {
        let url = format!("{}{path}", self.url);
        self.client.get(url).headers(headers).send().await.unwrap()
    }

    pub async fn load(&self) -> Value {
        let load = self
            .client
            .get(format!("{}/load", self.admin))
            .send()
            .await
            .unwrap();
        let load: Value = serde_json::from_str(&load.text().await.unwrap()).unwrap();
        load["router"].clone()
    }

    pub async fn metrics(&self) -> String {
        let metrics = self
            .client
            .get(format!("{}/metrics", self.admin))
            .send()
            .await
            .unwrap();
        metrics.text().await.unwrap()
    }

    /// Turns the router to another world, and waits until it follows that one's policy.
    pub async fn follow(&self, mut world: World) {
        let policy = Arc::make_mut(&mut world.policies[0]);
        let before = self.world.borrow().policies[0].metadata.generation;
        let generation = before.unwrap_or_default() + 1;
        policy.metadata.generation = Some(generation);
        self.world.send_replace(Arc::new(world));
        self.until("the next policy is followed", |load| {
            load["policies"]["support"] == generation
        })
        .await;
    }

    /// Waits until the report of load is as it should be.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let mut load = Value::Null;
        for _ in 0..LOOKS {
            load = self.load().await;
            if is_so(&load) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never so: {what}; the last load was {load}");
    }

    /// Waits until a line of the metrics is there: an ask is settled after its answer was read.
    pub async fn until_counted(&self, line: &str) {
        let mut metrics = String::new();
        for _ in 0..LOOKS {
            metrics = self.metrics().await;
            if metrics.contains(line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never counted: {line}\n{metrics}");
    }

    /// The bodies and headers that the frontier got.
    pub async fn sent_to_frontier(&self) -> Vec<Value> {
        let requests = self
            .client
            .get(format!("{}/control/requests", self.frontier))
            .send()
            .await;
        let text = requests.unwrap().text().await.unwrap();
        let requests: Value = serde_json::from_str(&text).unwrap();
        requests["requests"]
            .as_array()
            .unwrap_or_else(|| panic!("no list: {text}"))
            .clone()
    }

    /// The frontier's next answers fail like this.
    pub async fn frontier_fault(&self, fault: &str) {
        let url = format!("{}/control/faults", self.frontier);
        let body = json!({ "fault": fault, "count": 100 }).to_string();
        let request = self
            .client
            .post(url)
            .header("content-type", "application/json");
        let response = request.body(body).send().await.unwrap();
        assert!(
            response.status().is_success(),
            "{}",
            response.text().await.unwrap()
        );
    }

    /// The frontier is well again.
    pub async fn no_frontier_faults(&self) {
        let url = format!("{}/control/faults", self.frontier);
        let response = self.client.delete(url).send().await.unwrap();
        assert!(response.status().is_success());
    }

    pub fn write_secret(&self, secret: &str, entry: &str, text: &str) {
        write_secret(&self.secrets, secret, entry, text);
    }
}

fn write_secret(root: &TempDir, secret: &str, entry: &str, text: &str) {
    let folder = root.path().join(secret);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(entry), text).unwrap();
}

/// The policy `support` over the deployment `triage` and the frontier.
pub fn world(policy: Value, frontier: &str, replicas: &[SocketAddr]) -> World {
    let mut spec = json!({
        "models": ["assistant"],
        "tiers": [
            {
                "name": "small", "deployment": { "name": "triage" },
                "accept": { "task": "Choice", "threshold": "0.9" },
            },
            {
                "name": "frontier",
                "endpoint": {
                    "provider": "OpenAICompatible", "model": "big",
                    "baseUrl": format!("{frontier}/v1"),
                    "price": { "inputPerMillion": "3", "outputPerMillion": "15" },
                },
            },
        ],
        "retries": { "max": 1 },
    });
    merge(&mut spec, policy);
    let policy = json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
        "metadata": { "name": "support", "generation": 1 }, "spec": spec,
    });
    let deployment = json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
        "metadata": { "name": "triage" },
        "spec": {
            "model": { "source": "file:///models/triage" }, "price": { "replicaHour": "0.36" },
            "adapters": [{ "name": "tickets", "source": "file:///models/tickets" }],
            "scaling": { "hold": { "wait": "50ms" } },
        },
    });
    let revision = ("11111111".to_owned(), replicas.iter().copied().collect());
    World {
        policies: vec![Arc::new(serde_json::from_value(policy).unwrap())],
        deployments: vec![Arc::new(serde_json::from_value(deployment).unwrap())],
        replicas: [("triage".to_owned(), [revision].into())].into(),
        ..World::default()
    }
}

/// Objects field by field, lists item by item, anything else replaced.
pub fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (field, value) in from {
                merge(into.entry(field).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) if !into.is_empty() => {
            into.iter_mut()
                .zip(from)
                .for_each(|(into, from)| merge(into, from));
        }
        (into, from) => *into = from,
    }
}

/// What begins a conversation that is another one for each number.
pub fn asked(number: usize) -> Value {
    json!({ "messages": [{ "role": "user", "content": format!("Where does number {number} go?") }] })
}

/// A header as text; empty where it is absent.
pub fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    value
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default()
}

pub async fn json_of(response: Response) -> Value {
    let text = response.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A stream as an SDK reads it.
pub struct Streamed {
    pub text: String,
    pub chunks: Vec<Value>,
    /// It ended in `[DONE]`.
    pub is_done: bool,
}

pub async fn streamed(response: Response) -> Streamed {
    let body = response.text().await.unwrap();
    let lines = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let (done, data): (Vec<&str>, Vec<&str>) = lines.partition(|line| *line == "[DONE]");
    let chunks: Vec<Value> = data
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let contents = chunks
        .iter()
        .filter_map(|chunk| chunk.pointer("/choices/0/delta/content")?.as_str());
    Streamed {
        text: contents.collect(),
        is_done: done.len() == 1,
        chunks,
    }
}
