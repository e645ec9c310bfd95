//! A cluster of one deployment and one router, in memory: what the operator writes is there for its next pass,
//! and an operator can end before any of its writes.
//!
//! Applies are merged, and refused where they name another version or UID; nothing is validated, and no field
//! is taken away again. Replicas are ready when they are looked at next, and routers obey a status at once. There
//! are no pods but the router's. The same stories, shorter, are told to a real API server in `e2e`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::StreamExt;
use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;
use weir_policy::load::{Load, RevisionLoad, RouterLoad};
use weir_process::{Process, ProcessArgs};

use crate::apply::Writer;
use crate::cache::{Cache, Scope};
use crate::context::Context;
use crate::deployment::reconcile;
use crate::entries::Entries;
use crate::lease::{Leadership, Timing, Told};
use crate::load::Loads;
use crate::metrics::OperatorMetrics;
use crate::reach::Reaches;
use crate::rollouts::Rollouts;
use crate::scaling::Scales;
use crate::settings::Settings;
use crate::spends::Spends;
use crate::upgrades::Upgrades;

const TRIAGE: &str = "/apis/weir.dev/v1alpha1/namespaces/support/slmdeployments/triage";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/support/deployments/triage-";
const ROUTER: &str = "/api/v1/namespaces/support/pods/router";
/// So long from look to look, in seconds.
const STEP: i64 = 5;

/// What an API server holds, by path.
#[derive(Default)]
pub struct Objects {
    by_path: BTreeMap<String, Value>,
    version: u64,
    /// Writes that were done.
    pub writes: usize,
    /// The operator ends before the write of this number.
    pub ends_before: Option<usize>,
    has_ended: bool,
}

pub struct Cluster {
    objects: Arc<Mutex<Objects>>,
    client: Client,
    writer: Writer,
    loads: Loads,
    rollouts: Rollouts,
    scales: Scales,
    upgrades: Upgrades,
    pub second: i64,
    counts: BTreeMap<String, RevisionLoad>,
    /// The drain or the image of revisions of whose attempts every third fails.
    pub fails: Option<&'static str>,
    /// What whoever installed the operator decided.
    pub settings: Settings,
    _leads: (Told, Process),
}

impl Cluster {
    pub fn new(rollout: &Value) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let process = Process::start("weir-operator", &ProcessArgs::embedded()).unwrap();
        let (told, leadership) = Told::new();
        told.leads(1);
        let objects = Arc::new(Mutex::new(Objects::default()));
        let client = api_server(objects.clone());
        let cluster = Self {
            writer: writer(&client, leadership, &process),
            objects,
            client,
            loads: Loads::default(),
            rollouts: Rollouts::default(),
            scales: Scales::default(),
            upgrades: Upgrades::default(),
            second: 1_000_000,
            counts: BTreeMap::new(),
            fails: None,
            settings: Settings::default(),
            _leads: (told, process),
        };
        let spec = json!({
            "model": { "source": "file:///models/triage" }, "replicas": 2, "drain": "1m", "rollout": rollout,
        });
        let triage = json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
            "metadata": { "name": "triage", "namespace": "support" }, "spec": spec,
        });
        let router = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "router", "namespace": "support",
                "labels": { "weir.dev/component": "router", "app.kubernetes.io/managed-by": "weir" },
            },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        for (path, object) in [(TRIAGE, triage), (ROUTER, router)] {
            cluster.objects().put(path, &object).unwrap();
        }
        cluster
    }

    pub fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap()
    }

    /// The user changes the deployment.
    pub fn change(&self, change: &Value) {
        self.objects().put(TRIAGE, change).unwrap();
    }

    pub fn triage(&self) -> Value {
        self.objects().by_path[TRIAGE].clone()
    }

    /// What routers read: the revisions by the drain that tells them apart, and the weight.
    pub fn rollout(&self) -> (String, String, u64) {
        let rollout = &self.triage()["status"]["rollout"];
        let drain = |field: &str| self.drain(rollout[field].as_str().unwrap_or_default());
        let weight = rollout["weight"].as_u64().unwrap_or_default();
        (drain("stable"), drain("canary"), weight)
    }

    /// `status/reason` of a condition.
    pub fn condition(&self, type_: &str) -> String {
        let triage = self.triage();
        let conditions = triage["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let found = conditions.find(|condition| condition["type"] == type_);
        found.map_or_else(String::new, |found| {
            let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
            format!("{}/{}", text("status"), text("reason"))
        })
    }

    /// The replicas of each revision, by its drain: wanted and ready.
    pub fn replicas(&self) -> BTreeMap<String, (u64, u64)> {
        let objects = self.objects();
        let found = objects.by_path.iter();
        let found = found.filter(|(path, _)| path.starts_with(DEPLOYMENTS));
        let count = |count: &Value| count.as_u64().unwrap_or_default();
        let counts = found.map(|(_, object)| {
            let ready = count(&object["status"]["readyReplicas"]);
            (
                drain_of(object),
                (count(&object["spec"]["replicas"]), ready),
            )
        });
        counts.collect()
    }

    /// The image of each revision that is there, and whether it is on trial.
    pub fn images(&self) -> Vec<(String, bool)> {
        let objects = self.objects();
        let found = objects.by_path.iter();
        let found = found.filter(|(path, _)| path.starts_with(DEPLOYMENTS));
        let on_trial = |object: &Value| object["metadata"]["labels"]["weir.dev/role"] == "canary";
        let images = found.map(|(_, object)| (image_of(object), on_trial(object)));
        images.collect()
    }

    fn is_made_with(&self, revision: &str, of: &str) -> bool {
        let objects = self.objects();
        let found = objects.by_path.get(&format!("{DEPLOYMENTS}{revision}"));
        found.is_some_and(|object| {
            [drain_of(object), image_of(object)]
                .iter()
                .any(|is| is == of)
        })
    }

    fn drain(&self, revision: &str) -> String {
        let objects = self.objects();
        let found = objects.by_path.get(&format!("{DEPLOYMENTS}{revision}"));
        found.map_or_else(String::new, drain_of)
    }

    /// Pods start and stop, clients ask, and the operator looks, which may end on the way.
    pub async fn look(&mut self) {
        self.second += STEP;
        self.run_pods();
        self.ask();
        let now = Timestamp::from_second(self.second).unwrap();
        let ctx = self.context().await;
        let passed = reconcile(&ctx, ("support", "triage"), now).await;
        let has_ended = std::mem::take(&mut self.objects().has_ended);
        assert!(passed.is_ok() || has_ended, "{passed:?}");
        if has_ended {
            self.restart();
        }
    }

    /// Another operator begins.
    pub fn restart(&mut self) {
        self.rollouts = Rollouts::default();
        self.scales = Scales::default();
        self.upgrades = Upgrades::default();
    }

    fn run_pods(&self) {
        let mut objects = self.objects();
        let all = objects.by_path.iter_mut();
        for (_, object) in all.filter(|(path, _)| path.starts_with(DEPLOYMENTS)) {
            let wanted = object["spec"]["replicas"].clone();
            object["status"] = json!({ "replicas": wanted, "readyReplicas": wanted });
        }
    }

    /// Forty asks a second, as the status says.
    fn ask(&mut self) {
        let rollout = self.triage()["status"]["rollout"].clone();
        let weight = rollout["weight"].as_u64().unwrap_or_default();
        let asks = 40 * u64::try_from(STEP).unwrap();
        for (field, part) in [("stable", 100 - weight), ("canary", weight)] {
            let revision = rollout[field].as_str().unwrap_or_default();
            let fails = self.fails.is_some_and(|of| self.is_made_with(revision, of));
            let load = self.counts.entry(revision.to_owned()).or_default();
            load.asks += asks * part / 100;
            load.errors = if fails { load.asks / 3 } else { 0 };
        }
        let load = Load {
            router: Some(RouterLoad {
                run: "run".into(),
                revisions: [("triage".to_owned(), self.counts.clone())].into(),
                ..RouterLoad::default()
            }),
            ..Load::default()
        };
        let pod: Pod = serde_json::from_value(self.objects().by_path[ROUTER].clone()).unwrap();
        self.loads.hear(&pod, load, Instant::now());
    }

    /// An operator that has seen everything.
    async fn context(&self) -> Context {
        let (cache, mut changes) = Cache::watch(&self.client, &Scope::Cluster);
        tokio::select! {
            () = cache.ready() => {}
            () = async { while changes.next().await.is_some() {} } => {}
        }
        let reaches = Reaches::default();
        reaches.found("support", 1);
        Context {
            cache,
            entries: Entries::new(self.client.clone()).0,
            loads: self.loads.clone(),
            reaches,
            rollouts: self.rollouts.clone(),
            scales: self.scales.clone(),
            spends: Spends::default(),
            upgrades: self.upgrades.clone(),
            writer: self.writer.clone(),
            settings: self.settings.clone(),
            client: self.client.clone(),
        }
    }
}

fn writer(client: &Client, leadership: Leadership, process: &Process) -> Writer {
    let writes = OperatorMetrics::register(process.metrics()).writes;
    let request = Timing::default().request;
    Writer::new(client.clone(), leadership, request, "one", writes)
}

fn image_of(deployment: &Value) -> String {
    let pod = &deployment["spec"]["template"]["spec"];
    pod["containers"][0]["image"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn drain_of(deployment: &Value) -> String {
    let pod = &deployment["spec"]["template"]["spec"];
    let arguments = pod["containers"][0]["args"].as_array();
    let mut arguments = arguments.into_iter().flatten().filter_map(Value::as_str);
    let drain = arguments.find_map(|argument| argument.strip_prefix("--drain="));
    drain.unwrap_or_default().to_owned()
}

impl Objects {
    /// As an apply, or a merge of what has no status, does: what is there now; or the code of the refusal.
    fn put(&mut self, path: &str, body: &Value) -> Result<Value, u16> {
        let path = path.strip_suffix("/status").unwrap_or(path);
        let there = self.by_path.get(path);
        for field in ["uid", "resourceVersion"] {
            let named = &body["metadata"][field];
            let is = there.map(|there| &there["metadata"][field]);
            let makes = is.is_none() && *named == "1";
            if !named.is_null() && is != Some(named) && !makes {
                return Err(409);
            }
        }
        self.version += 1;
        let uid = format!("u{}", self.version);
        let new =
            json!({ "metadata": { "uid": uid, "creationTimestamp": "1970-01-12T13:46:40Z" } });
        let mut object = there.cloned().unwrap_or(new);
        merge(&mut object, body);
        object["metadata"]["resourceVersion"] = json!((self.version + 100).to_string());
        self.by_path.insert(path.to_owned(), object.clone());
        Ok(object)
    }

    /// Somebody deletes it: whether it was there.
    pub fn delete(&mut self, path: &str) -> bool {
        self.by_path.remove(path).is_some()
    }

    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> Result<Value, u16> {
        if *method == Method::GET {
            return match path.contains("/namespaces/") {
                true => self.by_path.get(path).cloned().ok_or(404),
                false => Ok(self.list(path)),
            };
        }
        if path.contains("/events") {
            return Ok(body.clone());
        }
        if self.has_ended || self.ends_before == Some(self.writes) {
            self.has_ended = true;
            self.ends_before = None;
            return Err(503);
        }
        self.writes += 1;
        match *method {
            Method::DELETE => self.by_path.remove(path).ok_or(404),
            _ => self.put(path, body),
        }
    }

    /// All of a kind, in all namespaces.
    fn list(&self, path: &str) -> Value {
        let kind = path.rsplit('/').next().unwrap_or_default();
        let of_kind = format!("/namespaces/support/{kind}/");
        let all = self.by_path.iter();
        let all = all.filter(|(path, _)| path.contains(&of_kind));
        let items: Vec<&Value> = all.map(|(_, object)| object).collect();
        json!({
            "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "1" }, "items": items,
        })
    }
}

fn merge(object: &mut Value, change: &Value) {
    match (object, change) {
        (Value::Object(object), Value::Object(change)) => {
            for (key, value) in change {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (object, change) => *object = change.clone(),
    }
}

fn api_server(objects: Arc<Mutex<Objects>>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let objects = objects.clone();
        async move {
            let query = request.uri().query().unwrap_or_default();
            if query.contains("watch=true") {
                pending::<()>().await;
            }
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let body = request.into_body().collect_bytes().await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let answer = objects.lock().unwrap().answer(&method, &path, &body);
            let (status, said) = match answer {
                Ok(said) => (200, said),
                Err(code) => (
                    code,
                    json!({
                        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
                        "reason": "", "message": "",
                    }),
                ),
            };
            let response = Response::builder().status(status);
            let body = Body::from(said.to_string().into_bytes());
            Ok::<_, Infallible>(response.body(body).unwrap())
        }
    });
    Client::new(service, "default")
}
