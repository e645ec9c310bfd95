//! What decisions are made from, out of the cache and of what pods reported: gone through once for all
//! deployments.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use tokio::time::Instant;
use weir_crds::{SLMDeployment, labels};
use weir_policy::load::{Capacity, RouterLoad};
use weir_policy::scale::Inputs;
use weir_policy::scale::inputs::{Replica, Router};
use weir_policy::table::told;

use super::Of;
use crate::context::Context;
use crate::load::{Loads, is_ready, reports};

/// Everything that there is, by what it is of.
pub struct World {
    loads: Loads,
    deployments: BTreeMap<Of, Arc<DeserializeGuard<SLMDeployment>>>,
    /// By deployment.
    replicas: BTreeMap<Of, Vec<Arc<Pod>>>,
    /// By namespace.
    routers: BTreeMap<String, Vec<Arc<Pod>>>,
}

impl World {
    pub fn look(ctx: &Context) -> Self {
        let mut world = Self {
            loads: ctx.loads.clone(),
            deployments: BTreeMap::new(),
            replicas: BTreeMap::new(),
            routers: BTreeMap::new(),
        };
        for deployment in ctx.cache.all_deployments() {
            let of = (
                deployment.namespace().unwrap_or_default(),
                deployment.name_any(),
            );
            world.deployments.insert(of, deployment);
        }
        for pod in ctx.cache.all_pods() {
            if pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let namespace = pod.namespace().unwrap_or_default();
            let label = |key: &str| pod.labels().get(key).cloned();
            if label(labels::COMPONENT).as_deref() == Some(labels::ROUTER) {
                world.routers.entry(namespace).or_default().push(pod);
            } else if let Some(name) = label(labels::DEPLOYMENT) {
                world
                    .replicas
                    .entry((namespace, name))
                    .or_default()
                    .push(pod);
            }
        }
        world
    }

    /// The deployment, where it is the same one.
    pub fn deployment(&self, of: &Of, uid: &str) -> Option<&SLMDeployment> {
        let deployment = self.deployments.get(of)?.0.as_ref().ok()?;
        let is_same = deployment.metadata.uid.as_deref() == Some(uid)
            && deployment.metadata.deletion_timestamp.is_none();
        is_same.then_some(deployment)
    }

    /// What is known of it at `at`, which is so many milliseconds by the clock of decisions.
    pub fn inputs(
        &self,
        deployment: &SLMDeployment,
        (of, wanted): (&Of, u32),
        (at, at_ms): (Instant, u64),
    ) -> Inputs {
        let replicas = self.replicas.get(of).map_or(&[][..], Vec::as_slice);
        let routers = self.routers.get(&of.0).map_or(&[][..], Vec::as_slice);
        let status = deployment.status.as_ref();
        let cold_start = status.and_then(|status| status.cold_start.as_ref());
        let cold_start = cold_start.and_then(|cold| told(cold.total_text.as_deref()?));
        let capacity = status.and_then(|status| status.capacity.as_ref());
        Inputs {
            at_ms,
            wanted,
            replicas: replicas.iter().map(|pod| self.replica(pod, at)).collect(),
            routers: routers
                .iter()
                .map(|pod| self.router(pod, &of.1, at))
                .collect(),
            cold_start_ms: cold_start.and_then(|cold| u64::try_from(cold.as_millis()).ok()),
            capacity: capacity.map(|capacity| Capacity {
                sequences: capacity.concurrency,
                tokens_per_second: capacity.tokens_per_second,
            }),
        }
    }

    /// Of a server that is not ours routers know all that is known.
    fn replica(&self, pod: &Pod, at: Instant) -> Replica {
        let load = self.loads.worker(pod);
        let mut replica = Replica::of(is_ready(pod), load.as_ref().zip(self.age_ms(pod, at)));
        if !reports(pod) {
            replica.report.get_or_insert_default();
        }
        replica
    }

    fn router(&self, pod: &Pod, deployment: &str, at: Instant) -> Router {
        let age_ms = self.age_ms(pod, at);
        let of = |load: &RouterLoad| {
            let said = age_ms.map(|age_ms| (load, age_ms));
            Router::of(is_ready(pod), said, deployment)
        };
        let said = self.loads.of_router(pod, of);
        said.unwrap_or_else(|| Router::of(is_ready(pod), None, deployment))
    }

    fn age_ms(&self, pod: &Pod, at: Instant) -> Option<u64> {
        let age = self.loads.age(pod, at)?;
        Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }
}
