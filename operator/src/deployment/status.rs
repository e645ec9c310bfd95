//! What a deployment's status says: pure, from what was seen and what was decided.

mod adapters;
mod cold_start;
mod figures;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use weir_crds::{SLMDeploymentStatus, ScalingDecision, Urls, conditions, labels, reasons};
use weir_policy::rollout::reason::Reason;
use weir_policy::validate::Problem;

use super::cause::{self, Cause};
use super::observe::{Observed, Replica};
use super::rollout::{Plan, Revision};
use crate::apply::Applied;
use crate::condition::{Conditions, Verdict, refused, said};

/// What was decided in this pass.
#[derive(Clone, Debug)]
pub enum Decided<'a> {
    /// The spec cannot be made; nothing was touched.
    Refused(&'a [Problem]),
    Made {
        plan: &'a Plan,
        replicas: u32,
        /// Why there are so many; nothing where nobody scales them here.
        decisions: Option<&'a [ScalingDecision]>,
        applied: &'a Applied,
        /// What is wrong with the spec, where this is of the one before it.
        problems: &'a [Problem],
    },
}

/// The status that `observed` and `decided` amount to.
pub fn status(observed: &Observed, decided: &Decided<'_>, now: Timestamp) -> SLMDeploymentStatus {
    let deployment = &observed.deployment;
    let before = deployment.status.clone().unwrap_or_default();
    let facts = Facts::new(observed, decided, &before);
    let replicas = facts.sum(|revision| revision.replicas);
    let ready = facts.sum(|revision| revision.ready);
    let desired = match decided {
        Decided::Made { replicas, .. } => *replicas,
        Decided::Refused(_) => before.desired_replicas,
    };
    SLMDeploymentStatus {
        observed_generation: deployment.metadata.generation,
        conditions: facts.conditions(&before, now),
        replicas,
        ready_replicas: ready,
        desired_replicas: desired,
        replicas_text: Some(format!("{ready}/{desired}")),
        selector: Some(labels::selector(&deployment.name_any())),
        urls: Some(urls(
            &deployment.name_any(),
            &deployment.namespace().unwrap_or_default(),
        )),
        model: facts
            .model()
            .or(before.model.clone().filter(|_| !facts.is_foreign())),
        rollout: facts.rollout(before.rollout.clone()),
        cold_start: facts.cold_start().or(before.cold_start.clone()),
        adapters: facts.adapters(),
        capacity: facts.capacity(before.capacity.as_ref(), now),
        scaling: facts.scaling(before.scaling.clone()),
    }
}

/// The base URLs under which clients in the cluster reach the Service `name`.
pub fn urls(name: &str, namespace: &str) -> Urls {
    let anthropic = format!("http://{name}.{namespace}.svc");
    Urls {
        openai: format!("{anthropic}/v1"),
        anthropic,
    }
}

/// What the conditions are made from.
struct Facts<'a> {
    observed: &'a Observed,
    decided: &'a Decided<'a>,
    /// The revision that is looked at: the one on trial, or else the one that serves.
    revision: &'a str,
    cause: Option<Cause>,
}

impl<'a> Facts<'a> {
    fn new(
        observed: &'a Observed,
        decided: &'a Decided<'a>,
        before: &'a SLMDeploymentStatus,
    ) -> Self {
        let revision = match decided {
            Decided::Made { plan, .. } => plan.looked_at(),
            Decided::Refused(_) => before
                .rollout
                .as_ref()
                .map_or("", |rollout| rollout.stable.as_str()),
        };
        let mut facts = Self {
            observed,
            decided,
            revision,
            cause: None,
        };
        facts.cause = facts.find_cause();
        facts
    }

    fn revision(&self) -> Option<&Revision> {
        self.observed
            .revisions
            .iter()
            .find(|revision| revision.name == self.revision)
    }

    fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.observed.replicas_of(self.revision)
    }

    fn sum(&self, count: impl Fn(&Revision) -> u32) -> u32 {
        self.observed.revisions.iter().map(count).sum()
    }

    /// What keeps replicas of the revision from being ready, the model's own reasons first.
    fn find_cause(&self) -> Option<Cause> {
        if let Some(cause) = self.digest_mismatch() {
            return Some(cause);
        }
        let waiting = self.replicas().filter(|replica| !replica.ready);
        let mut causes: Vec<Cause> = waiting
            .filter_map(|replica| cause::of(&replica.pod))
            .collect();
        causes.sort_by_key(|cause| !cause::FINAL.contains(&cause.reason));
        let refused = self
            .revision()
            .and_then(|revision| revision.refused.clone())
            .map(|message| Cause {
                reason: reasons::REPLICAS_REFUSED,
                message,
            });
        let wrong = causes.into_iter().next().or(refused);
        let wrong = wrong.or_else(|| self.begins_again());
        wrong.or_else(|| self.arriving())
    }

    /// What was said of a replica that ended and begins again, while its kubelet does not say how it ended.
    fn begins_again(&self) -> Option<Cause> {
        let mut waiting = self.replicas().filter(|replica| !replica.ready);
        waiting.find(|replica| cause::has_ended_before(&replica.pod))?;
        let said = self.said(conditions::READY)?;
        Some(Cause {
            reason: cause::of_worker(&said.reason)?,
            message: said.message.clone(),
        })
    }

    /// How far the model is on its way to a replica: to one that something comes to, if there is one.
    fn arriving(&self) -> Option<Cause> {
        let waiting = self.replicas().filter(|replica| !replica.ready);
        let told = waiting.filter_map(|replica| {
            let arriving = replica.load.as_ref()?.arriving.as_ref()?;
            Some((arriving.bytes_per_second, replica.pod.name_any(), arriving))
        });
        let (_, name, arriving) = told.max_by_key(|(rate, ..)| *rate)?;
        Some(Cause {
            reason: reasons::DOWNLOADING,
            message: format!("replica {name}: {}", arriving.said),
        })
    }

    fn digest_mismatch(&self) -> Option<Cause> {
        let pinned = &self.revision()?.pins.as_ref()?.digest;
        let mut ready = self.replicas().filter(|replica| replica.ready).peekable();
        if ready.peek().is_some() && ready.all(|replica| replica.load.is_none()) {
            let said = self.said(conditions::READY)?;
            return (said.reason == reasons::DIGEST_MISMATCH).then(|| Cause {
                reason: reasons::DIGEST_MISMATCH,
                message: said.message.clone(),
            });
        }
        self.replicas().find_map(|replica| {
            let digest = &replica.load.as_ref()?.model.as_ref()?.digest;
            (digest != pinned).then(|| Cause {
                reason: reasons::DIGEST_MISMATCH,
                message: format!(
                    "replica {} loaded {digest}, and revision {} was pinned to {pinned} by its first replica: \
                     delete the replica, or change the spec so that a new revision begins",
                    replica.pod.name_any(),
                    self.revision,
                ),
            })
        })
    }

    fn conditions(&self, before: &SLMDeploymentStatus, now: Timestamp) -> Vec<Condition> {
        let generation = self.observed.deployment.metadata.generation.unwrap_or(0);
        let mut conditions = Conditions::new(&before.conditions, generation, now);
        let ready = self.ready();
        let stalled = self.stalled(&ready);
        conditions.say(conditions::READY, &ready);
        conditions.say(conditions::AVAILABLE, &self.available());
        conditions.say(conditions::MODEL_READY, &self.model_ready());
        if let Some(adapters) = self.adapters_ready() {
            conditions.say(conditions::ADAPTERS_READY, &adapters);
        }
        if let Some(health) = self.canary_healthy() {
            conditions.say(conditions::CANARY_HEALTHY, &health);
        }
        if self.observed.deployment.spec.replicas.is_some() {
            let message = "spec.replicas is set: spec.scaling does nothing until it is taken out";
            conditions.set(
                conditions::AUTOSCALING_SUSPENDED,
                true,
                reasons::REPLICAS_SET,
                message,
            );
        }
        if stalled {
            conditions.set(conditions::STALLED, true, ready.1, ready.2);
        } else if !ready.0 || self.waits_for_replicas() {
            conditions.set(
                conditions::RECONCILING,
                true,
                reasons::PROGRESSING,
                match ready.1 {
                    reasons::ROUTER_UNAVAILABLE => ready.2,
                    _ => self.progress(),
                },
            );
        }
        conditions.finish()
    }

    fn ready(&self) -> Verdict {
        let (plan, replicas, applied) = match self.decided {
            Decided::Refused(problems) => return refused(problems),
            Decided::Made { problems, .. } if !problems.is_empty() => return refused(problems),
            Decided::Made {
                plan,
                replicas,
                applied,
                ..
            } => (plan, *replicas, applied),
        };
        if !applied.taken.is_empty() {
            return (false, reasons::NAME_TAKEN, applied.taken.join("; "));
        }
        if !applied.refused.is_empty() {
            return (false, reasons::APPLY_FAILED, applied.refused.join("; "));
        }
        let final_cause = |cause: &&Cause| cause.reason == reasons::DIGEST_MISMATCH;
        if let Some(cause) = self.cause.as_ref().filter(final_cause) {
            return (false, cause.reason, cause.message.clone());
        }
        if let Some(ended) = plan.ended() {
            return ended;
        }
        if replicas == 0 && plan.reason == Reason::Asleep {
            let message = format!("{}; {}", self.at_zero(), plan.said);
            return (true, reasons::SCALED_TO_ZERO, message);
        }
        let revisions = &self.observed.revisions;
        let others = revisions.iter().any(|revision| !plan.is_of_spec(revision));
        let serves =
            |revision: &&Revision| revision.name == plan.stable && plan.is_of_spec(revision);
        let serving = revisions.iter().find(serves);
        let ready = serving.map_or(0, |revision| revision.ready);
        let is_served = plan.stable == plan.wanted || serving.is_some();
        if is_served && !others {
            if replicas == 0 && self.revision().is_some() {
                return (true, reasons::SCALED_TO_ZERO, self.at_zero().into());
            }
            if ready == 0 && self.comes_from_zero() {
                return (true, reasons::STARTING, self.progress());
            }
            if ready > 0 {
                let serving = || (true, reasons::SERVING, self.served(plan));
                return self.unreached().unwrap_or_else(serving);
            }
        }
        let is_usual = |cause: &Cause| others && cause.reason == reasons::DOWNLOADING;
        match &self.cause {
            Some(cause) if !is_usual(cause) => (false, cause.reason, cause.message.clone()),
            _ if others => (false, reasons::ROLLING_OUT, rolling_out(plan)),
            _ => (false, reasons::STARTING, self.progress()),
        }
    }

    /// How what the spec asks for is served, also by two revisions of it.
    fn served(&self, plan: &Plan) -> String {
        match plan.is_upgrade {
            true => rolling_out(plan),
            false => self.progress(),
        }
    }

    /// What becomes of asks while there is no replica.
    fn at_zero(&self) -> &'static str {
        match self.decided {
            Decided::Made {
                decisions: Some(_), ..
            } => "nobody asks: the next ask starts a replica and waits for it",
            _ => "spec.replicas is 0: asks are refused until it is raised",
        }
    }

    /// Whether it went to zero as it was to, and comes back: nothing is wrong with it then.
    fn comes_from_zero(&self) -> bool {
        let is_scaled = matches!(
            self.decided,
            Decided::Made {
                decisions: Some(_),
                ..
            }
        );
        let said = self.said(conditions::READY);
        let is_usual = said.is_some_and(|said| {
            said.status == "True"
                && [reasons::SCALED_TO_ZERO, reasons::STARTING].contains(&&*said.reason)
        });
        let cause = self.cause.as_ref().map(|cause| cause.reason);
        is_scaled && is_usual && cause.is_none_or(|reason| reason == reasons::DOWNLOADING)
    }

    /// What keeps clients from replicas that are ready.
    fn unreached(&self) -> Option<Verdict> {
        let reach = &self.observed.reach;
        if !reach.taken.is_empty() {
            return Some((false, reasons::NAME_TAKEN, reach.taken.join("; ")));
        }
        (!reach.routers).then(|| {
            let message = "no router of the namespace is ready yet: nobody reaches the replicas";
            (false, reasons::ROUTER_UNAVAILABLE, message.into())
        })
    }

    /// Whether the canary holds its guard. While the spec is refused nobody looks.
    fn canary_healthy(&self) -> Option<Verdict> {
        match self.decided {
            Decided::Made { plan, .. } => plan.health.clone(),
            Decided::Refused(_) => None,
        }
    }

    /// Whether somebody has to change something before this can go on.
    fn stalled(&self, ready: &Verdict) -> bool {
        let refused = match self.decided {
            Decided::Made { plan, problems, .. } => plan.ended().is_some() || !problems.is_empty(),
            Decided::Refused(_) => true,
        };
        let taken = matches!(self.decided, Decided::Made { applied, .. } if !applied.taken.is_empty() || !applied.refused.is_empty());
        let taken = taken || ready.1 == reasons::NAME_TAKEN;
        refused || taken || (!ready.0 && cause::FINAL.contains(&ready.1))
    }

    fn available(&self) -> Verdict {
        let serving: Vec<&str> = self
            .observed
            .revisions
            .iter()
            .filter(|revision| revision.ready > 0)
            .map(|revision| revision.name.as_str())
            .collect();
        if !serving.is_empty() {
            let message = format!("revision {} serves", serving.join(", "));
            return (true, reasons::SERVING, message);
        }
        match (&self.cause, self.decided) {
            (_, Decided::Made { replicas: 0, .. }) => (
                false,
                reasons::SCALED_TO_ZERO,
                "no replica is wanted".into(),
            ),
            (Some(cause), _) => (false, cause.reason, cause.message.clone()),
            (None, _) => (false, reasons::STARTING, "no replica is ready yet".into()),
        }
    }

    fn model_ready(&self) -> Verdict {
        let wrong = self.cause.as_ref().filter(|cause| {
            cause::FINAL.contains(&cause.reason) || cause.reason == reasons::OUT_OF_MEMORY
        });
        if let Some(cause) = wrong {
            return (false, cause.reason, cause.message.clone());
        }
        match self.model() {
            Some(model) => (
                true,
                reasons::LOADED,
                format!(
                    "{}, {} parameters, {}",
                    model.architecture, model.parameters, model.digest
                ),
            ),
            None if self.is_foreign() && self.replicas().any(|replica| replica.ready) => {
                let message =
                    "the server of engine.image is ready, which tells nothing of its model";
                (true, reasons::LOADED, message.into())
            }
            None => self.loaded_before().unwrap_or_else(|| self.not_loaded()),
        }
    }

    fn not_loaded(&self) -> Verdict {
        let is_coming = |cause: &&Cause| cause.reason == reasons::DOWNLOADING;
        match self.cause.as_ref().filter(is_coming) {
            Some(cause) => (false, cause.reason, cause.message.clone()),
            None => {
                let message = "no replica has loaded the model yet";
                (false, reasons::STARTING, message.into())
            }
        }
    }

    /// What was said of the model, while a replica is ready that has not reported to us yet.
    fn loaded_before(&self) -> Option<Verdict> {
        self.replicas().find(|replica| replica.ready)?;
        let said = self.said(conditions::MODEL_READY)?;
        (said.status == "True").then(|| (true, reasons::LOADED, said.message.clone()))
    }

    fn said(&self, type_: &str) -> Option<&Condition> {
        let deployment = &self.observed.deployment;
        let before = &deployment.status.as_ref()?.conditions;
        said(before, type_, deployment.metadata.generation)
    }

    /// Whether there are fewer replicas than the spec asks for. What demand asks for beyond that comes and goes
    /// without anybody having changed anything: nobody who waits for a change to be done waits for it.
    fn waits_for_replicas(&self) -> bool {
        let asked = match self.decided {
            Decided::Made {
                decisions: Some(_), ..
            } => self.observed.deployment.spec.scaling.min,
            _ => u32::MAX,
        };
        let ready = self.revision().map_or(0, |revision| revision.ready);
        ready < self.wanted_replicas().min(asked)
    }

    /// How many the revision is to have.
    fn wanted_replicas(&self) -> u32 {
        match self.decided {
            Decided::Made { plan, .. } => plan.replicas_of_wanted(),
            Decided::Refused(_) => 0,
        }
    }

    fn progress(&self) -> String {
        let ready = self.revision().map_or(0, |revision| revision.ready);
        let wanted = self.wanted_replicas();
        let text = format!(
            "{ready} of {wanted} replicas of revision {} are ready",
            self.revision
        );
        match self.cause.as_ref().filter(|_| ready < wanted) {
            Some(cause) => format!("{text}; {}: {}", cause.reason, cause.message),
            None => text,
        }
    }
}

fn rolling_out(plan: &Plan) -> String {
    match &plan.canary {
        Some(canary) if plan.is_on_trial() => format!(
            "revision {canary} is on trial and revision {} serves: {}",
            plan.stable, plan.said
        ),
        Some(canary) => format!(
            "revision {} serves, and {canary} gives back what it took over: {}",
            plan.stable, plan.said
        ),
        None => format!(
            "revision {} serves, the one before it is leaving",
            plan.stable
        ),
    }
}

#[cfg(test)]
mod tests;
