//! Which revision serves, which one is on trial and which ones may go.
//!
//! The stable revision serves until the one that is wanted has all its replicas ready; then that
//! one is stable, and the old one goes a little later. Nothing that serves goes before its
//! successor serves. However long that takes, what serves has as many replicas as are asked for.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::began::Began;
use crate::settings::RETIRE_AFTER;

/// A revision that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    pub name: String,
    pub created: Timestamp,
    /// Whether its Deployment is labelled as the one that serves.
    pub stable: bool,
    /// What it took over from the operator's settings when it began.
    pub began: Began,
    /// How many replicas were asked for.
    pub wanted: u32,
    /// How many exist.
    pub replicas: u32,
    /// How many of them are ready.
    pub ready: u32,
    /// What a quota or a webhook said when pods were refused.
    pub refused: Option<String>,
    /// What its first ready replica found.
    pub pins: Option<Pins>,
}

/// What a revision's first ready replica found at the source, and later ones have to find too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    /// Over all files that were read.
    pub digest: String,
    /// What the source resolved to, where it has revisions or the like.
    pub resolved: Option<String>,
}

/// What is to become of the revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The revision of the spec as it is now.
    pub wanted: String,
    pub stable: String,
    /// The revision that is wanted, while it is not the stable one.
    pub canary: Option<String>,
    /// How many replicas the stable revision is to have, where it has another count and no objects
    /// of its own are wanted, because the spec speaks of the canary.
    pub resize_stable: Option<u32>,
    pub since: Timestamp,
    /// These may go now.
    pub retire: Vec<String>,
    /// These may go when `again` has passed.
    pub leaving: Vec<String>,
    pub again: Option<Duration>,
}

/// What the rollout was, by the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    pub stable: String,
    pub canary: String,
    pub since: Option<Timestamp>,
}

/// What to do with `revisions` so that `wanted` comes to serve alone with `replicas`.
pub fn plan(
    revisions: &[Revision],
    wanted: &str,
    replicas: u32,
    before: &Before,
    now: Timestamp,
) -> Plan {
    let stable_before = stable_before(revisions, wanted);
    let promoted = revisions
        .iter()
        .any(|revision| revision.name == wanted && serves_in_full(revision, replicas));
    let stable = match stable_before {
        Some(stable) if !promoted => stable.name.clone(),
        _ => wanted.to_owned(),
    };
    let canary = (stable != wanted).then(|| wanted.to_owned());
    let resize_stable = stable_before
        .filter(|serving| canary.is_some() && serving.wanted != replicas)
        .map(|_| replicas);
    let unchanged = before.stable == stable && before.canary == canary.clone().unwrap_or_default();
    let since = before.since.filter(|_| unchanged).unwrap_or(now);
    let others: Vec<String> = revisions
        .iter()
        .map(|revision| &revision.name)
        .filter(|name| **name != wanted && **name != stable)
        .cloned()
        .collect();
    let again = wait_until(since, now).filter(|_| !others.is_empty());
    let (retire, leaving) = match again {
        Some(_) => (Vec::new(), others),
        None => (others, Vec::new()),
    };
    Plan {
        wanted: wanted.to_owned(),
        stable,
        canary,
        resize_stable,
        since,
        retire,
        leaving,
        again,
    }
}

/// Of several that are labelled stable, between two steps of a switch, the one that is wanted
/// serves already; else the youngest. Where somebody took the label away, what serves most.
fn stable_before<'a>(revisions: &'a [Revision], wanted: &str) -> Option<&'a Revision> {
    let stable = || revisions.iter().filter(|revision| revision.stable);
    stable()
        .find(|revision| revision.name == wanted)
        .or_else(|| stable().max_by_key(|revision| revision.created))
        .or_else(|| {
            revisions
                .iter()
                .max_by_key(|revision| (revision.ready, std::cmp::Reverse(revision.created)))
        })
}

fn serves_in_full(revision: &Revision, replicas: u32) -> bool {
    revision.wanted == replicas && revision.ready >= replicas
}

fn wait_until(since: Timestamp, now: Timestamp) -> Option<Duration> {
    let passed = now.duration_since(since);
    let grace = SignedDuration::try_from(RETIRE_AFTER).unwrap_or(SignedDuration::ZERO);
    Duration::try_from(grace - passed)
        .ok()
        .filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(name: &str, stable: bool, ready: u32) -> Revision {
        Revision {
            name: name.into(),
            created: at(0),
            stable,
            began: Began::default(),
            wanted: 2,
            replicas: 2,
            ready,
            refused: None,
            pins: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn before(stable: &str, canary: &str, since: i64) -> Before {
        Before {
            stable: stable.into(),
            canary: canary.into(),
            since: Some(at(since)),
        }
    }

    #[test]
    fn the_first_revision_is_stable_from_the_start() {
        let plan = plan(&[], "new", 2, &Before::default(), at(5));
        assert_eq!((plan.stable.as_str(), plan.canary), ("new", None));
        assert_eq!(plan.since, at(5));
    }

    #[test]
    fn the_old_revision_serves_until_every_new_replica_is_ready() {
        let revisions = [revision("old", true, 2), revision("new", false, 1)];
        let plan = plan(&revisions, "new", 2, &before("old", "", 0), at(100));
        assert_eq!(
            (plan.stable.as_str(), plan.canary.as_deref()),
            ("old", Some("new"))
        );
        assert_eq!((plan.retire, plan.leaving), (vec![], vec![]));
    }

    #[test]
    fn the_old_revision_goes_only_after_the_switch_has_been_seen() {
        let revisions = [revision("old", true, 2), revision("new", false, 2)];
        let switched = plan(&revisions, "new", 2, &before("old", "new", 0), at(100));
        assert_eq!((switched.stable.as_str(), switched.canary), ("new", None));
        assert_eq!(switched.leaving, ["old"]);
        assert_eq!(switched.again, Some(RETIRE_AFTER));

        let revisions = [revision("old", true, 2), revision("new", true, 2)];
        let later = plan(&revisions, "new", 2, &before("new", "", 100), at(110));
        assert_eq!(later.retire, ["old"]);
        assert_eq!(later.again, None);
    }

    #[test]
    fn a_change_taken_back_removes_the_canary_and_keeps_what_serves() {
        let revisions = [revision("old", true, 2), revision("new", false, 0)];
        let plan = plan(&revisions, "old", 2, &before("old", "new", 0), at(100));
        assert_eq!(plan.stable, "old");
        assert_eq!(plan.leaving, ["new"]);
    }

    #[test]
    fn a_second_change_replaces_a_canary_and_not_what_serves() {
        let revisions = [revision("old", true, 2), revision("new", false, 0)];
        let plan = plan(&revisions, "newer", 2, &before("old", "newer", 0), at(100));
        assert_eq!(
            (plan.stable.as_str(), plan.canary.as_deref()),
            ("old", Some("newer"))
        );
        assert_eq!(plan.retire, ["new"]);
    }

    #[test]
    fn a_replica_that_is_lost_later_changes_nothing() {
        let plan = plan(
            &[revision("old", true, 0)],
            "old",
            2,
            &before("old", "", 7),
            at(100),
        );
        assert_eq!((plan.stable.as_str(), plan.since), ("old", at(7)));
    }

    #[test]
    fn scaling_up_together_with_a_change_waits_for_the_new_count() {
        let mut new = revision("new", false, 2);
        new.wanted = 2;
        let plan = plan(
            &[revision("old", true, 2), new],
            "new",
            3,
            &before("old", "new", 0),
            at(100),
        );
        assert_eq!(plan.stable, "old");
    }

    #[test]
    fn scaling_reaches_what_serves_while_a_canary_does_not_become_ready() {
        let before = before("old", "new", 0);
        let resized = |replicas| {
            let revisions = [revision("old", true, 2), revision("new", false, 0)];
            plan(&revisions, "new", replicas, &before, at(100)).resize_stable
        };
        assert_eq!(resized(5), Some(5));
        assert_eq!(resized(1), Some(1));
        assert_eq!(resized(2), None, "an unchanged world is sent nothing");
        let alone = [revision("old", true, 2)];
        let plan = plan(&alone, "old", 5, &Before::default(), at(100));
        assert_eq!(plan.resize_stable, None, "its objects say so themselves");
    }

    #[test]
    fn a_lost_label_does_not_take_away_what_serves() {
        let revisions = [revision("old", false, 2), revision("new", false, 0)];
        let plan = plan(&revisions, "new", 2, &before("old", "new", 0), at(100));
        assert_eq!(plan.stable, "old");
    }

    #[test]
    fn with_no_replicas_a_change_is_taken_up_at_once() {
        let mut old = revision("old", true, 0);
        old.wanted = 0;
        let mut new = revision("new", false, 0);
        new.wanted = 0;
        let plan = plan(&[old, new], "new", 0, &before("old", "new", 0), at(100));
        assert_eq!(plan.stable, "new");
    }
}
