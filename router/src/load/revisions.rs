//! What came of attempts, by the revision of the replica that they were at.
//!
//! Counted once for each attempt, when it is over, and nothing by token. One lock is held for that, and to copy what is
//! told: about a kilobyte for a revision, for whoever asks. Nothing is allocated but for a revision or a bucket
//! that is new.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use weir_policy::load::{RevisionLoad, latency_bucket, score_bucket};

use crate::world::Replicas;

/// A revision without replicas is forgotten after this: whoever looks each second has read its sums by then, and what
/// was in hand at its last replica is over.
const KEPT: Duration = Duration::from_secs(300);

/// How an attempt at a replica ended, as far as that says something of the revision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Ending {
    /// A replica failed it, also where another went on.
    pub has_failed: bool,
    /// From the attempt's begin.
    pub first_token: Option<Duration>,
    pub score: Option<f64>,
    /// Whether it went up a tier; nothing where it was not judged.
    pub is_escalated: Option<bool>,
}

/// By deployment and revision: the sums since this run began.
#[derive(Default)]
pub(super) struct Revisions(Mutex<All>);

type All = BTreeMap<String, BTreeMap<String, Sums>>;

struct Sums {
    load: RevisionLoad,
    /// When it was first seen that the revision has no replicas any more.
    gone_since: Option<Instant>,
}

impl Revisions {
    pub fn count(&self, of: (&str, &str), ending: &Ending) {
        let first_token = ending.first_token.map(latency_bucket);
        let score = ending.score.map(score_bucket);
        let mut all = self.lock();
        let load = entry(&mut all, of);
        load.asks += 1;
        load.errors += u64::from(ending.has_failed);
        load.judged += u64::from(ending.is_escalated.is_some());
        load.escalations += u64::from(ending.is_escalated == Some(true));
        for (bucket, buckets) in [
            (first_token, &mut load.first_token),
            (score, &mut load.scores),
        ] {
            if let Some(bucket) = bucket {
                buckets.count(bucket);
            }
        }
    }

    /// Begins to count for every revision that has replicas, so that the first report of one says nothing came of
    /// it yet; forgets those that have had none for long.
    pub fn follow(&self, replicas: &Replicas, now: Instant) {
        let mut all = self.lock();
        for (deployment, revisions) in replicas {
            for revision in revisions.keys() {
                entry(&mut all, (deployment, revision));
            }
        }
        all.retain(|deployment, revisions| {
            let there = replicas.get(deployment);
            revisions.retain(|revision, sums| {
                sums.gone_since = match there.is_some_and(|there| there.contains_key(revision)) {
                    true => None,
                    // Nobody looked while it was there.
                    false => sums.gone_since.or(Some(now)),
                };
                sums.gone_since.is_none_or(|since| now < since + KEPT)
            });
            !revisions.is_empty()
        });
    }

    pub fn sums(&self) -> BTreeMap<String, BTreeMap<String, RevisionLoad>> {
        let all = self.lock();
        let told = |(revision, sums): (&String, &Sums)| (revision.clone(), sums.load.clone());
        let by_deployment = all.iter().map(|(deployment, revisions)| {
            let revisions = revisions.iter().map(told);
            (deployment.clone(), revisions.collect())
        });
        by_deployment.collect()
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names are copied only where they are new.
fn entry<'a>(all: &'a mut All, (deployment, revision): (&str, &str)) -> &'a mut RevisionLoad {
    let is_known = all
        .get(deployment)
        .is_some_and(|revisions| revisions.contains_key(revision));
    if !is_known {
        let sums = Sums {
            load: RevisionLoad::default(),
            gone_since: None,
        };
        let revisions = all.entry(deployment.to_owned()).or_default();
        revisions.insert(revision.to_owned(), sums);
    }
    let revisions = all.get_mut(deployment);
    let sums = revisions.and_then(|revisions| revisions.get_mut(revision));
    &mut sums.expect("it was there or put there").load
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const OLD: (&str, &str) = ("triage", "old");

    fn replicas(revisions: &[&str]) -> Replicas {
        let none = |revision: &&str| ((*revision).to_owned(), BTreeSet::new());
        [("triage".to_owned(), revisions.iter().map(none).collect())].into()
    }

    fn asks(revisions: &Revisions) -> Vec<(String, u64)> {
        let sums = revisions.sums().remove("triage").unwrap_or_default();
        let sums = sums.into_iter();
        sums.map(|(revision, load)| (revision, load.asks)).collect()
    }

    fn told(all: &[(&str, u64)]) -> Vec<(String, u64)> {
        let all = all.iter();
        all.map(|(revision, asks)| ((*revision).to_owned(), *asks))
            .collect()
    }

    #[test]
    fn each_end_counts_for_what_is_known_of_it() {
        let revisions = Revisions::default();
        revisions.count(OLD, &Ending::default());
        let lost = Ending {
            has_failed: true,
            first_token: Some(Duration::from_millis(30)),
            ..Ending::default()
        };
        revisions.count(OLD, &lost);
        for (score, is_escalated) in [(0.97, false), (0.2, true), (0.3, true)] {
            let judged = Ending {
                first_token: Some(Duration::from_millis(250)),
                score: Some(score),
                is_escalated: Some(is_escalated),
                ..Ending::default()
            };
            revisions.count(OLD, &judged);
        }
        let mut expected = RevisionLoad {
            asks: 5,
            errors: 1,
            judged: 3,
            escalations: 2,
            ..RevisionLoad::default()
        };
        for millis in [30, 250, 250, 250] {
            let time = Duration::from_millis(millis);
            expected.first_token.count(latency_bucket(time));
        }
        for score in [0.2, 0.3, 0.97] {
            expected.scores.count(score_bucket(score));
        }
        assert_eq!(revisions.sums()["triage"]["old"], expected);
    }

    #[test]
    fn a_revision_is_told_from_its_first_replica_on_and_its_sums_stay_while_it_has_one() {
        let (revisions, now) = (Revisions::default(), Instant::now());
        revisions.follow(&replicas(&["old"]), now);
        revisions.count(OLD, &Ending::default());
        revisions.follow(&replicas(&["new", "old"]), now + 10 * KEPT);
        assert_eq!(asks(&revisions), told(&[("new", 0), ("old", 1)]));
        revisions.follow(&replicas(&["new"]), now + 20 * KEPT);
        assert_eq!(asks(&revisions), told(&[("new", 0), ("old", 1)]));
        revisions.follow(&replicas(&["new"]), now + 21 * KEPT);
        assert_eq!(asks(&revisions), told(&[("new", 0)]));
    }

    #[test]
    fn what_ends_at_a_replica_that_is_gone_is_told_for_a_while() {
        let (revisions, now) = (Revisions::default(), Instant::now());
        revisions.follow(&replicas(&["old"]), now);
        // However long nothing had changed.
        let gone = now + 10 * KEPT;
        revisions.follow(&replicas(&[]), gone);
        revisions.count(OLD, &Ending::default());
        revisions.follow(&replicas(&[]), gone + KEPT - Duration::from_secs(1));
        assert_eq!(asks(&revisions), told(&[("old", 1)]));
        revisions.follow(&replicas(&[]), gone + KEPT);
        assert!(
            revisions.sums().is_empty(),
            "no more than were there of late"
        );
        revisions.count(OLD, &Ending::default());
        assert_eq!(asks(&revisions), told(&[("old", 1)]));
    }
}
