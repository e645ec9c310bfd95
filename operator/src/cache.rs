//! What the API server holds, as last seen: users' objects, what we made of them, and pods.
//!
//! Filled by watches, so that a pass over an unchanged world asks the API server nothing. Managed
//! fields are dropped on the way in. An object that cannot be read is left out and logged, and
//! hides no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use weir_crds::{RoutePolicy, SLMDeployment, labels};

use crate::object::{Kind, Live};

/// Where to look: the whole cluster, or these namespaces and no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Cluster,
    Namespaces(Vec<String>),
}

/// What there is to look at. Deployments come before what their namespace shares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Deployment { namespace: String, name: String },
    Namespace(String),
}

/// What is to be looked at because something changed. Never ends: a watch that fails is tried again
/// by itself.
pub type Changes = SelectAll<BoxStream<'static, Vec<Key>>>;

/// Read access to all of it. Clones share what they read.
#[derive(Clone)]
pub struct Cache {
    deployments: Stores<DeserializeGuard<SLMDeployment>>,
    policies: Stores<DeserializeGuard<RoutePolicy>>,
    pods: Stores<Pod>,
    owned: BTreeMap<Kind, Stores<DynamicObject>>,
}

#[derive(Clone)]
struct Stores<K>(Vec<Store<K>>)
where
    K: 'static + kube::runtime::reflector::Lookup + Clone,
    K::DynamicType: Eq + std::hash::Hash + Clone;

impl Cache {
    /// The cache and the stream that fills it, which has to be polled for anything to happen.
    pub fn watch(client: &Client, scope: &Scope) -> (Self, Changes) {
        let mut changes = Changes::new();
        let ours = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
        let of_ours = || watcher::Config::default().labels(&ours);
        let mut cache = Self {
            deployments: Stores(Vec::new()),
            policies: Stores(Vec::new()),
            pods: Stores(Vec::new()),
            owned: BTreeMap::new(),
        };
        for namespace in scope.each() {
            let deployments = reflect(
                typed(client, namespace),
                (),
                watcher::Config::default(),
                &mut changes,
                of_deployment,
            );
            cache.deployments.0.push(deployments);
            let policies = reflect(
                typed(client, namespace),
                (),
                watcher::Config::default(),
                &mut changes,
                of_policy,
            );
            cache.policies.0.push(policies);
            let pods = reflect(
                typed(client, namespace),
                (),
                of_ours(),
                &mut changes,
                of_labels,
            );
            cache.pods.0.push(pods);
            for kind in Kind::ALL {
                let resource = kind.resource();
                let api = match namespace {
                    Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                    None => Api::all_with(client.clone(), &resource),
                };
                let store = reflect(api, resource, of_ours(), &mut changes, of_labels);
                cache
                    .owned
                    .entry(kind)
                    .or_insert_with(|| Stores(Vec::new()))
                    .0
                    .push(store);
            }
        }
        (cache, changes)
    }

    /// Resolves once every watch has listed what there is.
    pub async fn ready(&self) {
        self.deployments.ready().await;
        self.policies.ready().await;
        self.pods.ready().await;
        for stores in self.owned.values() {
            stores.ready().await;
        }
    }

    pub fn deployment(&self, namespace: &str, name: &str) -> Option<SLMDeployment> {
        self.deployments
            .get(namespace, name)
            .and_then(|object| object.0.clone().ok())
    }

    pub fn deployments(&self, namespace: &str) -> Vec<SLMDeployment> {
        readable(self.deployments.of(namespace))
    }

    /// Those of all namespaces, also ones that cannot be read.
    pub fn all_deployments(&self) -> Vec<Arc<DeserializeGuard<SLMDeployment>>> {
        self.deployments.all()
    }

    pub fn policies(&self, namespace: &str) -> Vec<RoutePolicy> {
        readable(self.policies.of(namespace))
    }

    /// Names of policies that are there and to stay, and that cannot be read: made by a newer
    /// version, for example.
    pub fn unreadable_policies(&self, namespace: &str) -> BTreeSet<String> {
        unreadable(&self.policies.of(namespace))
    }

    /// Everything there is to look at, also where only what we made is left.
    pub fn everything(&self) -> BTreeSet<Key> {
        let deployments = self.deployments.all();
        let deployments = deployments.iter().flat_map(|object| of_deployment(object));
        let policies = self.policies.all();
        let policies = policies.iter().flat_map(|object| of_policy(object));
        let owned = self.owned.values().flat_map(Stores::all);
        let owned = owned.flat_map(|object| of_labels(object.as_ref()));
        deployments.chain(policies).chain(owned).collect()
    }

    /// Everything we made in a namespace that `wanted` says yes to, in the order of [`Kind`].
    pub fn owned(&self, namespace: &str, wanted: impl Fn(&Live) -> bool) -> Vec<Live> {
        let mut found: Vec<Live> = self
            .owned
            .iter()
            .flat_map(|(kind, stores)| {
                stores.of(namespace).into_iter().map(|object| Live {
                    kind: *kind,
                    object,
                })
            })
            .filter(wanted)
            .collect();
        found.sort_by(|one, other| (one.kind, one.name()).cmp(&(other.kind, other.name())));
        found
    }

    /// Our pods of a namespace.
    pub fn pods(&self, namespace: &str) -> Vec<Arc<Pod>> {
        self.pods.of(namespace)
    }

    /// Our pods everywhere.
    pub fn all_pods(&self) -> Vec<Arc<Pod>> {
        self.pods.all()
    }
}

impl Scope {
    fn each(&self) -> Vec<Option<&str>> {
        match self {
            Self::Cluster => vec![None],
            Self::Namespaces(names) => names.iter().map(|name| Some(name.as_str())).collect(),
        }
    }
}

impl<K> Stores<K>
where
    K: Resource + Clone,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>>
    where
        K::DynamicType: Default,
    {
        let key = ObjectRef::new(name).within(namespace);
        self.0.iter().find_map(|store| store.get(&key))
    }

    fn all(&self) -> Vec<Arc<K>> {
        self.0.iter().flat_map(Store::state).collect()
    }

    fn of(&self, namespace: &str) -> Vec<Arc<K>> {
        let mut found = self.all();
        found.retain(|object| object.meta().namespace.as_deref() == Some(namespace));
        found.sort_by(|one, other| one.meta().name.cmp(&other.meta().name));
        found
    }

    async fn ready(&self) {
        for store in &self.0 {
            // The other half lives in the stream; without it nobody waits any more.
            let _ = store.wait_until_ready().await;
        }
    }
}

fn typed<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// A watch that fills the store that is returned, as one more stream of `changes`.
fn reflect<K>(
    api: Api<K>,
    dyntype: K::DynamicType,
    config: watcher::Config,
    changes: &mut Changes,
    keys: fn(&K) -> Vec<Key>,
) -> Store<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone + Send + Sync,
{
    let writer = Writer::new(dyntype.clone());
    let store = writer.as_reader();
    let kind = K::kind(&dyntype).into_owned();
    let stream = watcher(api, config)
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .touched_objects()
        .filter_map(move |event| {
            let keys = match event {
                Ok(object) => Some(keys(&object)),
                Err(error) => {
                    tracing::warn!(kind, %error, "a watch failed and is tried again");
                    None
                }
            };
            std::future::ready(keys)
        });
    changes.push(stream.boxed());
    store
}

fn readable<K: Resource<DynamicType = ()> + Clone>(
    objects: Vec<Arc<DeserializeGuard<K>>>,
) -> Vec<K> {
    objects
        .into_iter()
        .filter_map(|object| match &object.0 {
            Ok(object) => Some(object.clone()),
            Err(error) => {
                tracing::warn!(
                    kind = %K::kind(&()), name = error.metadata.name, error = error.error,
                    "an object cannot be read and is left alone"
                );
                None
            }
        })
        .collect()
}

fn unreadable<K>(objects: &[Arc<DeserializeGuard<K>>]) -> BTreeSet<String> {
    objects
        .iter()
        .filter_map(|object| object.0.as_ref().err())
        .filter(|error| error.metadata.deletion_timestamp.is_none())
        .filter_map(|error| error.metadata.name.clone())
        .collect()
}

/// A deployment changes itself and what its namespace shares.
fn of_deployment(object: &DeserializeGuard<SLMDeployment>) -> Vec<Key> {
    let namespace = object.namespace().unwrap_or_default();
    vec![
        Key::Deployment {
            namespace: namespace.clone(),
            name: object.name_any(),
        },
        Key::Namespace(namespace),
    ]
}

fn of_policy(object: &DeserializeGuard<RoutePolicy>) -> Vec<Key> {
    vec![Key::Namespace(object.namespace().unwrap_or_default())]
}

/// Whose an object of ours is, by its labels.
pub fn of_labels<K: ResourceExt>(object: &K) -> Vec<Key> {
    let namespace = object.namespace().unwrap_or_default();
    vec![match object.labels().get(labels::DEPLOYMENT).cloned() {
        Some(name) => Key::Deployment { namespace, name },
        None => Key::Namespace(namespace),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn policy(name: &str, metadata: Value, spec: Value) -> Arc<DeserializeGuard<RoutePolicy>> {
        let mut policy = json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
            "metadata": metadata, "spec": spec,
        });
        policy["metadata"]["name"] = json!(name);
        Arc::new(serde_json::from_value(policy).unwrap())
    }

    #[test]
    fn a_policy_of_a_newer_version_is_there_though_it_cannot_be_read() {
        let good = json!({
            "models": ["one"], "tiers": [{ "name": "a", "deployment": { "name": "triage" } }],
        });
        let mut newer = good.clone();
        newer["onAllUnsure"] = json!("AskAHuman");
        let leaving = json!({ "deletionTimestamp": "2026-11-21T06:00:00Z" });
        let policies = vec![
            policy("good", json!({}), good),
            policy("newer", json!({}), newer.clone()),
            policy("leaving", leaving, newer),
        ];
        assert_eq!(unreadable(&policies), BTreeSet::from(["newer".to_owned()]));
        assert_eq!(readable(policies).len(), 1);
    }
}
