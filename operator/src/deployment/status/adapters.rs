//! What a deployment's status says of its adapters, from what replicas report.
//!
//! A report of another source than the spec's says nothing of what is listed: a replica tells of the
//! list before until its kubelet brings it the new one.

use std::collections::BTreeMap;

use kube::ResourceExt;
use weir_crds::{Adapter, AdapterStatus, conditions, reasons};
use weir_policy::load::{AdapterLoad, WorkerLoad, source_sha256};

use super::{Decided, Facts, Replica, cause};
use crate::condition::Verdict;

/// One adapter of the spec, on the replicas that are ready and have told what they have.
struct Spread<'a> {
    name: &'a str,
    /// Those that serve what is listed, and the digest of what each has.
    served: Vec<(&'a Replica, &'a str)>,
    /// So many serve what was listed under its name before.
    outdated: u32,
}

impl Facts<'_> {
    /// On how many replicas each adapter of the spec is.
    pub(super) fn adapters(&self) -> Vec<AdapterStatus> {
        let spread = self.spread().into_iter();
        let told = spread.map(|adapter| AdapterStatus {
            name: adapter.name.to_owned(),
            digest: adapter.digest(),
            ready: adapter.served.len() as u32,
            outdated: adapter.outdated,
        });
        told.collect()
    }

    /// Nothing where no adapters are listed.
    pub(super) fn adapters_ready(&self) -> Option<Verdict> {
        if self.observed.deployment.spec.adapters.is_empty() {
            return None;
        }
        let spread = self.spread();
        let refused = self.refused_adapter();
        let wrong = refused.or_else(|| spread.iter().find_map(Spread::differs));
        Some(wrong.unwrap_or_else(|| self.spread_adapters(&spread)))
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
            let is_wanted = wanted.iter().any(|wanted| is_of(adapter, wanted));
            let message = format!(
                "adapter {} on replica {pod}: {}",
                adapter.name, adapter.message
            );
            is_wanted.then_some((false, reason, message))
        })
    }

    /// Whether every replica that is ready has every adapter. One that has got ready just now may not
    /// have told us what it has: what was said before holds until it does, unless another has less.
    fn spread_adapters(&self, spread: &[Spread<'_>]) -> Verdict {
        let (replicas, told) = (self.serving().count(), self.telling().count());
        if replicas == 0 {
            return self.no_replica();
        }
        let lacks = |of: usize| spread.iter().any(|adapter| adapter.served.len() < of);
        let before = self.said(conditions::ADAPTERS_READY);
        let before = before.filter(|before| before.status == "True");
        if let Some(before) = before.filter(|_| told < replicas && !lacks(told)) {
            return (true, reasons::LOADED, before.message.clone());
        }
        if !lacks(replicas) {
            let count = spread.len();
            let message = format!("{count} adapters are on each of {replicas} ready replicas");
            return (true, reasons::LOADED, message);
        }
        let missing = spread.iter();
        let missing = missing.filter(|adapter| adapter.served.len() < replicas);
        let missing: Vec<String> = missing.map(Spread::said).collect();
        let message = format!("{}, of {replicas} ready replicas", missing.join(", "));
        (false, reasons::DOWNLOADING, message)
    }

    fn no_replica(&self) -> Verdict {
        match self.decided {
            Decided::Made { replicas: 0, .. } => {
                let message = "no replica is wanted";
                (false, reasons::SCALED_TO_ZERO, message.into())
            }
            _ => (false, reasons::STARTING, "no replica is ready yet".into()),
        }
    }

    fn spread(&self) -> Vec<Spread<'_>> {
        let told: Vec<(&Replica, &WorkerLoad)> = self.telling().collect();
        let listed = self.observed.deployment.spec.adapters.iter();
        listed.map(|listed| Spread::of(listed, &told)).collect()
    }

    /// The replicas of all revisions that routers send asks to.
    fn serving(&self) -> impl Iterator<Item = &Replica> {
        let replicas = self.observed.replicas.iter();
        replicas
            .filter(|replica| replica.ready && replica.pod.metadata.deletion_timestamp.is_none())
    }

    /// Those of them that have said what they have since they loaded their model: before, a replica
    /// does not know its adapters.
    fn telling(&self) -> impl Iterator<Item = (&Replica, &WorkerLoad)> {
        self.serving().filter_map(|replica| {
            let load = replica.load.as_ref();
            Some((replica, load.filter(|load| load.model.is_some())?))
        })
    }
}

impl<'a> Spread<'a> {
    fn of(listed: &'a Adapter, told: &[(&'a Replica, &'a WorkerLoad)]) -> Self {
        let mut spread = Self {
            name: &listed.name,
            served: Vec::new(),
            outdated: 0,
        };
        for &(replica, load) in told {
            let mut adapters = load.adapters.iter();
            let has =
                |adapter: &&AdapterLoad| adapter.name == listed.name && !adapter.digest.is_empty();
            match adapters.find(has) {
                Some(adapter) if adapter.reason.is_empty() && is_of(adapter, listed) => {
                    spread.served.push((replica, &adapter.digest));
                }
                Some(_) => spread.outdated += 1,
                None => {}
            }
        }
        spread
    }

    /// Nothing where replicas do not have the same.
    fn digest(&self) -> Option<String> {
        let (_, first) = self.served.first()?;
        let same = self.served.iter().all(|(_, digest)| digest == first);
        same.then(|| (*first).to_owned())
    }

    /// That replicas have different files from one source, where they do.
    fn differs(&self) -> Option<Verdict> {
        // By digest the first that has it.
        let mut holders = BTreeMap::new();
        for (replica, digest) in &self.served {
            holders
                .entry(*digest)
                .or_insert_with(|| replica.pod.name_any());
        }
        let holders = holders.into_iter();
        let said: Vec<String> = holders
            .map(|(digest, replica)| format!("{digest} on replica {replica}"))
            .collect();
        (said.len() > 1).then(|| {
            let message = format!(
                "adapter {} is {}: what its source means has changed; delete the replicas that have the older",
                self.name,
                said.join(" and ")
            );
            (false, reasons::DIGEST_MISMATCH, message)
        })
    }

    fn said(&self) -> String {
        let said = format!("adapter {} is on {}", self.name, self.served.len());
        match self.outdated {
            0 => said,
            outdated => format!("{said} (on {outdated} as it was listed before)"),
        }
    }
}

/// Whether that is told of what is listed.
fn is_of(told: &AdapterLoad, listed: &Adapter) -> bool {
    // A worker of an older version does not say.
    let source = &told.source_sha256;
    told.name == listed.name && (source.is_empty() || *source == source_sha256(&listed.source))
}
