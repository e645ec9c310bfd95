//! What a deployment's status says of its adapters, from what replicas report.

use kube::ResourceExt;
use weir_crds::{AdapterStatus, reasons};
use weir_policy::load::WorkerLoad;

use super::{Facts, cause};
use crate::condition::Verdict;

impl Facts<'_> {
    /// On how many replicas each adapter of the spec is.
    pub(super) fn adapters(&self) -> Vec<AdapterStatus> {
        let ready = self.observed.replicas.iter();
        let ready = ready.filter(|replica| replica.ready);
        let loads: Vec<&WorkerLoad> = ready.filter_map(|replica| replica.load.as_ref()).collect();
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
        let loads = self.observed.replicas.iter();
        let loads = loads.filter_map(|replica| Some((replica, replica.load.as_ref()?)));
        let mut told = loads.flat_map(|(replica, load)| {
            let adapters = load.adapters.iter();
            adapters.map(|adapter| (replica.pod.name_any(), adapter))
        });
        let failed = told.find_map(|(pod, adapter)| {
            let reason = cause::of_worker(&adapter.reason)?;
            let wanted = spec
                .adapters
                .iter()
                .any(|wanted| wanted.name == adapter.name);
            let message = format!(
                "adapter {} on replica {pod}: {}",
                adapter.name, adapter.message
            );
            wanted.then_some((false, reason, message))
        });
        let missing = self
            .adapters()
            .into_iter()
            .find(|adapter| adapter.ready == 0);
        Some(match (failed, missing) {
            (Some(failed), _) => failed,
            (None, Some(adapter)) => {
                let message = format!("adapter {} is on no replica yet", adapter.name);
                (false, reasons::DOWNLOADING, message)
            }
            (None, None) => {
                let message = format!("{} adapters are served", spec.adapters.len());
                (true, reasons::LOADED, message)
            }
        })
    }
}
