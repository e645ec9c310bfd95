//! Feeds the [`World`] from the API server, in one namespace, reading only: policies,
//! deployments, EndpointSlices of workers and of routers, and the ConfigMaps of last good policies and of budgets.
//!
//! Needs nothing of the operator. While the API server cannot be reached, the world stays as it
//! was last seen, also across a restart where there is a file to keep it in. An object that cannot
//! be read disturbs no other.

mod remembered;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher::{Config, Error, Event, watcher};
use kube::{Client, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::sleep;
use weir_crds::{RoutePolicy, SLMDeployment, labels};
use weir_policy::budget::ledger::Book;
use weir_policy::last_good;
use weir_process::watches::paced;
use weir_process::{Process, Readiness};

use crate::args::Args;
use crate::world::{Replicas, World};

/// Starts watching as a task that the process needs, and gives what it sees. The gate `world`
/// opens when everything was listed once.
pub(crate) async fn start(
    process: &Process,
    args: &Args,
) -> anyhow::Result<watch::Receiver<Arc<World>>> {
    let client = Client::try_default().await.context("find the API server")?;
    let (sender, worlds) = watch::channel(Arc::default());
    let (listed, kept) = watch::channel(Arc::default());
    if let Some(path) = args.world_file.clone() {
        let keep = remembered::keep(path, kept);
        process.tasks().spawn("keep the world", keep);
    }
    let follow = Follow {
        seen: Seen::default(),
        listed,
        remembered: args.world_file.as_deref().and_then(remembered::read),
        worlds: sender,
        readiness: process.readiness().clone(),
    };
    let _ = process.readiness().gate(GATE);
    let changes = changes(client, &args.namespace);
    process.tasks().spawn_required("watch", follow.run(changes));
    Ok(worlds)
}

const GATE: &str = "world";
/// An API server that is there has listed a namespace by then.
const PATIENCE: Duration = Duration::from_secs(3);

/// One event of one of the watches.
enum Change {
    Policy(Event<DynamicObject>),
    Deployment(Event<DynamicObject>),
    Slice(Event<EndpointSlice>),
    RouterSlice(Event<EndpointSlice>),
    LastGood(Event<ConfigMap>),
    Budgets(Event<ConfigMap>),
    Failed(&'static str, Error),
}

fn changes(client: Client, namespace: &str) -> BoxStream<'static, Change> {
    let policies = ApiResource::erase::<RoutePolicy>(&());
    let policies = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &policies);
    let deployments = ApiResource::erase::<SLMDeployment>(&());
    let deployments =
        Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &deployments);
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), namespace);
    let workers = format!("{}={}", labels::COMPONENT, labels::WORKER);
    let routers = format!("{}={}", labels::SERVICE, labels::ROUTER_NAME);
    let maps = Api::<ConfigMap>::namespaced(client, namespace);
    let named = |name: &str| Config::default().fields(&format!("metadata.name={name}"));
    let all = [
        watched(policies, Config::default(), "policies", Change::Policy),
        watched(
            deployments,
            Config::default(),
            "deployments",
            Change::Deployment,
        ),
        watched(
            slices.clone(),
            Config::default().labels(&workers),
            "endpoint slices",
            Change::Slice,
        ),
        watched(
            slices,
            Config::default().labels(&routers),
            "endpoint slices of routers",
            Change::RouterSlice,
        ),
        watched(
            maps.clone(),
            named(labels::LAST_GOOD_POLICIES),
            "last good policies",
            Change::LastGood,
        ),
        watched(maps, named(labels::BUDGETS), "budgets", Change::Budgets),
    ];
    stream::select_all(all).boxed()
}

fn watched<K>(
    api: Api<K>,
    config: Config,
    what: &'static str,
    change: fn(Event<K>) -> Change,
) -> BoxStream<'static, Change>
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let changes = paced(watcher(api, config)).map(move |event| match event {
        Ok(event) => change(event),
        Err(error) => Change::Failed(what, error),
    });
    changes.boxed()
}

/// The objects of one kind, by name.
struct Kept<K> {
    objects: BTreeMap<String, Arc<K>>,
    /// While a list is being read: what it has so far.
    listing: Option<BTreeMap<String, Arc<K>>>,
    was_listed: bool,
}

impl<K> Default for Kept<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            listing: None,
            was_listed: false,
        }
    }
}

impl<K> Kept<K> {
    /// Takes an event; `read` makes our object of the one that was seen, or explains why not.
    fn take<S: ResourceExt>(&mut self, event: Event<S>, read: impl Fn(S) -> Result<K, String>) {
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitDone => {
                self.objects = self.listing.take().unwrap_or_default();
                self.was_listed = true;
            }
            Event::Delete(object) => drop(self.objects.remove(&object.name_any())),
            Event::Apply(object) | Event::InitApply(object) => {
                let name = object.name_any();
                let object = match read(object) {
                    Ok(object) => Some(Arc::new(object)),
                    Err(error) => {
                        tracing::warn!(
                            object = name,
                            error,
                            "object not understood, the one before stays"
                        );
                        self.objects.get(&name).cloned()
                    }
                };
                let into = self.listing.as_mut().unwrap_or(&mut self.objects);
                into.extend(object.map(|object| (name, object)));
            }
        }
    }
}

#[derive(Default)]
struct Seen {
    policies: Kept<RoutePolicy>,
    deployments: Kept<SLMDeployment>,
    slices: Kept<EndpointSlice>,
    router_slices: Kept<EndpointSlice>,
    last_good: Kept<ConfigMap>,
    budgets: Kept<ConfigMap>,
}

struct Follow {
    seen: Seen,
    /// Every world that was listed, for whoever keeps it.
    listed: watch::Sender<Arc<World>>,
    /// What a router before this one had listed.
    remembered: Option<World>,
    worlds: watch::Sender<Arc<World>>,
    readiness: Readiness,
}

impl Follow {
    /// Ends when nobody follows the world any more; a watch starts again whatever happens.
    async fn run(mut self, mut changes: BoxStream<'static, Change>) -> anyhow::Result<()> {
        let gate = self.readiness.gate(GATE);
        let patience = sleep(PATIENCE);
        tokio::pin!(patience);
        loop {
            let change = tokio::select! {
                () = self.worlds.closed() => return Ok(()),
                change = changes.next() => change.context("the watches ended")?,
                () = &mut patience, if self.remembered.is_some() => {
                    let world = self.remembered.take().unwrap_or_default();
                    tracing::warn!("the API server is silent: the world of the last run is served");
                    self.worlds.send_replace(Arc::new(world));
                    gate.open();
                    continue;
                }
            };
            self.seen.take(change);
            if self.seen.is_listed() {
                self.remembered = None;
                let world = Arc::new(self.seen.world());
                self.listed.send_replace(world.clone());
                self.worlds.send_replace(world);
                gate.open();
            }
        }
    }
}

impl Seen {
    fn take(&mut self, change: Change) {
        match change {
            Change::Policy(event) => self.policies.take(event, parse),
            Change::Deployment(event) => self.deployments.take(event, parse),
            Change::Slice(event) => self.slices.take(event, Ok),
            Change::RouterSlice(event) => self.router_slices.take(event, Ok),
            Change::LastGood(event) => self.last_good.take(event, Ok),
            Change::Budgets(event) => self.budgets.take(event, Ok),
            Change::Failed(what, error) => {
                tracing::warn!(what, error = %error, "watch failed, trying again");
            }
        }
    }

    /// Whether everything was listed once; but for budgets, without which nothing is spent and all else is served.
    /// What is being listed again stays as it was until that is done.
    fn is_listed(&self) -> bool {
        self.policies.was_listed
            && self.deployments.was_listed
            && self.slices.was_listed
            && self.router_slices.was_listed
            && self.last_good.was_listed
    }

    fn world(&self) -> World {
        let policies = entries(&self.last_good);
        let budgets = entries(&self.budgets).map(Book::read).unwrap_or_default();
        World {
            policies: self.policies.objects.values().cloned().collect(),
            deployments: self.deployments.objects.values().cloned().collect(),
            last_good: policies.map(last_good::read).unwrap_or_default(),
            replicas: replicas(self.slices.objects.values().map(Arc::as_ref)),
            foreign: foreign(self.slices.objects.values().map(Arc::as_ref)),
            routers: routers(self.router_slices.objects.values().map(Arc::as_ref)),
            ledgers: budgets.policies,
        }
    }
}

/// Those of the one ConfigMap that was asked for.
fn entries(maps: &Kept<ConfigMap>) -> Option<&BTreeMap<String, String>> {
    let mut maps = maps.objects.values();
    maps.find_map(|map| map.data.as_ref())
}

fn parse<K: DeserializeOwned>(object: DynamicObject) -> Result<K, String> {
    let json = serde_json::to_value(object).map_err(|error| error.to_string())?;
    serde_json::from_value(json).map_err(|error| error.to_string())
}

/// The ready addresses in the slices of workers.
fn replicas<'a>(slices: impl Iterator<Item = &'a EndpointSlice>) -> Replicas {
    let mut replicas = Replicas::new();
    for slice in slices {
        let Some(port) = slice.ports.iter().flatten().find_map(|port| port.port) else {
            continue;
        };
        let Ok(port) = u16::try_from(port) else {
            continue;
        };
        let (Some(deployment), Some(revision)) = (
            slice.labels().get(labels::DEPLOYMENT),
            slice.labels().get(labels::REVISION),
        ) else {
            continue;
        };
        let revisions = replicas.entry(deployment.clone()).or_default();
        let addresses = revisions.entry(revision.clone()).or_default();
        for endpoint in &slice.endpoints {
            if !is_ready(endpoint) {
                continue;
            }
            let found = endpoint
                .addresses
                .iter()
                .filter_map(|address| address.parse().ok());
            addresses.extend(found.map(|address: IpAddr| SocketAddr::new(address, port)));
        }
    }
    replicas
}

/// The ready addresses in slices of workers at which OpenAI's wire is spoken.
fn foreign<'a>(slices: impl Iterator<Item = &'a EndpointSlice>) -> BTreeSet<SocketAddr> {
    let is_foreign = |slice: &&EndpointSlice| {
        let mut ports = slice.ports.iter().flatten();
        ports.any(|port| port.name.as_deref() == Some(labels::OPENAI_PORT))
    };
    let found = replicas(slices.filter(is_foreign));
    let revisions = found.into_values().flat_map(BTreeMap::into_values);
    revisions.flatten().collect()
}

/// How many routers are ready: a Service of two families has a slice of each.
fn routers<'a>(slices: impl Iterator<Item = &'a EndpointSlice>) -> usize {
    let mut ready: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for slice in slices {
        let endpoints = slice.endpoints.iter().filter(|endpoint| is_ready(endpoint));
        let addresses = endpoints.filter_map(|endpoint| endpoint.addresses.first());
        let family = ready.entry(&slice.address_type).or_default();
        family.extend(addresses.map(String::as_str));
    }
    ready.values().map(BTreeSet::len).max().unwrap_or_default()
}

/// Absent means ready, as the API has it.
fn is_ready(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions
        .and_then(|conditions| conditions.ready)
        .unwrap_or(true)
}

#[cfg(test)]
mod tests;
