//! Keeps the rules of every node's network as the NetworkPolicies say.
//!
//! The network plugins that we use know nothing of NetworkPolicies; this is the part of
//! a real network provider that our tests need.

use std::path::Path;
use std::pin::pin;

use anyhow::{Context, Result};
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::reflector::{self, Lookup};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};

use super::addresses::PLACES;
use super::network::inside;
use super::rules::{World, compile};
use crate::control_plane;
use crate::run::output_of;

/// Runs until the API server goes away for good.
///
/// # Errors
/// When the rules of a node cannot be loaded.
pub async fn enforce(kubeconfig: &Path) -> Result<()> {
    let client = control_plane::client(kubeconfig).await?;
    let (pods, pod_changes) = watched::<Pod>(&client);
    let (namespaces, namespace_changes) = watched::<Namespace>(&client);
    let (policies, policy_changes) = watched::<NetworkPolicy>(&client);
    let changes = stream::select(
        pod_changes,
        stream::select(namespace_changes, policy_changes),
    );
    // What comes while rules are loaded is taken together.
    let mut changes = pin!(changes.ready_chunks(1000));
    let mut loaded = String::new();
    while changes.next().await.is_some() {
        let world = World {
            pods: owned(&pods),
            namespaces: owned(&namespaces),
            policies: owned(&policies),
        };
        let table = compile(&world);
        if table != loaded {
            for place in PLACES {
                output_of(&mut inside(place, "nft -f -"), &table)
                    .with_context(|| format!("loading the rules of {}", place.name()))?;
            }
            loaded = table;
        }
    }
    Ok(())
}

/// A store of all objects of a kind, and a stream that says when it changed.
fn watched<K>(client: &Client) -> (reflector::Store<K>, impl Stream<Item = ()> + use<K>)
where
    K: Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
    K: serde::de::DeserializeOwned,
{
    let (store, writer) = reflector::store();
    let api: Api<K> = Api::all(client.clone());
    let changes = watcher(api, watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .filter_map(async |event| event.ok().map(drop));
    (store, changes)
}

fn owned<K>(store: &reflector::Store<K>) -> Vec<K>
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    let mut objects: Vec<(String, K)> = store
        .state()
        .iter()
        .map(|object| (object.to_object_ref(()).to_string(), (**object).clone()))
        .collect();
    objects.sort_by(|(one, _), (other, _)| one.cmp(other));
    objects.into_iter().map(|(_, object)| object).collect()
}
