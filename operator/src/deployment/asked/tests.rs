//! Which revision is asked for, one story each. A revision is named here as what makes it: the spec, the image and
//! how the operator writes pods.

use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use weir_policy::rollout::reason::Why;
use weir_policy::rollout::state::{Refused, Trial};

use super::*;

fn began(image: &str) -> Began {
    Began {
        image: image.into(),
        ..Began::default()
    }
}

/// One of this spec and image, written by an operator of this version.
fn revision(spec: &str, image: &str, version: u32) -> Revision {
    Revision {
        name: name(spec, image, version),
        created: Timestamp::UNIX_EPOCH,
        stable: false,
        spec: Some(spec.into()),
        began: began(image),
        wanted: 2,
        replicas: 2,
        ready: 2,
        refused: None,
        pins: None,
    }
}

fn name(spec: &str, image: &str, version: u32) -> String {
    format!("{spec}/{image}/{version}")
}

fn serves(spec: &str, image: &str, version: u32) -> State {
    State {
        stable: name(spec, image, version),
        has_served: true,
        ..State::default()
    }
}

fn refused(state: State, spec: &str, image: &str, version: u32) -> State {
    State {
        refused: Some(Refused {
            revision: name(spec, image, version),
            spec: spec.into(),
            why: Why::Ordered,
        }),
        ..state
    }
}

/// What an operator of this image and version finds for this spec.
fn found(
    (spec, image, version): (&str, &str, u32),
    there: &[Revision],
    state: &State,
    may_upgrade: bool,
) -> Asked {
    let of = |began: &Began| {
        let log = began.log_level.as_deref().unwrap_or_default();
        format!("{}{log}", name(spec, &began.image, version))
    };
    let forms = Forms {
        spec,
        now: began(image),
        revision: &of,
    };
    asked(there, state, &forms, || may_upgrade)
}

#[test]
fn another_spec_is_another_revision_at_once() {
    let there = [revision("a", "1", 1)];
    let found = found(("b", "1", 1), &there, &serves("a", "1", 1), false);
    assert_eq!(found.revision, name("b", "1", 1));
    assert_eq!(
        (found.is_upgrade, found.waits, found.began),
        (false, false, None)
    );
}

#[test]
fn an_older_image_or_form_stays_until_its_turn_comes() {
    for old in [revision("a", "1", 2), revision("a", "2", 1)] {
        let state = State {
            stable: old.name.clone(),
            has_served: true,
            ..State::default()
        };
        let there = [old.clone()];
        let waiting = found(("a", "2", 2), &there, &state, false);
        assert_eq!((waiting.revision, waiting.waits), (old.name.clone(), true));
        let taken = found(("a", "2", 2), &there, &state, true);
        assert_eq!(
            (taken.revision, taken.is_upgrade),
            (name("a", "2", 2), true)
        );
    }
}

#[test]
fn pods_that_would_be_made_as_they_are_are_known_by_what_they_began_with_and_others_are_left_alone()
{
    let exact = found(
        ("a", "2", 1),
        &[revision("a", "1", 1)],
        &serves("a", "1", 1),
        false,
    );
    assert_eq!(exact.began, Some(began("1")));
    let left = found(
        ("a", "2", 2),
        &[revision("a", "1", 1)],
        &serves("a", "1", 1),
        false,
    );
    assert_eq!((left.revision, left.began), (name("a", "1", 1), None));
}

#[test]
fn another_log_level_replaces_nothing() {
    let mut there = revision("a", "1", 1);
    there.began.log_level = Some("debug".into());
    there.name.push_str("debug");
    let state = State {
        stable: there.name.clone(),
        has_served: true,
        ..State::default()
    };
    let found = found(("a", "1", 1), std::slice::from_ref(&there), &state, true);
    assert_eq!((found.revision, found.waits), (there.name, false));
}

#[test]
fn what_is_on_trial_goes_on_though_the_operator_changes_meanwhile() {
    let mut state = serves("a", "1", 1);
    state.trial = Some(Trial {
        revision: name("a", "2", 1),
        ..Trial::default()
    });
    let there = [revision("a", "1", 1), revision("a", "2", 1)];
    for may_upgrade in [false, true] {
        let found = found(("a", "3", 2), &there, &state, may_upgrade);
        assert_eq!(
            (found.revision, found.is_upgrade),
            (name("a", "2", 1), true)
        );
    }
}

#[test]
fn an_upgrade_that_never_got_ready_makes_way_for_what_mends_it() {
    let mut state = serves("a", "1", 1);
    state.trial = Some(Trial {
        revision: name("a", "bad", 1),
        ..Trial::default()
    });
    let mut bad = revision("a", "bad", 1);
    bad.ready = 0;
    let there = [revision("a", "1", 1), bad];
    let mended = found(("a", "2", 1), &there, &state, true);
    assert_eq!(
        (mended.revision, mended.is_upgrade),
        (name("a", "2", 1), true)
    );
    let taken_back = found(("a", "1", 1), &there, &state, true);
    assert_eq!(
        (taken_back.revision, taken_back.is_upgrade, taken_back.waits),
        (name("a", "1", 1), false, false)
    );
}

#[test]
fn what_never_served_waits_for_no_turn() {
    let state = State {
        stable: name("a", "bad", 1),
        ..State::default()
    };
    let mended = found(("a", "2", 1), &[revision("a", "bad", 1)], &state, false);
    assert_eq!((mended.revision, mended.waits), (name("a", "2", 1), false));
}

#[test]
fn what_was_refused_is_not_tried_again_because_the_operator_changes() {
    let state = refused(serves("a", "1", 1), "b", "1", 1);
    let found = found(("b", "2", 2), &[revision("a", "1", 1)], &state, true);
    assert_eq!(found.revision, name("b", "1", 1));
}

#[test]
fn an_upgrade_that_was_refused_is_not_tried_again_but_the_next_one_is() {
    let state = refused(serves("a", "1", 1), "a", "2", 1);
    let there = [revision("a", "1", 1)];
    let same = found(("a", "2", 1), &there, &state, true);
    assert_eq!((same.revision, same.waits), (name("a", "1", 1), false));
    let mended = found(("a", "3", 1), &there, &state, true);
    assert_eq!(mended.revision, name("a", "3", 1));
}

#[test]
fn without_a_state_what_fits_the_spec_is_taken_up() {
    let there = [revision("a", "1", 1), revision("b", "1", 1)];
    let kept = found(("b", "1", 2), &there, &State::default(), true);
    assert_eq!(kept.revision, name("b", "1", 1));
    let none = found(("c", "1", 2), &there, &State::default(), true);
    assert_eq!(none.revision, name("c", "1", 2));
}

fn hash(spec: Value) -> String {
    let spec: SLMDeploymentSpec = serde_json::from_value(spec).unwrap();
    spec_hash(&said(&spec), None)
}

#[test]
fn a_spec_is_known_by_what_it_says_of_its_pods_and_not_by_defaults_that_it_says_too() {
    let least = hash(json!({ "model": { "source": "file:///m" } }));
    let same = hash(json!({
        "model": { "source": "file:///m", "quantization": "Auto" }, "drain": "2m",
        "replicas": 3, "scaling": { "max": 9 }, "price": { "replicaHour": "1" },
        "rollout": { "strategy": "Recreate" }, "resources": { "cpu": "2" },
        "adapters": [{ "name": "a", "source": "s3://a/b" }],
    }));
    assert_eq!(least, same);
    for other in [
        json!({ "model": { "source": "file:///n" } }),
        json!({ "model": { "source": "file:///m" }, "drain": "1m" }),
        json!({ "model": { "source": "file:///m" }, "resources": { "profile": "gpu" } }),
        json!({ "model": { "source": "file:///m" }, "placement": { "podLabels": { "a": "b" } } }),
    ] {
        assert_ne!(hash(other.clone()), least, "{other}");
    }
    // Written down, so that another hash of what is the same is seen before everything rolls.
    assert_eq!(least, "3fa22cd4");
}
