//! What is known of a deployment at a moment.
//!
//! A report counts while it is young. What was not reported is not there: that is never a reason for fewer
//! replicas. Of a pod that is not ready no report is expected; what it says all the same counts.

use serde::{Deserialize, Serialize};

use crate::load::{Capacity, RouterLoad, WorkerLoad};

/// A report that is older says nothing of now: five times as old as it should ever be.
pub const FRESH_MS: u64 = 5000;

/// Everything that a decision follows from, besides what was seen before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// By a clock that only goes on, wherever it began.
    pub at_ms: u64,
    /// Replicas that are wanted so far.
    pub wanted: u32,
    pub replicas: Vec<Replica>,
    pub routers: Vec<Router>,
    /// From no replica to one that is ready, as it took the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_start_ms: Option<u64>,
    /// What one replica can do, as measured the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
}

/// A replica that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    pub is_ready: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReplicaReport>,
}

/// What a replica said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaReport {
    /// Since it was last known to hold.
    pub age_ms: u64,
    pub running: u32,
    pub waiting: u32,
}

/// A router that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    /// Of its run: what it counted begins anew with the next one.
    pub name: String,
    pub is_ready: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<RouterReport>,
}

/// What a router said last of this deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterReport {
    /// Since it was last known to hold.
    pub age_ms: u64,
    /// Attempts that are at a replica.
    pub running: u32,
    /// Asks that wait for a replica to exist, or to have room.
    pub held: u32,
    /// Asks that came since the router began; always 0 where it does not count them.
    #[serde(default)]
    pub asked: u64,
}

impl Replica {
    /// By what it said last, and how many milliseconds ago that was.
    pub fn of(is_ready: bool, said: Option<(&WorkerLoad, u64)>) -> Self {
        let report = said.map(|(load, age_ms)| ReplicaReport {
            age_ms,
            running: load.running,
            waiting: load.waiting,
        });
        Self { is_ready, report }
    }
}

impl Router {
    /// By what it said last, and how many milliseconds ago that was. One that does not know `deployment` yet has
    /// said nothing of it.
    pub fn of(is_ready: bool, said: Option<(&RouterLoad, u64)>, deployment: &str) -> Self {
        let of_deployment = |(load, age_ms): (&RouterLoad, u64)| {
            let load = load.deployments.get(deployment)?;
            Some(RouterReport {
                age_ms,
                running: load.running,
                held: load.held,
                asked: load.asked,
            })
        };
        Self {
            name: said.map_or_else(String::new, |(load, _)| load.run.clone()),
            is_ready,
            report: said.and_then(of_deployment),
        }
    }
}

/// What all together have in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InHand {
    /// Have a place at a replica.
    pub running: u32,
    /// Wait for a place, at a replica.
    pub waiting: u32,
    /// Wait for one at a router.
    pub held: u32,
}

impl InHand {
    pub fn without_place(&self) -> u32 {
        self.waiting.saturating_add(self.held)
    }

    pub fn is_anything(&self) -> bool {
        self.running > 0 || self.without_place() > 0
    }
}

impl Inputs {
    /// Whether anything was reported that can be trusted.
    pub fn is_known(&self) -> bool {
        self.fresh_routers().next().is_some() || self.fresh_replicas().next().is_some()
    }

    /// Whether everybody has reported of whom it is expected. A deployment without a router has one that is
    /// not known yet.
    pub fn is_whole(&self) -> bool {
        let mut routers = self.routers.iter().filter(|router| router.is_ready);
        let mut replicas = self.replicas.iter().filter(|replica| replica.is_ready);
        self.fresh_routers().next().is_some()
            && routers.all(|router| fresh_router(router).is_some())
            && replicas.all(|replica| fresh_replica(replica).is_some())
    }

    pub(super) fn fresh_routers(&self) -> impl Iterator<Item = (&Router, &RouterReport)> {
        let routers = self.routers.iter();
        routers.filter_map(|router| Some((router, fresh_router(router)?)))
    }

    fn fresh_replicas(&self) -> impl Iterator<Item = &ReplicaReport> {
        self.replicas.iter().filter_map(fresh_replica)
    }

    /// Routers and replicas see the same asks from two sides: where one side is missing, the other counts.
    pub(super) fn in_hand(&self) -> InHand {
        let sum = |counts: &mut dyn Iterator<Item = u32>| counts.fold(0, u32::saturating_add);
        let waiting = sum(&mut self.fresh_replicas().map(|report| report.waiting));
        let running = sum(&mut self.fresh_replicas().map(|report| report.running));
        let routed = sum(&mut self.fresh_routers().map(|(_, report)| report.running));
        InHand {
            running: running.max(routed.saturating_sub(waiting)),
            waiting,
            held: sum(&mut self.fresh_routers().map(|(_, report)| report.held)),
        }
    }
}

fn fresh_router(router: &Router) -> Option<&RouterReport> {
    let report = router.report.as_ref();
    report.filter(|report| report.age_ms <= FRESH_MS)
}

fn fresh_replica(replica: &Replica) -> Option<&ReplicaReport> {
    let report = replica.report.as_ref();
    report.filter(|report| report.age_ms <= FRESH_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::DeploymentLoad;

    #[test]
    fn a_router_that_does_not_know_the_deployment_has_said_nothing_of_it() {
        let asked = DeploymentLoad {
            running: 2,
            held: 1,
            asked: 9,
        };
        let load = RouterLoad {
            run: "9f3c".into(),
            deployments: [("triage".to_owned(), asked)].into(),
            ..RouterLoad::default()
        };
        let known = Router::of(true, Some((&load, 40)), "triage");
        let report = RouterReport {
            age_ms: 40,
            running: 2,
            held: 1,
            asked: 9,
        };
        assert_eq!((known.name.as_str(), known.report), ("9f3c", Some(report)));
        let unknown = Router::of(true, Some((&load, 40)), "other");
        assert_eq!((unknown.name.as_str(), unknown.report), ("9f3c", None));
    }
}
