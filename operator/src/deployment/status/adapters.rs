//! What a deployment's status says of its adapters, from what replicas report.

use kube::ResourceExt;
use weir_crds::{AdapterStatus, conditions, reasons};
use weir_policy::load::WorkerLoad;

use super::{Facts, Replica, cause};
use crate::condition::Verdict;

impl Facts<'_> {
    /// On how many replicas each adapter of the spec is.
    pub(super) fn adapters(&self) -> Vec<AdapterStatus> {
        let loads: Vec<&WorkerLoad> = self.serving().filter_map(reported).collect();
        let adapters = self.observed.deployment.spec.adapters.iter();
        let told = adapters.map(|adapter| {
            let served = loads.iter().flat_map(|load| &load.adapters).filter(|told| {
                told.name == adapter.name && !told.digest.is_empty() && told.reason.is_empty()
            });
            let digests: Vec<&String> = served.map(|told| &told.digest).collect();
            AdapterStatus {
                name: adapter.name.clone(),
                digest: digests.first().map(|digest| (*digest).clone()),
                ready: digests.len() as u32,
            }
        });
        told.collect()
    }

    /// Nothing where no adapters are listed.
    pub(super) fn adapters_ready(&self) -> Option<Verdict> {
        let spec = &self.observed.deployment.spec;
        if spec.adapters.is_empty() {
            return None;
        }
        let failed = self.refused_adapter();
        Some(failed.unwrap_or_else(|| self.spread_adapters()))
    }

    /// The first adapter that a replica does not take, in its words.
    fn refused_adapter(&self) -> Option<Verdict> {
        let wanted = &self.observed.deployment.spec.adapters;
        let loads = self.observed.replicas.iter();
        let loads = loads.filter_map(|replica| Some((replica, replica.load.as_ref()?)));
        let mut told = loads.flat_map(|(replica, load)| {
            let adapters = load.adapters.iter();
            adapters.map(|adapter| (replica.pod.name_any(), adapter))
        });
        told.find_map(|(pod, adapter)| {
            let reason = cause::of_worker(&adapter.reason)?;
            let is_wanted = wanted.iter().any(|wanted| wanted.name == adapter.name);
            let message = format!(
                "adapter {} on replica {pod}: {}",
                adapter.name, adapter.message
            );
            is_wanted.then_some((false, reason, message))
        })
    }

    /// Whether every replica that is ready has every adapter. One that has got ready just now may not
    /// have told us what it has: what was said before holds until it does.
    fn spread_adapters(&self) -> Verdict {
        let silent = self.serving().any(|replica| reported(replica).is_none());
        let before = self.said(conditions::ADAPTERS_READY);
        if let Some(before) = before.filter(|before| silent && before.status == "True") {
            return (true, reasons::LOADED, before.message.clone());
        }
        let replicas = self.serving().count() as u32;
        let missing = self.adapters().into_iter();
        let missing = missing.filter(|adapter| adapter.ready < replicas || replicas == 0);
        let missing: Vec<String> = missing
            .map(|adapter| format!("adapter {} is on {}", adapter.name, adapter.ready))
            .collect();
        if missing.is_empty() {
            let count = self.observed.deployment.spec.adapters.len();
            let message = format!("{count} adapters are on each of {replicas} ready replicas");
            return (true, reasons::LOADED, message);
        }
        let message = format!("{}, of {replicas} ready replicas", missing.join(", "));
        (false, reasons::DOWNLOADING, message)
    }

    /// The replicas of all revisions that routers send asks to.
    fn serving(&self) -> impl Iterator<Item = &Replica> {
        let replicas = self.observed.replicas.iter();
        replicas
            .filter(|replica| replica.ready && replica.pod.metadata.deletion_timestamp.is_none())
    }
}

/// What a replica says since it has loaded its model: before, it does not know its adapters.
fn reported(replica: &Replica) -> Option<&WorkerLoad> {
    let load = replica.load.as_ref();
    load.filter(|load| load.model.is_some())
}
