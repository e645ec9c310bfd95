//! The router as a program of its own, which can be killed, with the cluster that it sees and whoever grants it
//! money there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::sleep;
use weir_crds::{Period, RoutePolicy, labels};
use weir_policy::budget::ledger::{Book, Ledger};
use weir_policy::load::RouterLoad;
use weir_process::{Process, ProcessArgs};

use crate::api_server::ApiServer;
use crate::clock::Clock;
use crate::leader::dealt;
use crate::replica::{Replica, Wrongs};
use crate::stage::{PACE, TURN, deployment, policy};
use crate::traffic::Traffic;

/// Of the leader, between two looks.
const EVERY: Duration = Duration::from_millis(50);
const LOOKS: usize = 600;

/// A running router.
pub struct Program {
    child: Child,
    pub url: String,
    pub admin: String,
}

/// What a router finds around it.
pub struct Cluster {
    pub client: Client,
    pub api: Mutex<ApiServer>,
    pub frontier: String,
    pub wrongs: Wrongs,
    policy: Arc<RoutePolicy>,
    pub book: Mutex<Book>,
    /// How many seconds the leader's clock is before the machine's.
    leader_ahead: AtomicI64,
    /// Whose load the leader reads.
    admin: Mutex<Option<String>>,
    state: TempDir,
    _stand_in: Process,
    _turn: OwnedMutexGuard<()>,
}

impl Cluster {
    pub async fn start(spec: impl Fn(&str) -> Value) -> Self {
        let turn = TURN.clone().lock_owned().await;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let stand_in = Process::start("weir-stand-in", &ProcessArgs::embedded()).unwrap();
        let args = weir_stand_in::Args {
            pace: PACE,
            ..weir_stand_in::Args::embedded()
        };
        let frontier = weir_stand_in::serve(&args, &stand_in).await.unwrap();
        let frontier = format!("http://{frontier}");
        let policy = policy(spec(&frontier));
        let api = ApiServer::start();
        api.write("routepolicies", serde_json::to_value(&*policy).unwrap());
        let deployment = deployment(json!({}), json!({}));
        let deployment = serde_json::to_value(&*deployment).unwrap();
        api.write("slmdeployments", deployment);
        Self {
            client: Client::new(),
            api: Mutex::new(api),
            frontier,
            wrongs: Wrongs::default(),
            policy,
            book: Mutex::default(),
            leader_ahead: AtomicI64::default(),
            admin: Mutex::default(),
            state: tempfile::tempdir().unwrap(),
            _stand_in: stand_in,
            _turn: turn,
        }
    }

    /// Starts replicas that are ready at once.
    pub async fn replicas(&self, count: usize) -> Vec<Replica> {
        let replicas: Vec<Replica> = (0..count)
            .map(|_| Replica::start(&self.wrongs, false))
            .collect();
        let api = self.api.lock().await;
        for replica in &replicas {
            api.write("endpointslices", slice(replica));
        }
        replicas
    }

    pub async fn router(&self) -> Program {
        self.router_by(None).await
    }

    /// Starts a router, which reads the time of day from `clock`, and waits until it serves what there is.
    pub async fn router_by(&self, clock: Option<&Clock>) -> Program {
        let mut program = self.command("127.0.0.1:0").await;
        if let Some(clock) = clock {
            clock.set_for(&mut program);
        }
        let mut child = program.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut told = BTreeMap::new();
        while !(told.contains_key("address") && told.contains_key("admin")) {
            let line = said.next().expect("it goes on talking").unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            for name in ["address", "admin"] {
                if let Some(address) = line[name].as_str() {
                    told.insert(name, format!("http://{address}"));
                }
            }
        }
        // It has to be heard to its end.
        thread::spawn(move || said.for_each(drop));
        let program = Program {
            child,
            url: told["address"].clone(),
            admin: told["admin"].clone(),
        };
        self.until("it is ready", async || {
            let ready = self.client.get(format!("{}/readyz", program.admin));
            ready.send().await.is_ok_and(|ready| ready.status() == 200)
        })
        .await;
        *self.admin.lock().await = Some(program.admin.clone());
        program
    }

    /// Starts a router at that address, and waits for nothing.
    pub async fn router_at(&self, address: SocketAddr) -> Program {
        let mut program = self.command(&address.to_string()).await;
        Program {
            child: program.stderr(Stdio::null()).spawn().unwrap(),
            url: format!("http://{address}"),
            admin: String::new(),
        }
    }

    async fn command(&self, listen: &str) -> Command {
        let kubeconfig = self.api.lock().await.kubeconfig();
        let mut program = Command::new(env!("CARGO_BIN_EXE_weir-router"));
        program
            .arg(format!("--listen={listen}"))
            .args(["--admin=127.0.0.1:0", "--allow-loopback"])
            .args(["--log-format=json", "--slice-wait=200ms"])
            .arg(format!("--secrets-root={}", self.state.path().display()))
            .arg(format!("--world-file={}", self.world_file().display()))
            .env("KUBECONFIG", kubeconfig)
            .env_remove("KUBERNETES_SERVICE_HOST");
        program
    }

    /// Where a router keeps what it saw.
    pub fn world_file(&self) -> PathBuf {
        self.state.path().join("world.json")
    }

    /// The router is no more, and neither is its pod.
    pub async fn kill(&self, mut program: Program) {
        program.child.kill().unwrap();
        *self.admin.lock().await = None;
    }

    /// Is the leader, for ever. Writes nothing while the API server is away, nor while it has not read what a
    /// router that is there has to say.
    pub async fn lead(&self) {
        loop {
            sleep(EVERY).await;
            let admin = self.admin.lock().await.clone();
            let load = match &admin {
                Some(admin) => match self.load(admin).await {
                    Some(load) => Some(load),
                    None => continue,
                },
                None => None,
            };
            let api = self.api.lock().await;
            let mut book = self.book.lock().await;
            let ahead = SignedDuration::from_secs(self.leader_ahead.load(Ordering::SeqCst));
            let policies = std::slice::from_ref(&self.policy);
            let next = dealt(&book, policies, load.as_ref(), Timestamp::now() + ahead);
            if !api.is_away() && next != *book {
                let map = json!({
                    "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": { "name": labels::BUDGETS }, "data": next.write(),
                });
                api.write("configmaps", map);
                *book = next;
            }
        }
    }

    /// It is so much later by the leader's clock at once, than it is.
    pub fn step(&self, seconds: i64) {
        self.leader_ahead.store(seconds, Ordering::SeqCst);
    }

    async fn load(&self, admin: &str) -> Option<RouterLoad> {
        let load = self.client.get(format!("{admin}/load")).send().await.ok()?;
        let load: Value = serde_json::from_str(&load.text().await.ok()?).ok()?;
        serde_json::from_value(load["router"].clone()).ok()
    }

    /// What is granted of the month's budget, and was.
    pub async fn ledger(&self) -> Ledger {
        self.book.lock().await.policies["support"][&Period::Month].clone()
    }

    pub async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        for _ in 0..LOOKS {
            if is_so().await {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("never so: {what}");
    }

    pub fn traffic(&self, program: &Program) -> Traffic {
        Traffic {
            client: self.client.clone(),
            url: program.url.clone(),
            model: "assistant".to_owned(),
            max_tokens: 100,
            per_second: 100,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A slice of its own for each, as each has a port of its own.
fn slice(replica: &Replica) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": format!("triage-{}", replica.address.port()), "labels": {
            labels::COMPONENT: labels::WORKER,
            labels::DEPLOYMENT: "triage",
            labels::REVISION: "11111111",
        } },
        "ports": [{ "port": replica.address.port() }],
        "endpoints": [{ "addresses": [replica.address.ip()], "conditions": { "ready": true } }],
    })
}
