//! What a status says while a canary is on trial, and after it.

use super::*;
use crate::condition;
use weir_policy::rollout::guard::{Failure, Signal};
use weir_policy::rollout::reason::Why;

fn failure() -> Failure {
    Failure {
        signal: Signal::Errors,
        canary: 0.2,
        stable: 0.01,
        of: 100,
        cut: None,
    }
}

/// What is told where `old` serves, and `new` has so many replicas that are ready.
fn told_of(plan: &Plan, ready: u32) -> (SLMDeploymentStatus, Vec<String>) {
    let mut revisions = vec![revision("old", 1)];
    if plan.canary.is_some() {
        revisions.push(revision("new", ready));
    }
    let status = made(&observed(revisions, vec![]), plan, 1, &Applied::default());
    let conditions = told(&status);
    (status, conditions)
}

#[test]
fn a_canary_that_holds_its_guard_is_healthy_and_the_deployment_available() {
    let mut plan = plan("old", Some("new"));
    plan.weight = 25;
    plan.step = 1;
    plan.said = "step 2 of 3".into();
    plan.health = Some((
        true,
        reasons::ROLLING_OUT,
        "failed attempts 1.0 % and 1.1 %".into(),
    ));
    let (status, said) = told_of(&plan, 1);
    assert_eq!(
        said,
        [
            "Ready=False RollingOut: revision new is on trial and revision old serves: step 2 of 3",
            "Available=True Serving: revision old, new serves",
            "ModelReady=False Starting: no replica has loaded the model yet",
            "CanaryHealthy=True RollingOut: failed attempts 1.0 % and 1.1 %",
            "Reconciling=True Progressing: 1 of 1 replicas of revision new are ready",
        ]
    );
    let rollout = status.rollout.unwrap();
    assert_eq!((rollout.weight, rollout.step), (25, 1));
}

#[test]
fn a_canary_that_was_rolled_back_stalls_with_both_numbers_while_the_old_one_serves() {
    let mut plan = plan("old", None);
    plan.reason = Reason::RolledBack(Why::Failed(failure()));
    plan.said = plan.reason.to_string();
    plan.health = Some((false, reasons::CANARY_FAILED, plan.said.clone()));
    let (status, said) = told_of(&plan, 0);
    let why = "20.0 % of the canary's attempts failed and 1.0 % of the stable revision's; it was rolled back";
    assert_eq!(
        said,
        [
            &format!("Ready=False CanaryFailed: revision new: {why}; revision old serves"),
            "Available=True Serving: revision old serves",
            "ModelReady=False Starting: no replica has loaded the model yet",
            &format!("CanaryHealthy=False CanaryFailed: {why}"),
            &format!("Stalled=True CanaryFailed: revision new: {why}; revision old serves"),
        ]
    );
    let event = condition::event(&[], &status.conditions).unwrap();
    assert_eq!(
        (event.reason.as_str(), event.note.unwrap().contains(why)),
        ("CanaryFailed", true)
    );
    assert_eq!(status.rollout.unwrap().canary, "");
}

#[test]
fn a_trial_that_waits_for_asks_without_a_replica_is_at_zero_and_keeps_nobody_waiting() {
    let mut plan = plan("old", Some("new"));
    plan.reason = Reason::Asleep;
    plan.shares = Shares::default();
    plan.said = plan.reason.to_string();
    let revisions = vec![revision("old", 0), revision("new", 0)];
    let status = made(&observed(revisions, vec![]), &plan, 0, &Applied::default());
    assert_eq!(reason(&status), ("True", "ScaledToZero"));
    assert!(status.conditions[0].message.ends_with(&plan.said));
    assert!(!has(&status, "Stalled") && !has(&status, "Reconciling"));
}

#[test]
fn a_canary_that_waits_for_a_person_is_told_whatever_else_keeps_it() {
    let mut plan = plan("old", Some("new"));
    plan.reason = Reason::Paused(failure());
    plan.said = plan.reason.to_string();
    let revisions = vec![revision("old", 1), revision("new", 0)];
    let broken = vec![replica(false, ended("CrashLoop: port taken"), None)];
    let status = made(&observed(revisions, broken), &plan, 1, &Applied::default());
    assert_eq!(reason(&status), ("False", "CanaryFailed"));
    assert!(
        status.conditions[0]
            .message
            .contains("promote@ or rollback@")
    );
    assert!(has(&status, "Stalled") && !has(&status, "Reconciling"));
}
