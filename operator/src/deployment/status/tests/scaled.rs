//! What a status says of a deployment that is scaled by demand: to zero, from there and in between.

use super::*;

fn scaled(observed: &Observed, replicas: u32) -> SLMDeploymentStatus {
    let decision = ScalingDecision {
        from: 1,
        to: replicas,
        reason: "Demand".into(),
        message: "2 held over 8 x 0.8".into(),
        ..ScalingDecision::default()
    };
    let mut plan = plan("new", None);
    plan.shares.stable = replicas;
    let decided = Decided::Made {
        plan: &plan,
        replicas,
        decisions: Some(&[decision]),
        applied: &Applied::default(),
        problems: &[],
    };
    status(observed, &decided, now())
}

fn ready(status: &SLMDeploymentStatus) -> String {
    let found = told(status);
    let ready = found.iter().find(|said| said.starts_with("Ready="));
    ready.cloned().unwrap_or_default()
}

#[test]
fn zero_is_ready_and_the_way_back_is_too_until_something_is_wrong() {
    let mut seen = observed(vec![revision("new", 0)], vec![]);
    seen.deployment.spec.scaling.min = 0;
    let at_zero = scaled(&seen, 0);
    assert_eq!(
        ready(&at_zero),
        "Ready=True ScaledToZero: nobody asks: the next ask starts a replica and waits for it"
    );
    let decisions = at_zero.scaling.as_ref().unwrap().decisions.clone();
    assert_eq!((decisions[0].from, decisions[0].to), (1, 0));
    assert_eq!(at_zero.replicas_text.as_deref(), Some("0/0"));

    seen.deployment.status = Some(at_zero);
    seen.replicas = vec![replica(false, json!({}), None)];
    let coming = scaled(&seen, 1);
    assert!(ready(&coming).starts_with("Ready=True Starting: 0 of 1"));
    assert!(!has(&coming, "Reconciling"));

    seen.deployment.status = Some(coming);
    let waiting = json!({ "containerStatuses": [{
        "name": "worker", "state": { "waiting": { "reason": "ErrImagePull", "message": "no such image" } },
    }] });
    seen.replicas = vec![replica(false, waiting, None)];
    assert!(ready(&scaled(&seen, 1)).starts_with("Ready=False ImagePullFailed"));
}

#[test]
fn a_deployment_that_never_served_is_not_ready_while_its_first_replica_starts() {
    let seen = observed(
        vec![revision("new", 0)],
        vec![replica(false, json!({}), None)],
    );
    assert!(ready(&scaled(&seen, 1)).starts_with("Ready=False Starting"));
}

#[test]
fn more_replicas_that_start_take_nothing_from_being_ready() {
    let serving = vec![replica(true, running(), Some("sha256:abc"))];
    let mut seen = observed(vec![revision("new", 1)], serving);
    let status = scaled(&seen, 3);
    assert!(ready(&status).starts_with("Ready=True Serving: 1 of 3"));
    assert_eq!(status.replicas_text.as_deref(), Some("1/3"));
    // Nobody changed anything, and whoever waits for a change has nothing to wait for.
    assert!(!has(&status, "Reconciling"));

    seen.deployment.spec.scaling.min = 2;
    assert!(has(&scaled(&seen, 3), "Reconciling"));
}
