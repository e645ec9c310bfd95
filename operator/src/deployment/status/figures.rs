//! What a status says in numbers: the model as it was found, what a replica can do and what its start took,
//! which revisions serve, and why there are so many replicas.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use weir_crds::value::duration_text;
use weir_crds::{CapacityStatus, ColdStartStatus, ModelStatus, RolloutStatus, ScalingStatus};
use weir_policy::load::ColdStart;

use super::{Decided, Facts};
use crate::deployment::observe::Replica;

impl Facts<'_> {
    /// The model as the youngest replica that is ready found it.
    pub(super) fn model(&self) -> Option<ModelStatus> {
        let load = self.youngest_ready()?.load.as_ref()?;
        let model = load.model.as_ref()?;
        Some(ModelStatus {
            revision: Some(model.revision.clone()).filter(|revision| !revision.is_empty()),
            digest: model.digest.clone(),
            architecture: model.architecture.clone(),
            parameters: model.parameters,
            bytes: model.bytes,
            quantization: model.quantization.clone(),
            context_tokens: model.context_tokens,
        })
    }

    pub(super) fn cold_start(&self) -> Option<ColdStartStatus> {
        let replica = self.youngest_ready()?;
        let load = replica.load.as_ref()?;
        Some(cold_start(
            load.cold_start.as_ref()?,
            before_start(&replica.pod),
        ))
    }

    /// What the youngest replica measured. A status that says the same already keeps its time.
    pub(super) fn capacity(
        &self,
        before: Option<&CapacityStatus>,
        now: Timestamp,
    ) -> Option<CapacityStatus> {
        let replica = self.youngest_ready();
        let measured = replica.and_then(|replica| replica.load.as_ref()?.capacity);
        let Some(measured) = measured else {
            return before.cloned();
        };
        let same = before.filter(|before| {
            before.concurrency == measured.sequences
                && before.tokens_per_second == measured.tokens_per_second
        });
        Some(same.cloned().unwrap_or(CapacityStatus {
            concurrency: measured.sequences,
            tokens_per_second: measured.tokens_per_second,
            measured_at: Some(Time(now)),
        }))
    }

    fn youngest_ready(&self) -> Option<&Replica> {
        self.replicas()
            .filter(|replica| replica.ready && replica.load.is_some())
            .max_by_key(|replica| {
                let created = replica.pod.creation_timestamp().map(|time| time.0);
                (created, replica.pod.name_any())
            })
    }

    pub(super) fn scaling(&self, before: Option<ScalingStatus>) -> Option<ScalingStatus> {
        match self.decided {
            Decided::Refused(_) => before,
            Decided::Made { decisions, .. } => decisions.map(|decisions| ScalingStatus {
                decisions: decisions.to_vec(),
            }),
        }
    }

    pub(super) fn rollout(&self, before: Option<RolloutStatus>) -> Option<RolloutStatus> {
        match self.decided {
            Decided::Refused(_) => before,
            Decided::Made { plan, .. } => Some(RolloutStatus {
                stable: plan.stable.clone(),
                canary: plan.canary.clone().unwrap_or_default(),
                weight: 0,
                step: 0,
                since: Some(Time(plan.since)),
            }),
        }
    }
}

fn cold_start(of: &ColdStart, image: Option<Duration>) -> ColdStartStatus {
    let parts = [of.download_ms, of.load_ms, of.warm_up_ms, of.adapters_ms];
    let parts = parts.map(Duration::from_millis);
    let total = parts.iter().sum::<Duration>() + image.unwrap_or_default();
    let [download, load, warm_up, adapters] = parts.map(|part| Some(duration_text(part)));
    ColdStartStatus {
        image: image.map(duration_text),
        download,
        load,
        warm_up,
        adapters: adapters.filter(|_| of.adapters_ms > 0),
        total_text: Some(duration_text(total)),
    }
}

/// From having a node to the container's start, which is mostly the image; unknown after a restart.
fn before_start(pod: &Pod) -> Option<Duration> {
    let status = pod.status.as_ref()?;
    let container = status.container_statuses.as_ref()?.first()?;
    if container.restart_count > 0 {
        return None;
    }
    let started = container
        .state
        .as_ref()?
        .running
        .as_ref()?
        .started_at
        .as_ref()?;
    let scheduled = status
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == "PodScheduled")?
        .last_transition_time
        .as_ref()?;
    Duration::try_from(started.0.duration_since(scheduled.0)).ok()
}
