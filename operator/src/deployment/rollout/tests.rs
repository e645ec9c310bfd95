//! What becomes of revisions by what was decided, one story each.

use serde_json::json;
use weir_policy::rollout::guard::{Failure, Signal};
use weir_policy::rollout::reason::{How, Side, Why};
use weir_policy::rollout::state::Trial;
use weir_policy::rollout::step::Target;

use super::*;

fn revision(name: &str) -> Revision {
    Revision {
        name: name.into(),
        created: at(0),
        stable: false,
        spec: None,
        began: Began::default(),
        wanted: 2,
        replicas: 2,
        ready: 2,
        refused: None,
        pins: None,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn settings() -> Settings {
    Settings::read(&serde_json::from_value(json!({})).unwrap()).unwrap()
}

fn next(stable: &str, canary: Option<&str>, weight: u32, reason: Reason) -> Next {
    Next {
        state: State::default(),
        target: Target {
            stable: stable.into(),
            canary: canary.map(Into::into),
            weight,
            step: 0,
            replicas: Shares {
                stable: 2,
                canary: 1,
            },
        },
        reason,
    }
}

fn before(stable: &str, canary: &str, weight: u32) -> Before {
    Before {
        stable: stable.into(),
        canary: canary.into(),
        weight,
        step: 0,
        since: Some(at(100)),
    }
}

/// What to do where the spec asks for `new` and routers have been told of what they know since 100.
fn planned(next: &Next, there: &[&str], before: &Before, now: i64) -> Plan {
    let revisions: Vec<Revision> = there.iter().map(|name| revision(name)).collect();
    let times = Times {
        now: at(now),
        named: at(100),
    };
    let written = (next, &State::default());
    let asked = Asked {
        revision: "new".into(),
        spec: "spec".into(),
        began: None,
        is_upgrade: false,
        waits: false,
    };
    plan(written, &settings(), (&revisions, &asked), before, times)
}

fn stepping() -> Reason {
    Reason::Stepping {
        step: 0,
        left: Duration::from_secs(17),
    }
}

fn failure() -> Failure {
    Failure {
        signal: Signal::Errors,
        canary: 0.2,
        stable: 0.01,
        of: 100,
        cut: None,
    }
}

#[test]
fn a_canary_is_made_beside_what_serves_and_looked_at_every_second() {
    let next = next("old", Some("new"), 5, stepping());
    let plan = planned(&next, &["old", "new"], &before("old", "new", 5), 150);
    assert!(plan.makes_wanted());
    assert_eq!((plan.replicas_of_wanted(), plan.shares.stable), (1, 2));
    assert_eq!((plan.retire.len(), plan.leaving.len()), (0, 0));
    assert_eq!(plan.again, Some(LOOK_EVERY));
    assert_eq!(plan.since, at(100));
    let weightier = planned(&next, &["old", "new"], &before("old", "new", 0), 150);
    assert_eq!(weightier.since, at(150), "its weight is another");
}

#[test]
fn what_is_neither_goes_when_routers_have_been_told_so_for_a_while() {
    let next = next("new", None, 0, Reason::Promoted(How::Passed));
    let there = ["old", "new"];
    let switched = planned(&next, &there, &before("old", "new", 50), 500);
    assert_eq!(
        (switched.leaving, switched.retire.len()),
        (vec!["old".to_owned()], 0)
    );
    assert_eq!(switched.again, Some(RETIRE_AFTER));
    let soon = planned(&next, &there, &before("new", "", 0), 104);
    assert_eq!(
        (soon.leaving.len(), soon.again),
        (1, Some(Duration::from_secs(6)))
    );
    let later = planned(&next, &there, &before("new", "", 0), 110);
    assert_eq!((later.retire, later.again), (vec!["old".to_owned()], None));
}

#[test]
fn what_is_neither_goes_though_the_weight_changes_all_the_time() {
    let next = next("old", Some("new"), 50, stepping());
    let there = ["old", "new", "older"];
    let plan = planned(&next, &there, &before("old", "new", 33), 200);
    assert_eq!(
        (plan.since, plan.retire),
        (at(200), vec!["older".to_owned()])
    );
}

#[test]
fn of_a_revision_that_was_rolled_back_nothing_is_made_and_both_numbers_are_told() {
    let next = next("old", None, 0, Reason::RolledBack(Why::Failed(failure())));
    let plan = planned(&next, &["old", "new"], &before("old", "new", 5), 150);
    assert!(!plan.makes_wanted());
    assert_eq!(plan.leaving, ["new"]);
    assert_eq!(plan.looked_at(), "old");
    let numbers = "20.0 % of the canary's attempts failed and 1.0 % of the stable revision's";
    let (holds, reason, message) = plan.ended().unwrap();
    assert_eq!((holds, reason), (false, reasons::CANARY_FAILED));
    assert_eq!(
        message,
        format!("revision new: {numbers}; it was rolled back; revision old serves")
    );
    let (holds, reason, message) = plan.health.unwrap();
    assert_eq!((holds, reason), (false, reasons::CANARY_FAILED));
    assert_eq!(message, format!("{numbers}; it was rolled back"));
}

#[test]
fn a_canary_that_waits_for_a_person_stays_and_is_not_looked_at_all_the_time() {
    let next = next("old", Some("new"), 0, Reason::Paused(failure()));
    let plan = planned(&next, &["old", "new"], &before("old", "new", 0), 150);
    assert!(plan.makes_wanted() && plan.ended().is_some());
    assert_eq!((plan.again, plan.looked_at()), (None, "new"));
}

#[test]
fn what_is_said_changes_with_the_step_and_not_with_the_seconds() {
    let said = |reason| {
        let next = next("old", Some("new"), 5, reason);
        let plan = planned(&next, &["old", "new"], &before("old", "new", 5), 150);
        plan.health.unwrap().2
    };
    let step = |left| Reason::Stepping {
        step: 0,
        left: Duration::from_secs(left),
    };
    assert_eq!(said(step(9)), said(step(8)));
    assert_eq!(
        said(step(9)),
        "step 1 of 3, 5 % of the asks: it lasts 5m or longer"
    );
    let of = Side::Canary;
    let few = |asks| Reason::FewAsks {
        of,
        asks,
        needed: 200,
    };
    assert_eq!(said(few(7)), said(few(8)));
    let waits = Reason::NoTraffic {
        of,
        asks: 7,
        needed: 200,
    };
    let expected = "step 1 of 3, 5 % of the asks: the canary has had fewer than 200 asks in 2h and it waits for them: \
                    guard.onNoTraffic";
    assert_eq!(said(waits), expected);
}

#[test]
fn the_health_of_a_canary_has_the_numbers_that_were_written_last() {
    let next = next("old", Some("new"), 5, stepping());
    let mut trial = Trial::default();
    let count = |asks, errors| weir_policy::load::RevisionLoad {
        asks,
        errors,
        ..Default::default()
    };
    let news = weir_policy::rollout::rate::Both {
        stable: count(100, 1),
        canary: count(100, 3),
    };
    let allowed = settings().allowed;
    trial.guard.observe(&allowed, &news, Duration::from_secs(5));
    let written = State {
        trial: Some(trial),
        ..State::default()
    };
    let health = |written: &State| health(&next, written, &settings()).unwrap().2;
    assert!(!health(&State::default()).contains("of the canary and"));
    let numbers = "; of the canary and of the stable revision: failed attempts 3.0 % and 1.0 %";
    assert!(health(&written).ends_with(numbers), "{}", health(&written));
}
