//! Policies with their statuses, one for each state that a policy may be in: the end-to-end tests have Flux's and
//! Argo CD's own health code read them.

use super::*;
use crate::expected::check_statuses;

fn object(name: &str, observed: &Observed) -> RoutePolicy {
    let mut policy = observed.policies[0].clone();
    policy.status = Some(status_of(observed));
    policy.metadata.name = Some(name.into());
    policy
}

#[test]
fn every_state_of_a_policy_is_written_down_for_those_who_judge_its_health() {
    let followed = || vec![router(2, false)];
    let valid = policy(2, "1m");
    let mut asleep = observed(&valid, 0, followed());
    asleep.policies[0].spec.tiers.truncate(1);
    let out = asleep.clone();
    sleep(&mut asleep);
    let half = vec![router(2, false), router(1, false)];
    check_statuses(
        "health-policies",
        &[
            object("serving", &observed(&valid, 1, followed())),
            object("without-router", &observed(&valid, 1, vec![])),
            object("followed-by-one", &observed(&valid, 1, half)),
            object("key-missing", &observed(&valid, 1, vec![router(2, true)])),
            object("tier-at-zero", &asleep),
            object("no-tier-answers", &out),
            object("refused", &observed(&policy(2, "soon"), 1, followed())),
        ],
    );
}
