//! Objects with their statuses, one for each state that a deployment may be in: the end-to-end tests have Flux's
//! and Argo CD's own health code read them.

use super::*;
use crate::expected::check_statuses;
use weir_policy::rollout::guard::{Failure, Signal};
use weir_policy::rollout::reason::Why;

/// What demand decides, or nothing where `spec.replicas` does.
const DEMAND: Option<&[ScalingDecision]> = Some(&[]);

fn object(name: &str, observed: &Observed, status: SLMDeploymentStatus) -> SLMDeployment {
    let mut deployment = observed.deployment.clone();
    deployment.metadata.name = Some(name.into());
    deployment.status = Some(status);
    deployment
}

/// A deployment whose stable revision is the one of its spec, with so many replicas of so many.
fn of_replicas(
    name: &str,
    (ready, wanted): (u32, u32),
    decisions: Option<&[ScalingDecision]>,
) -> SLMDeployment {
    let replicas = (0..ready).map(|_| replica(true, running(), Some("sha256:abc")));
    let mut seen = observed(vec![revision("new", ready)], replicas.collect());
    match decisions {
        Some(_) => seen.deployment.spec.scaling.min = 0,
        None => seen.deployment.spec.replicas = Some(wanted),
    }
    let mut plan = plan("new", None);
    plan.shares.stable = wanted;
    let decided = Decided::Made {
        plan: &plan,
        replicas: wanted,
        decisions,
        applied: &Applied::default(),
        problems: &[],
    };
    if wanted > ready && ready == 0 && decisions.is_some() {
        let asleep = of_replicas(name, (0, 0), decisions);
        seen.deployment.status = asleep.status;
    }
    object(name, &seen, status(&seen, &decided, now()))
}

/// A deployment whose one replica is not ready, with what is known of its pod.
fn of_pod(name: &str, pod: Value) -> SLMDeployment {
    let seen = observed(vec![revision("new", 0)], vec![replica(false, pod, None)]);
    object(name, &seen, settled(&seen))
}

/// A deployment with a change that goes the way of `plan`.
fn of_plan(name: &str, plan: &Plan) -> SLMDeployment {
    let mut revisions = vec![revision("old", 1)];
    if plan.canary.is_some() {
        revisions.push(revision("new", 1));
    }
    let seen = observed(revisions, vec![]);
    object(name, &seen, made(&seen, plan, 1, &Applied::default()))
}

fn changes() -> [SLMDeployment; 3] {
    let failure = Failure {
        signal: Signal::Errors,
        canary: 0.2,
        stable: 0.01,
        of: 100,
        cut: None,
    };
    let mut back = plan("old", None);
    back.reason = Reason::RolledBack(Why::Failed(failure.clone()));
    back.said = back.reason.to_string();
    let mut paused = plan("old", Some("new"));
    paused.reason = Reason::Paused(failure);
    paused.said = paused.reason.to_string();
    [
        of_plan("on-trial", &plan("old", Some("new"))),
        of_plan("rolled-back", &back),
        of_plan("paused", &paused),
    ]
}

fn wrong() -> [SLMDeployment; 4] {
    let waiting = json!({ "containerStatuses": [{
        "name": "worker", "state": { "waiting": { "reason": "ErrImagePull", "message": "no such image" } },
    }] });
    let seen = observed(vec![revision("old", 1)], vec![]);
    let problems = [Problem {
        reason: reasons::NOT_IMPLEMENTED,
        field: "spec.cache.hostPath".into(),
        message: "spec.cache.hostPath is not implemented yet".into(),
    }];
    let refused = status(&seen, &Decided::Refused(&problems), now());
    let taken = Applied {
        taken: vec!["Service triage: it was not made by weir".into()],
        ..Applied::default()
    };
    let taken = made(&seen, &plan("new", None), 1, &taken);
    [
        of_pod("image-missing", waiting),
        of_pod(
            "model-missing",
            ended("ModelNotFound: nothing at /models/triage"),
        ),
        object("refused", &seen, refused),
        object("name-taken", &seen, taken),
    ]
}

#[test]
fn every_state_of_a_deployment_is_written_down_for_those_who_judge_its_health() {
    let mut changed = of_replicas("changed-since", (1, 1), DEMAND);
    changed.metadata.generation = Some(3);
    let mut objects = vec![
        of_pod("starting", json!({})),
        of_replicas("serving", (1, 1), DEMAND),
        changed,
        of_replicas("more-for-demand", (1, 3), DEMAND),
        of_replicas("more-for-replicas", (1, 3), None),
        of_replicas("at-zero", (0, 0), DEMAND),
        of_replicas("coming-from-zero", (0, 1), DEMAND),
        of_replicas("zero-replicas", (0, 0), None),
    ];
    objects.extend(changes());
    objects.extend(wrong());
    check_statuses("health-deployments", &objects);
}
