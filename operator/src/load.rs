//! What pods say of themselves: `GET /load` on the admin port of every replica and router that
//! runs, each followed by the leader in a long poll of its own.
//!
//! What a status shows wakes a pass, what routers spend does so now and then; counts of what runs and
//! waits are there for [`scaling`](crate::scaling) to look at.

mod asking;
pub mod poll;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::sync::Notify;
use tokio::time::Instant;
use weir_policy::load::{Arriving, Load, RouterLoad, WorkerLoad};

use crate::cache::{Key, of_labels};
pub use asking::{Followed, reports, round};
pub use poll::client;

/// What routers have spent changes with every ask: it wakes a pass this often at most.
const SPENDS_EVERY: Duration = Duration::from_secs(2);

/// The last report of every pod, by namespace and name. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Loads {
    reports: Arc<RwLock<BTreeMap<Of, Report>>>,
    holding: Arc<Notify>,
}

/// A pod: the UID, so that a namesake does not inherit a report.
type Of = (String, String);

/// What one pod said last.
#[derive(Clone, Debug)]
struct Report {
    load: Load,
    /// When.
    heard: Instant,
    /// What a pass was woken for last, and when.
    told: Load,
    told_at: Instant,
}

impl Loads {
    pub fn worker(&self, pod: &Pod) -> Option<WorkerLoad> {
        self.get(pod)?.worker
    }

    pub fn router(&self, pod: &Pod) -> Option<RouterLoad> {
        self.get(pod)?.router
    }

    /// What `read` takes out of a router's report, of which nothing else is copied.
    pub fn of_router<T>(&self, pod: &Pod, read: impl FnOnce(&RouterLoad) -> T) -> Option<T> {
        let reports = self.read();
        let report = reports.get(&of(pod))?;
        report.load.router.as_ref().map(read)
    }

    /// Resolves when a router says that it holds an ask for which there is no replica.
    pub async fn holding(&self) {
        self.holding.notified().await;
    }

    /// How long ago the pod said what it said last.
    pub fn age(&self, pod: &Pod, now: Instant) -> Option<Duration> {
        let heard = self.read().get(&of(pod))?.heard;
        Some(now.saturating_duration_since(heard))
    }

    fn get(&self, pod: &Pod) -> Option<Load> {
        Some(self.read().get(&of(pod))?.load.clone())
    }

    /// Takes what a pod says; says what is to be looked at because of it.
    pub fn hear(&self, pod: &Pod, load: Load, now: Instant) -> Vec<Key> {
        if is_holding(&load) {
            self.holding.notify_one();
        }
        let mut reports = self.write();
        let before = reports.get(&of(pod));
        let is_news = before.is_none_or(|before| is_news(before, &load, now));
        let (told, told_at) = match before {
            Some(before) if !is_news => (before.told.clone(), before.told_at),
            _ => (shown(&load), now),
        };
        let report = Report {
            load,
            heard: now,
            told,
            told_at,
        };
        reports.insert(of(pod), report);
        match is_news {
            true => of_labels(pod),
            false => Vec::new(),
        }
    }

    /// Pods that are gone are forgotten, pods that are silent keep their last report.
    fn keep(&self, alive: &BTreeSet<Of>) {
        self.write().retain(|pod, _| alive.contains(pod));
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Of, Report>> {
        let reports = self.reports.read();
        reports.expect("nothing panics while it holds the reports")
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Of, Report>> {
        let reports = self.reports.write();
        reports.expect("nothing panics while it holds the reports")
    }
}

fn is_holding(load: &Load) -> bool {
    let routers = load.router.iter();
    let mut of_router = routers.flat_map(|router| router.deployments.values());
    of_router.any(|deployment| deployment.held > 0)
}

/// Whether a pass should look at it: at once where a status shows it, and a little later where only money
/// was spent.
fn is_news(before: &Report, load: &Load, now: Instant) -> bool {
    let (told, now_shown) = (&before.told, shown(load));
    if *told == now_shown {
        return false;
    }
    let is_spent_only = without_spends(told.clone()) == without_spends(now_shown);
    !is_spent_only || now >= before.told_at + SPENDS_EVERY
}

fn without_spends(mut load: Load) -> Load {
    if let Some(router) = &mut load.router {
        router.purses.clear();
    }
    load
}

/// What of a report a status shows.
fn shown(load: &Load) -> Load {
    Load {
        version: 0,
        worker: load.worker.clone().map(|worker| WorkerLoad {
            model: worker.model,
            cold_start: worker.cold_start,
            capacity: worker.capacity,
            adapters: worker.adapters,
            // How far it is changes all the time: that is looked at now and then.
            arriving: worker.arriving.map(|_| Arriving::default()),
            ..WorkerLoad::default()
        }),
        router: load.router.clone().map(|router| RouterLoad {
            deployments: BTreeMap::new(),
            revisions: BTreeMap::new(),
            ..router
        }),
    }
}

/// Whether the kubelet says that `pod` is ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn of(pod: &Pod) -> Of {
    (
        pod.namespace().unwrap_or_default(),
        pod.uid().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use weir_crds::Period;
    use weir_policy::budget::PurseLoad;
    use weir_policy::load::{AdapterLoad, ModelFacts};

    pub(super) fn pod(phase: &str, ip: &str) -> Arc<Pod> {
        let pod = json!({
            "metadata": {
                "name": "a", "namespace": "ns", "uid": "u",
                "labels": { "weir.dev/deployment": "triage" },
            },
            "spec": { "containers": [{ "name": "worker", "ports": [{ "containerPort": 9090 }] }] },
            "status": { "phase": phase, "podIP": ip },
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    pub(super) fn report(running: u32, digest: &str) -> Load {
        Load {
            version: u64::from(running),
            worker: Some(WorkerLoad {
                running,
                model: Some(ModelFacts {
                    digest: digest.into(),
                    ..ModelFacts::default()
                }),
                ..WorkerLoad::default()
            }),
            router: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_wakes_a_pass_only_if_a_status_would_show_it() {
        let loads = Loads::default();
        let pod = pod("Running", "10.0.0.1");
        let hear = |load| loads.hear(&pod, load, Instant::now()).len();
        assert_eq!(hear(report(0, "a")), 1);
        assert_eq!(hear(report(9, "a")), 0);
        assert_eq!(hear(report(9, "b")), 1);
        assert_eq!(loads.worker(&pod).unwrap().running, 9);
        let mut adapted = report(9, "b");
        let worker = adapted.worker.as_mut().unwrap();
        worker.adapters.push(AdapterLoad::default());
        assert_eq!(hear(adapted), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_spent_wakes_a_pass_now_and_then_and_the_last_of_it_too() {
        let loads = Loads::default();
        let pod = pod("Running", "10.0.0.1");
        let hear = |spent: &str| {
            let purse = PurseLoad {
                spent: spent.parse().unwrap(),
                ..PurseLoad::default()
            };
            let router = RouterLoad {
                purses: [("support".into(), [(Period::Day, purse)].into())].into(),
                ..RouterLoad::default()
            };
            let load = Load {
                router: Some(router),
                ..Load::default()
            };
            loads.hear(&pod, load, Instant::now()).len()
        };
        assert_eq!((hear("1"), hear("1.1")), (1, 0));
        tokio::time::advance(SPENDS_EVERY).await;
        assert_eq!((hear("1.1"), hear("1.1")), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_is_gone_is_forgotten_and_one_that_is_silent_is_not() {
        let loads = Loads::default();
        let pod = pod("Running", "10.0.0.1");
        loads.hear(&pod, report(1, "a"), Instant::now());
        tokio::time::advance(Duration::from_secs(9)).await;
        loads.keep(&[of(&pod)].into());
        assert!(loads.worker(&pod).is_some());
        assert_eq!(
            loads.age(&pod, Instant::now()),
            Some(Duration::from_secs(9))
        );
        loads.keep(&BTreeSet::new());
        assert!(loads.worker(&pod).is_none());
    }
}
