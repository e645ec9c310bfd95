//! What the API server holds, as last seen: users' objects, what we made of them, and pods.
//!
//! - Filled by watches, so that a pass over an unchanged world asks the API server nothing.
//! - What nobody reads is dropped on the way in, and what is seldom looked at is kept small: see
//!   [`Kept`] and [`Packed`].
//! - An object that cannot be read is left out and logged, and hides no other.

mod packed;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use weir_crds::{RoutePolicy, SLMDeployment, labels};
use weir_process::watches::paced;

use crate::object::{Kind, Live};
use packed::Packed;
use store::{Kept, Store, store};

/// Where kubectl keeps what it was told last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

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
    owned: BTreeMap<Kind, Stores<Packed>>,
}

/// One for each watch.
#[derive(Clone)]
struct Stores<K>(Vec<Store<K>>);

impl Key {
    /// What an object of this deployment wakes, or one that is shared.
    fn of(namespace: String, deployment: Option<&str>) -> Self {
        match deployment {
            Some(name) => Self::Deployment {
                namespace,
                name: name.to_owned(),
            },
            None => Self::Namespace(namespace),
        }
    }

    /// The names of these deployments; nothing else is among them.
    #[cfg(test)]
    pub fn names(keys: Vec<Self>) -> Vec<String> {
        let names = keys.into_iter().map(|key| match key {
            Self::Deployment { name, .. } => name,
            Self::Namespace(name) => panic!("the namespace {name}"),
        });
        names.collect()
    }
}

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
            let all = watcher::Config::default;
            let deployments = reflect(typed(client, namespace), (), all(), &mut changes);
            cache.deployments.0.push(deployments);
            let policies = reflect(typed(client, namespace), (), all(), &mut changes);
            cache.policies.0.push(policies);
            let pods = reflect(typed(client, namespace), (), of_ours(), &mut changes);
            cache.pods.0.push(pods);
            for kind in Kind::ALL {
                let resource = kind.resource();
                let api = match namespace {
                    Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                    None => Api::all_with(client.clone(), &resource),
                };
                let store = reflect(api, resource, of_ours(), &mut changes);
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
        let deployments = self.deployments.wake();
        let policies = self.policies.wake();
        let owned = self.owned.values().flat_map(Stores::wake);
        deployments
            .into_iter()
            .chain(policies)
            .chain(owned)
            .collect()
    }

    /// Everything we made in a namespace for this deployment, or for all of it where there is no name;
    /// in the order of [`Kind`], and there by name.
    pub fn owned(&self, namespace: &str, deployment: Option<&str>) -> Vec<Live> {
        let of_kind = |(kind, stores): (&Kind, &Stores<Packed>)| {
            let found = stores.among(namespace, |packed| packed.is_of(deployment));
            let kind = *kind;
            found.into_iter().map(move |packed| Live {
                kind,
                object: Arc::new(packed.unpack()),
            })
        };
        self.owned.iter().flat_map(of_kind).collect()
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

impl<K> Stores<K> {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.0.iter().find_map(|store| store.get(namespace, name))
    }

    fn all(&self) -> Vec<Arc<K>> {
        self.0.iter().flat_map(Store::all).collect()
    }

    fn of(&self, namespace: &str) -> Vec<Arc<K>> {
        self.among(namespace, |_| true)
    }

    fn among(&self, namespace: &str, wanted: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let stores = self.0.iter();
        let found = stores.flat_map(|store| store.of(namespace, &wanted));
        found.collect()
    }

    async fn ready(&self) {
        for store in &self.0 {
            store.ready().await;
        }
    }
}

impl<K: Kept> Stores<K> {
    fn wake(&self) -> BTreeSet<Key> {
        let all = self.all();
        all.iter().flat_map(|object| object.wakes()).collect()
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
) -> Store<K>
where
    K: Kept + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (store, mut filling) = store();
    let kind = K::kind(&dyntype).into_owned();
    let stream = paced(watcher(api, config)).filter_map(move |event| {
        let keys = match event {
            Ok(event) => Some(filling.take(event)).filter(|keys| !keys.is_empty()),
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

impl Kept for DeserializeGuard<SLMDeployment> {
    fn slim(&mut self) {
        as_users_write(self);
    }

    /// A deployment changes itself and what its namespace shares.
    fn wakes(&self) -> Vec<Key> {
        let namespace = self.namespace().unwrap_or_default();
        let name = self.name_any();
        vec![
            Key::of(namespace.clone(), Some(&name)),
            Key::Namespace(namespace),
        ]
    }
}

impl Kept for DeserializeGuard<RoutePolicy> {
    fn slim(&mut self) {
        as_users_write(self);
    }

    fn wakes(&self) -> Vec<Key> {
        vec![Key::Namespace(self.namespace().unwrap_or_default())]
    }
}

impl Kept for Pod {
    /// What a pod is to be we said ourselves; how it is stands in its status. Its ports say whether it reports.
    fn slim(&mut self) {
        self.managed_fields_mut().clear();
        let containers = self
            .spec
            .take()
            .into_iter()
            .flat_map(|spec| spec.containers);
        let containers = containers.map(|container| Container {
            name: container.name,
            ports: container.ports,
            ..Container::default()
        });
        self.spec = Some(PodSpec {
            containers: containers.collect(),
            ..PodSpec::default()
        });
    }

    fn wakes(&self) -> Vec<Key> {
        of_labels(self)
    }
}

/// Without what the API server and kubectl keep beside: the whole object once or twice more.
fn as_users_write(object: &mut impl ResourceExt) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove(LAST_APPLIED);
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

/// Whose an object of ours is, by its labels.
pub fn of_labels<K: ResourceExt>(object: &K) -> Vec<Key> {
    let namespace = object.namespace().unwrap_or_default();
    let deployment = object.labels().get(labels::DEPLOYMENT);
    vec![Key::of(namespace, deployment.map(String::as_str))]
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
