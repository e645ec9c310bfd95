//! Rollouts as this leader knows them: what becomes of each is decided in the passes over its deployment, by
//! [`weir_policy::rollout::step::advance`].
//!
//! - A pass takes what is known out, and puts it back once what it decided is written. One that fails in between
//!   puts nothing back, and the next one begins from what is written.
//! - So does a new leader: it loses the seconds since the last write, and counts nothing twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use k8s_openapi::jiff::Timestamp;
use weir_policy::load::RevisionLoad;
use weir_policy::rollout::heard::{Heard, News};
use weir_policy::rollout::state::State;

use crate::deployment::kept::{Good, Kept};
use crate::deployment::rollout::Before;

/// A deployment, by namespace and name.
type Of = (String, String);

/// All of them. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Rollouts(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    term: u64,
    known: BTreeMap<Of, Known>,
}

/// What is known of one.
#[derive(Clone, Debug, Default)]
pub struct Known {
    term: u64,
    /// So that a namesake does not inherit it.
    uid: String,
    pub state: State,
    /// As it was written last; nothing where it has to be.
    pub written: Option<State>,
    /// Of the ConfigMap, which it was read from or written to last.
    pub version: Option<String>,
    /// The spec that is kept there.
    pub good: Option<Good>,
    /// Whether the cache has shown that version. It is a little behind what we write.
    is_seen: bool,
    heard: Heard,
    named: Option<Named>,
}

/// The revisions that routers are told of.
#[derive(Clone, Debug)]
struct Named {
    stable: String,
    canary: String,
    since: Timestamp,
}

impl Rollouts {
    /// What is known of the deployment of this UID, of which `kept` was seen last. It is known no more until it is
    /// put back.
    pub fn take(&self, of: &Of, uid: &str, kept: Kept) -> Known {
        let mut all = self.lock();
        let known = all.known.remove(of).filter(|known| known.uid == uid);
        let new = || Known {
            term: all.term,
            uid: uid.to_owned(),
            ..Known::default()
        };
        match known {
            Some(known) => known.meet(kept),
            None => new().begin(kept),
        }
    }

    /// Has it known for the next pass; not what is of an earlier time of leading.
    pub fn put(&self, of: Of, known: Known) {
        let mut all = self.lock();
        if known.term == all.term {
            all.known.insert(of, known);
        }
    }

    pub fn forget(&self, of: &Of) {
        self.lock().known.remove(of);
    }

    /// What was written while somebody else led is not known here.
    pub fn begin_term(&self) {
        let mut all = self.lock();
        all.term += 1;
        all.known.clear();
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0
            .lock()
            .expect("nothing panics while it holds the rollouts")
    }
}

impl Known {
    /// Begins from what is written.
    fn begin(self, kept: Kept) -> Self {
        Self {
            state: kept.state.clone().unwrap_or_default(),
            written: kept.state,
            good: kept.good,
            version: kept.version,
            is_seen: true,
            heard: Heard::default(),
            ..self
        }
    }

    /// Goes on, unless somebody else wrote it since; and where it is gone, it has to be written again.
    fn meet(mut self, kept: Kept) -> Self {
        if self.version == kept.version {
            self.is_seen = true;
        } else if self.is_seen && kept.state.is_some() {
            return self.begin(kept);
        } else if self.is_seen {
            self.written = None;
            self.good = None;
            self.version = kept.version;
        }
        self
    }

    /// What routers counted since the last look: of each the name of its run, and its counts. Between two trials
    /// nothing is heard, so that none has what an earlier one counted.
    pub fn news<'a>(
        &mut self,
        reports: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, RevisionLoad>)>,
    ) -> News {
        if self.state.trial.is_none() {
            self.heard = Heard::default();
        }
        self.heard.news(reports)
    }

    /// Since when routers have been told of these revisions and no others.
    pub fn named_since(&mut self, before: &Before, now: Timestamp) -> Timestamp {
        let same = |named: &&Named| named.stable == before.stable && named.canary == before.canary;
        let since = match (&self.named, before.since) {
            (Some(named), _) if same(&named) => named.since.min(now),
            // A new leader knows it from the status, which is later at most.
            (None, Some(since)) => since.min(now),
            _ => now,
        };
        self.named = Some(Named {
            stable: before.stable.clone(),
            canary: before.canary.clone(),
            since,
        });
        since
    }

    /// It was written just now with this spec, as this version.
    pub fn is_written(&mut self, good: Option<Good>, version: Option<String>) {
        self.written = Some(self.state.clone());
        self.good = good;
        self.version = version;
        self.is_seen = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of() -> Of {
        ("support".into(), "triage".into())
    }

    fn state(stable: &str) -> State {
        State {
            stable: stable.into(),
            ..State::default()
        }
    }

    fn kept(version: &str, stable: &str) -> Kept {
        Kept {
            version: Some(version.into()),
            state: Some(state(stable)),
            good: None,
        }
    }

    /// One that was read as version 1 and then written as version 2.
    fn written(rollouts: &Rollouts) -> Known {
        let mut known = rollouts.take(&of(), "u1", kept("1", "old"));
        assert_eq!(known.state, state("old"));
        known.state = state("new");
        known.is_written(None, Some("2".into()));
        known
    }

    #[test]
    fn what_was_written_goes_on_though_the_cache_is_behind() {
        let rollouts = Rollouts::default();
        let mut known = written(&rollouts);
        for seen in [kept("1", "old"), kept("2", "new")] {
            rollouts.put(of(), known);
            known = rollouts.take(&of(), "u1", seen);
            assert_eq!(
                (known.state.stable.as_str(), &known.written),
                ("new", &Some(state("new")))
            );
        }
    }

    #[test]
    fn what_a_pass_did_not_put_back_begins_from_what_is_written() {
        let rollouts = Rollouts::default();
        drop(written(&rollouts));
        let known = rollouts.take(&of(), "u1", kept("1", "old"));
        assert_eq!(known.state, state("old"));
    }

    #[test]
    fn what_somebody_else_wrote_counts_and_what_is_gone_is_written_again() {
        let rollouts = Rollouts::default();
        rollouts.put(of(), written(&rollouts));
        let seen = rollouts.take(&of(), "u1", kept("2", "new"));
        rollouts.put(of(), seen.clone());
        let theirs = rollouts.take(&of(), "u1", kept("3", "theirs"));
        assert_eq!(theirs.state, state("theirs"));
        rollouts.put(of(), seen);
        let gone = rollouts.take(&of(), "u1", Kept::default());
        assert_eq!(
            (gone.state, gone.written, gone.version),
            (state("new"), None, None)
        );
    }

    #[test]
    fn a_namesake_and_another_time_of_leading_inherit_nothing() {
        let rollouts = Rollouts::default();
        rollouts.put(of(), written(&rollouts));
        let namesake = rollouts.take(&of(), "u2", Kept::default());
        assert_eq!(namesake.state, State::default());
        let late = written(&rollouts);
        rollouts.begin_term();
        rollouts.put(of(), late);
        let known = rollouts.take(&of(), "u1", kept("5", "other"));
        assert_eq!(known.state, state("other"));
    }

    #[test]
    fn routers_are_told_of_a_pair_since_it_is_in_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let before = |canary: &str, since| Before {
            stable: "old".into(),
            canary: canary.into(),
            since: Some(at(since)),
            ..Before::default()
        };
        let mut known = Known::default();
        assert_eq!(known.named_since(&before("new", 5), at(20)), at(5));
        assert_eq!(
            known.named_since(&before("new", 19), at(21)),
            at(5),
            "another weight"
        );
        assert_eq!(known.named_since(&before("", 22), at(23)), at(23));
    }
}
