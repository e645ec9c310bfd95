//! The world as it was last seen, in a file: for a router that starts while the API server is away.
//!
//! There are no secrets in it: these are files of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;
use weir_crds::{RoutePolicy, SLMDeployment};
use weir_policy::last_good::LastGood;

use crate::world::{Replicas, World};

/// Changes that come together are written once.
const GATHERED: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Written<'a> {
    policies: Vec<&'a RoutePolicy>,
    deployments: Vec<&'a SLMDeployment>,
    last_good: &'a BTreeMap<String, LastGood>,
    replicas: &'a Replicas,
    foreign: &'a BTreeSet<SocketAddr>,
    routers: usize,
}

#[derive(Deserialize)]
struct Read {
    policies: Vec<RoutePolicy>,
    deployments: Vec<SLMDeployment>,
    last_good: BTreeMap<String, LastGood>,
    replicas: Replicas,
    /// Not in files of earlier versions.
    #[serde(default)]
    foreign: BTreeSet<SocketAddr>,
    /// Not in files of earlier versions.
    #[serde(default)]
    routers: usize,
}

/// What the file says; nothing where there is none, or where it was written by another version and
/// is not understood.
pub(super) fn read(path: &Path) -> Option<World> {
    let bytes = fs::read(path).ok()?;
    let read: Read = serde_json::from_slice(&bytes)
        .inspect_err(|error| tracing::warn!(%error, "the world on disk is not understood"))
        .ok()?;
    Some(World {
        policies: read.policies.into_iter().map(Arc::new).collect(),
        deployments: read.deployments.into_iter().map(Arc::new).collect(),
        last_good: read.last_good,
        replicas: read.replicas,
        foreign: read.foreign,
        routers: read.routers,
        // A run has no slice but its own.
        ..World::default()
    })
}

/// Writes every world that `worlds` brings, for as long as it brings any. One that cannot be written
/// is told of, and the next one tried again.
pub(super) async fn keep(path: PathBuf, mut worlds: watch::Receiver<Arc<World>>) {
    while worlds.changed().await.is_ok() {
        sleep(GATHERED).await;
        let world = worlds.borrow_and_update().clone();
        let into = path.clone();
        let written = tokio::task::spawn_blocking(move || write(&into, &world)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(
                error = format!("{error:#}"),
                "the world is not kept on disk"
            );
        }
    }
}

/// Whole or not at all.
fn write(path: &Path, world: &World) -> anyhow::Result<()> {
    let written = Written {
        policies: world.policies.iter().map(Arc::as_ref).collect(),
        deployments: world.deployments.iter().map(Arc::as_ref).collect(),
        last_good: &world.last_good,
        replicas: &world.replicas,
        foreign: &world.foreign,
        routers: world.routers,
    };
    let json = serde_json::to_vec(&written).context("write the world as JSON")?;
    let new = path.with_extension("new");
    fs::write(&new, json).with_context(|| format!("write {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("rename to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_world_that_was_written_is_read_and_anything_else_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world.json");
        assert!(read(&path).is_none(), "there is none yet");
        let policy = json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
            "metadata": { "name": "support", "generation": 3 },
            "spec": { "models": ["m"], "tiers": [{ "name": "small", "deployment": { "name": "triage" } }] },
        });
        let address = "10.0.0.1:8000".parse().unwrap();
        let world = World {
            policies: vec![Arc::new(serde_json::from_value(policy).unwrap())],
            replicas: [("triage".into(), [("1".into(), [address].into())].into())].into(),
            foreign: [address].into(),
            ..World::default()
        };
        write(&path, &world).unwrap();
        let read_again = read(&path).unwrap();
        assert_eq!(read_again.policies[0].metadata.generation, Some(3));
        assert_eq!(read_again.replicas, world.replicas);
        assert_eq!(read_again.foreign, world.foreign);
        fs::write(&path, "{").unwrap();
        assert!(read(&path).is_none());
    }
}
