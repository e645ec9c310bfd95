//! What a deployment's status says, one story each.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::deployment::began::Began;
use crate::deployment::rollout::Pins;
use crate::expected::check;
use crate::reach::Reach;
use weir_crds::{RolloutStatus, SLMDeployment};
use weir_policy::load::{Capacity, ColdStart, ModelFacts, WorkerLoad};
use weir_policy::rollout::reason::Reason;
use weir_policy::rollout::replicas::Shares;

mod adapters;
mod foreign;
mod health;
mod replicas;
mod rollouts;
mod scaled;

const NOW: &str = "2026-11-21T06:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn deployment() -> SLMDeployment {
    serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
        "metadata": { "name": "triage", "namespace": "support", "uid": "u1", "generation": 2 },
        "spec": { "model": { "source": "file:///models/triage" } },
    }))
    .unwrap()
}

fn revision(name: &str, ready: u32) -> Revision {
    Revision {
        name: name.into(),
        created: now(),
        stable: true,
        spec: None,
        began: Began::default(),
        wanted: 1,
        replicas: 1,
        ready,
        refused: None,
        pins: Some(Pins {
            digest: "sha256:abc".into(),
            resolved: None,
        }),
    }
}

fn replica(ready: bool, status: Value, digest: Option<&str>) -> Replica {
    let pod = json!({
        "metadata": { "name": "triage-new-1", "creationTimestamp": "2026-11-21T05:59:00Z" },
        "status": status,
    });
    Replica {
        revision: "new".into(),
        ready,
        pod: Arc::new(serde_json::from_value(pod).unwrap()),
        load: digest.map(|digest| WorkerLoad {
            model: Some(ModelFacts {
                digest: digest.into(),
                revision: String::new(),
                architecture: "Llama".into(),
                parameters: 3_000_000,
                bytes: 6_000_000,
                quantization: "None".into(),
                context_tokens: 512,
            }),
            cold_start: Some(ColdStart {
                download_ms: 0,
                load_ms: 120,
                warm_up_ms: 30,
                adapters_ms: 0,
            }),
            capacity: Some(Capacity {
                sequences: 16,
                tokens_per_second: 900,
            }),
            ..WorkerLoad::default()
        }),
    }
}

fn running() -> Value {
    json!({
        "conditions": [{
            "type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-21T05:59:00Z",
        }],
        "containerStatuses": [{
            "name": "worker", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "state": { "running": { "startedAt": "2026-11-21T05:59:02Z" } },
        }],
    })
}

fn ended(message: &str) -> Value {
    json!({ "containerStatuses": [{
        "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 3,
        "state": { "waiting": { "reason": "CrashLoopBackOff" } },
        "lastState": { "terminated": { "exitCode": 1, "message": message } },
    }] })
}

fn plan(stable: &str, canary: Option<&str>) -> Plan {
    let reason = match canary {
        Some(_) => Reason::Starting {
            ready: 0,
            needed: 1,
        },
        None => Reason::Serving,
    };
    Plan {
        spec: "spec".into(),
        is_upgrade: false,
        wanted: "new".into(),
        stable: stable.into(),
        canary: canary.map(Into::into),
        weight: 0,
        step: 0,
        shares: Shares {
            stable: 1,
            canary: 1,
        },
        said: reason.to_string(),
        reason,
        health: None,
        since: now(),
        retire: Vec::new(),
        leaving: Vec::new(),
        again: None,
    }
}

fn observed(revisions: Vec<Revision>, replicas: Vec<Replica>) -> Observed {
    Observed {
        deployment: deployment(),
        owned: Vec::new(),
        revisions,
        replicas,
        reach: Reach {
            routers: true,
            taken: Vec::new(),
        },
        chat_template: None,
    }
}

fn made(observed: &Observed, plan: &Plan, replicas: u32, applied: &Applied) -> SLMDeploymentStatus {
    let mut plan = plan.clone();
    plan.shares.stable = replicas;
    let decided = Decided::Made {
        plan: &plan,
        replicas,
        decisions: None,
        applied,
        problems: &[],
    };
    status(observed, &decided, now())
}

fn settled(observed: &Observed) -> SLMDeploymentStatus {
    made(observed, &plan("new", None), 1, &Applied::default())
}

/// Each condition as `Type=Status Reason: message`.
fn told(status: &SLMDeploymentStatus) -> Vec<String> {
    let conditions = status.conditions.iter();
    conditions
        .map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message))
        .collect()
}

fn reason(status: &SLMDeploymentStatus) -> (&str, &str) {
    let ready = &status.conditions[0];
    assert_eq!(ready.type_, "Ready");
    (&ready.status, &ready.reason)
}

fn has(status: &SLMDeploymentStatus, type_: &str) -> bool {
    status.conditions.iter().any(|c| c.type_ == type_)
}

#[test]
fn a_deployment_that_serves() {
    let observed = observed(
        vec![revision("new", 1)],
        vec![replica(true, running(), Some("sha256:abc"))],
    );
    check("status-serving", &[settled(&observed)]);
}

#[test]
fn a_deployment_that_starts_is_reconciling_and_not_stalled() {
    let status = settled(&observed(vec![revision("new", 0)], vec![]));
    assert_eq!(reason(&status), ("False", "Starting"));
    assert!(has(&status, "Reconciling") && !has(&status, "Stalled"));
    assert_eq!(status.replicas_text.as_deref(), Some("0/1"));
}

#[test]
fn an_old_revision_that_serves_keeps_the_deployment_available_but_not_ready() {
    let observed = observed(vec![revision("old", 1), revision("new", 0)], vec![]);
    let plan = plan("old", Some("new"));
    let status = made(&observed, &plan, 1, &Applied::default());
    assert_eq!(
        told(&status),
        [
            "Ready=False RollingOut: revision new is on trial and revision old serves: 0 of 1 replicas of the canary are ready",
            "Available=True Serving: revision old serves",
            "ModelReady=False Starting: no replica has loaded the model yet",
            "Reconciling=True Progressing: 0 of 1 replicas of revision new are ready",
        ]
    );
    let rollout = status.rollout.unwrap();
    assert_eq!(
        (rollout.stable, rollout.canary),
        ("old".into(), "new".into())
    );
}

#[test]
fn a_new_revision_that_cannot_start_is_told_by_its_cause() {
    let observed = observed(
        vec![revision("old", 1), revision("new", 0)],
        vec![replica(false, ended("CrashLoop: port taken"), None)],
    );
    let plan = plan("old", Some("new"));
    let status = made(&observed, &plan, 1, &Applied::default());
    assert_eq!(reason(&status), ("False", "CrashLoop"));
    assert!(has(&status, "Reconciling"));
}

#[test]
fn a_model_that_is_not_there_stalls() {
    let observed = observed(
        vec![revision("new", 0)],
        vec![replica(
            false,
            ended("ModelNotFound: nothing at /models"),
            None,
        )],
    );
    assert_eq!(
        told(&settled(&observed)),
        [
            "Ready=False ModelNotFound: nothing at /models",
            "Available=False ModelNotFound: nothing at /models",
            "ModelReady=False ModelNotFound: nothing at /models",
            "Stalled=True ModelNotFound: nothing at /models",
        ]
    );
}

#[test]
fn another_digest_than_the_pinned_one_is_told_even_while_replicas_serve() {
    let observed = observed(
        vec![revision("new", 1)],
        vec![replica(true, running(), Some("sha256:def"))],
    );
    let status = settled(&observed);
    assert_eq!(reason(&status), ("False", "DigestMismatch"));
    assert!(has(&status, "Stalled"));
}

#[test]
fn scaling_up_does_not_make_a_deployment_unready() {
    let observed = observed(
        vec![revision("new", 1)],
        vec![replica(true, running(), Some("sha256:abc"))],
    );
    let status = made(&observed, &plan("new", None), 3, &Applied::default());
    assert_eq!(reason(&status), ("True", "Serving"));
    assert!(has(&status, "Reconciling"));
    assert_eq!(status.replicas_text.as_deref(), Some("1/3"));
}

#[test]
fn pods_that_a_quota_refuses_are_told_in_its_words() {
    let mut refused = revision("new", 0);
    refused.refused = Some("exceeded quota: pods=1".into());
    let status = settled(&observed(vec![refused], vec![]));
    assert_eq!(reason(&status), ("False", "ReplicasRefused"));
    assert_eq!(status.conditions[0].message, "exceeded quota: pods=1");
}

#[test]
fn a_name_that_is_taken_stalls_and_is_told() {
    let applied = Applied {
        taken: vec!["Service triage: it was not made by weir".into()],
        ..Applied::default()
    };
    let observed = observed(vec![revision("new", 1)], vec![]);
    let status = made(&observed, &plan("new", None), 1, &applied);
    assert_eq!(reason(&status), ("False", "NameTaken"));
    assert!(has(&status, "Stalled"));
}

#[test]
fn no_replicas_on_purpose_is_ready() {
    let observed = observed(vec![revision("new", 0)], vec![]);
    let status = made(&observed, &plan("new", None), 0, &Applied::default());
    assert_eq!(reason(&status), ("True", "ScaledToZero"));
    assert!(!has(&status, "Reconciling"));
}

#[test]
fn a_refused_spec_tells_every_problem_and_what_still_serves() {
    let mut observed = observed(vec![revision("old", 1)], vec![]);
    observed.deployment.status = Some(SLMDeploymentStatus {
        rollout: Some(RolloutStatus {
            stable: "old".into(),
            ..RolloutStatus::default()
        }),
        desired_replicas: 1,
        ..SLMDeploymentStatus::default()
    });
    let problem = |field: &str| Problem {
        reason: reasons::NOT_IMPLEMENTED,
        field: field.into(),
        message: format!("{field} is not implemented yet"),
    };
    let problems = [problem("spec.cache"), problem("spec.adapters")];
    let status = status(&observed, &Decided::Refused(&problems), now());
    assert_eq!(
        told(&status),
        [
            "Ready=False NotImplemented: spec.cache is not implemented yet; spec.adapters is not implemented yet",
            "Available=True Serving: revision old serves",
            "ModelReady=False Starting: no replica has loaded the model yet",
            "Stalled=True NotImplemented: spec.cache is not implemented yet; spec.adapters is not implemented yet",
        ]
    );
    assert_eq!(status.rollout.unwrap().stable, "old");
}

#[test]
fn a_second_pass_over_the_same_says_the_same() {
    let mut observed = observed(
        vec![revision("new", 1)],
        vec![replica(true, running(), Some("sha256:abc"))],
    );
    let first = settled(&observed);
    observed.deployment.status = Some(first.clone());
    let later = "2026-11-21T07:00:00Z".parse().unwrap();
    let mut plan = plan("new", None);
    plan.since = first.rollout.as_ref().unwrap().since.as_ref().unwrap().0;
    let decided = Decided::Made {
        plan: &plan,
        replicas: 1,
        decisions: None,
        applied: &Applied::default(),
        problems: &[],
    };
    assert_eq!(status(&observed, &decided, later), first);
}

#[test]
fn replicas_that_no_router_reaches_are_available_but_not_ready() {
    let mut observed = observed(
        vec![revision("new", 1)],
        vec![replica(true, running(), Some("sha256:abc"))],
    );
    observed.reach.routers = false;
    let status = settled(&observed);
    assert_eq!(reason(&status), ("False", "RouterUnavailable"));
    assert!(has(&status, "Reconciling") && !has(&status, "Stalled"));
    assert_eq!(status.conditions[1].status, "True");

    observed.reach.taken = vec!["Service weir-router: it was not made by weir".into()];
    let status = settled(&observed);
    assert_eq!(reason(&status), ("False", "NameTaken"));
    assert!(has(&status, "Stalled"));
}

#[test]
fn what_replicas_reported_holds_until_they_report_again() {
    for digest in ["sha256:abc", "sha256:def"] {
        let mut observed = observed(
            vec![revision("new", 1)],
            vec![replica(true, running(), Some(digest))],
        );
        let first = settled(&observed);
        observed.deployment.status = Some(first.clone());
        observed.replicas[0].load = None;
        assert_eq!(settled(&observed), first);

        observed.deployment.metadata.generation = Some(3);
        let next = told(&settled(&observed));
        assert!(
            next.iter()
                .any(|c| c.starts_with("ModelReady=False Starting"))
        );
    }
}

#[test]
fn capacity_keeps_the_time_of_its_measurement_until_it_is_another() {
    let mut seen = observed(
        vec![revision("new", 1)],
        vec![replica(true, running(), Some("sha256:abc"))],
    );
    let plan = plan("new", None);
    let applied = Applied::default();
    let capacity = |seen: &Observed, now: &str| {
        let decided = Decided::Made {
            plan: &plan,
            replicas: 1,
            decisions: None,
            applied: &applied,
            problems: &[],
        };
        status(seen, &decided, now.parse().unwrap())
            .capacity
            .unwrap()
    };
    let first = capacity(&seen, NOW);
    assert_eq!((first.concurrency, first.tokens_per_second), (16, 900));
    seen.deployment.status = Some(SLMDeploymentStatus {
        capacity: Some(first.clone()),
        ..Default::default()
    });
    assert_eq!(capacity(&seen, "2026-11-21T07:00:00Z"), first);
    let again = seen.replicas[0].load.as_mut().unwrap();
    again.capacity = Some(Capacity {
        sequences: 8,
        tokens_per_second: 500,
    });
    let later = capacity(&seen, "2026-11-21T07:00:00Z");
    assert_eq!(later.concurrency, 8);
    assert_ne!(later.measured_at, first.measured_at);
}
