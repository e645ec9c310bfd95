//! What a status says in numbers: the model as it was found, what a replica can do and what its start took,
//! which revisions serve, and why there are so many replicas.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use weir_crds::{CapacityStatus, ColdStartStatus, ModelStatus, RolloutStatus, ScalingStatus};

use super::{Decided, Facts, cold_start};
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
        if self.is_foreign() {
            return cold_start::seen(&self.youngest(|_| true)?.pod);
        }
        let replica = self.youngest_ready()?;
        let load = replica.load.as_ref()?;
        Some(cold_start::told(load.cold_start.as_ref()?, &replica.pod))
    }

    /// Whether its server is not ours, and so tells nothing of itself.
    pub(super) fn is_foreign(&self) -> bool {
        self.observed.deployment.spec.engine.image.is_some()
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
            return before.filter(|_| !self.is_foreign()).cloned();
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

    /// Of those that report.
    fn youngest_ready(&self) -> Option<&Replica> {
        self.youngest(|replica| replica.load.is_some())
    }

    fn youngest(&self, is_meant: impl Fn(&Replica) -> bool) -> Option<&Replica> {
        self.replicas()
            .filter(|replica| replica.ready && is_meant(replica))
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
                weight: plan.weight,
                step: plan.step,
                since: Some(Time(plan.since)),
            }),
        }
    }
}
