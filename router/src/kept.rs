//! The decisions that this router can still be asked about: those that are worked on, and the last ones,
//! bounded by how many they are and by their memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::decision::Decision;
use crate::feedback::{Label, MOST_LABELS};
use crate::record::{Record, line};

const MOST_RECORDS: usize = 10_000;
const MOST_BYTES: usize = 32 << 20;
/// What one takes beside its JSON.
const OVERHEAD_BYTES: usize = 512;

/// Decisions by their id.
pub(crate) struct Kept {
    most_records: usize,
    most_bytes: usize,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    running: HashMap<String, Weak<Decision>>,
    settled: HashMap<String, Settled>,
    /// The oldest first.
    order: VecDeque<String>,
    bytes: usize,
}

/// A decision that is over.
struct Settled {
    json: Arc<str>,
    policy: String,
    tenant: String,
    is_private: bool,
    labels: Vec<Label>,
}

impl Settled {
    fn bytes(&self) -> usize {
        let labels: usize = self.labels.iter().map(Label::bytes).sum();
        OVERHEAD_BYTES + self.json.len() + labels
    }
}

/// What became of a label.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Labelled {
    /// It is with the record, which is still to be written.
    WhileRunning,
    /// The record is over, and has gone wherever it goes.
    Afterwards { is_private: bool },
    /// There are as many as there may be.
    Full,
}

impl Default for Kept {
    fn default() -> Self {
        Self::of(MOST_RECORDS, MOST_BYTES)
    }
}

impl Kept {
    fn of(most_records: usize, most_bytes: usize) -> Self {
        Self {
            most_records,
            most_bytes,
            shelf: Mutex::default(),
        }
    }

    pub fn begin(&self, decision: &Arc<Decision>) {
        let weak = Arc::downgrade(decision);
        self.shelf().running.insert(decision.id.clone(), weak);
    }

    /// The decision is over, and this is its record, which is kept if it had a route. Gives the labels that came before.
    pub fn settle(&self, decision: &Decision, record: &Record, json: Arc<str>) -> Vec<Label> {
        let mut shelf = self.shelf();
        shelf.running.remove(&record.id);
        let state = decision.state();
        let labels = state.labels.clone();
        // Whoever has no key could push out what others may ask about.
        if !state.has_route {
            return labels;
        }
        drop(state);
        let settled = Settled {
            json,
            policy: record.policy.clone(),
            tenant: record.tenant.clone(),
            is_private: record.stays_inside,
            labels: labels.clone(),
        };
        shelf.bytes += settled.bytes();
        shelf.order.push_back(record.id.clone());
        shelf.settled.insert(record.id.clone(), settled);
        self.trim(&mut shelf);
        labels
    }

    /// The record of `id` as JSON, for whoever is one of `tenants`; a record without a tenant is for
    /// everybody.
    pub fn json(&self, id: &str, tenants: &[String]) -> Option<String> {
        let shelf = self.shelf();
        if let Some(settled) = shelf.settled.get(id) {
            let labels = serde_json::to_string(&settled.labels).unwrap_or_default();
            return is_for(&settled.tenant, tenants)
                .then(|| line(&settled.json, &[("labels", labels)]));
        }
        let decision = shelf.running.get(id)?.upgrade()?;
        drop(shelf);
        let record = decision.record(false);
        let labels = serde_json::to_string(&decision.state().labels).unwrap_or_default();
        is_for(&record.tenant, tenants).then(|| line(&record.json(), &[("labels", labels)]))
    }

    /// The policy that decided on `id`, for the same tenants.
    pub fn policy(&self, id: &str, tenants: &[String]) -> Option<String> {
        let shelf = self.shelf();
        if let Some(settled) = shelf.settled.get(id) {
            return is_for(&settled.tenant, tenants).then(|| settled.policy.clone());
        }
        let decision = shelf.running.get(id)?.upgrade()?;
        drop(shelf);
        let state = decision.state();
        is_for(&state.tenant, tenants).then(|| state.policy.clone())
    }

    /// Puts a label to the decision; nothing where there is none any more.
    pub fn label(&self, id: &str, label: Label) -> Option<Labelled> {
        let mut shelf = self.shelf();
        if let Some(settled) = shelf.settled.get_mut(id) {
            if settled.labels.len() >= MOST_LABELS {
                return Some(Labelled::Full);
            }
            let bytes = label.bytes();
            settled.labels.push(label);
            let is_private = settled.is_private;
            shelf.bytes += bytes;
            self.trim(&mut shelf);
            return Some(Labelled::Afterwards { is_private });
        }
        let decision = shelf.running.get(id)?.upgrade()?;
        // Under the lock, so that it is not settled meanwhile without the label.
        let mut state = decision.state();
        if state.labels.len() >= MOST_LABELS {
            return Some(Labelled::Full);
        }
        state.labels.push(label);
        Some(Labelled::WhileRunning)
    }

    fn trim(&self, shelf: &mut Shelf) {
        while shelf.order.len() > self.most_records || shelf.bytes > self.most_bytes {
            let Some(oldest) = shelf.order.pop_front() else {
                return;
            };
            if let Some(settled) = shelf.settled.remove(&oldest) {
                shelf.bytes -= settled.bytes();
            }
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_for(tenant: &str, tenants: &[String]) -> bool {
    tenant.is_empty() || tenants.iter().any(|own| own == tenant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    use jiff::Timestamp;
    use serde_json::Value;

    fn label(verdict: &'static str) -> Label {
        Label {
            time: Timestamp::UNIX_EPOCH,
            verdict,
            score: None,
            comment: None,
        }
    }

    fn begin(kept: &Kept, id: &str, tenant: &str) -> Arc<Decision> {
        let decision = Decision::new(id.into(), Instant::now(), Timestamp::UNIX_EPOCH);
        {
            let mut state = decision.state();
            (state.tenant, state.has_route) = (tenant.to_owned(), true);
        }
        let decision = Arc::new(decision);
        kept.begin(&decision);
        decision
    }

    fn settle(kept: &Kept, decision: &Decision) -> Vec<Label> {
        let record = decision.record(true);
        kept.settle(decision, &record, record.json().into())
    }

    fn outcome(kept: &Kept, id: &str, tenants: &[&str]) -> Option<String> {
        let tenants: Vec<String> = tenants.iter().map(|tenant| (*tenant).to_owned()).collect();
        let json: Value = serde_json::from_str(&kept.json(id, &tenants)?).unwrap();
        Some(json["outcome"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_decision_is_told_to_its_tenant_only_while_it_runs_and_afterwards() {
        let kept = Kept::default();
        let decision = begin(&kept, "a", "t");
        assert_eq!(outcome(&kept, "a", &["s", "t"]).unwrap(), "running");
        assert_eq!(outcome(&kept, "a", &["s"]), None);
        settle(&kept, &decision);
        assert_eq!(outcome(&kept, "a", &["t"]).unwrap(), "broken");
        assert_eq!(outcome(&kept, "a", &[]), None);
        let open = begin(&kept, "b", "");
        assert_eq!(outcome(&kept, "b", &[]).unwrap(), "running");
        drop(open);
        assert_eq!(outcome(&kept, "b", &[]), None, "nobody works on it");
    }

    #[test]
    fn the_oldest_make_room_by_number_and_by_memory() {
        let few = Kept::of(2, usize::MAX);
        let small = Kept::of(usize::MAX, 4 * OVERHEAD_BYTES);
        for kept in [few, small] {
            for id in ["a", "b", "c", "d"] {
                let decision = begin(&kept, id, "");
                settle(&kept, &decision);
            }
            assert_eq!(outcome(&kept, "a", &[]), None);
            assert_eq!(outcome(&kept, "d", &[]).unwrap(), "broken");
            let shelf = kept.shelf();
            let bytes: usize = shelf.settled.values().map(Settled::bytes).sum();
            assert_eq!(
                (shelf.bytes, shelf.settled.len()),
                (bytes, shelf.order.len())
            );
        }
    }

    #[test]
    fn a_label_on_what_must_stay_in_the_cluster_must_stay_too() {
        let kept = Kept::default();
        for (is_private, redacted) in [(true, None), (false, Some(0)), (false, None)] {
            let decision = begin(&kept, "a", "");
            {
                let mut state = decision.state();
                (state.is_private, state.redacted) = (is_private, redacted);
            }
            settle(&kept, &decision);
            let is_private = is_private || redacted.is_some();
            let labelled = kept.label("a", label("bad"));
            assert_eq!(labelled, Some(Labelled::Afterwards { is_private }));
        }
    }

    #[test]
    fn what_came_to_no_route_takes_no_room() {
        let kept = Kept::of(1, usize::MAX);
        let decision = begin(&kept, "a", "");
        settle(&kept, &decision);
        let lost = begin(&kept, "b", "");
        lost.state().has_route = false;
        settle(&kept, &lost);
        assert_eq!(outcome(&kept, "a", &[]).unwrap(), "broken");
        assert_eq!(outcome(&kept, "b", &[]), None);
    }

    #[test]
    fn labels_stay_with_a_decision_from_its_beginning_and_are_bounded() {
        let kept = Kept::default();
        let decision = begin(&kept, "a", "");
        assert_eq!(kept.label("a", label("good")), Some(Labelled::WhileRunning));
        assert_eq!(settle(&kept, &decision), [label("good")]);
        for _ in 1..MOST_LABELS {
            let after = Labelled::Afterwards { is_private: false };
            assert_eq!(kept.label("a", label("bad")), Some(after));
        }
        assert_eq!(kept.label("a", label("bad")), Some(Labelled::Full));
        assert_eq!(kept.label("b", label("bad")), None);
        let json: Value = serde_json::from_str(&kept.json("a", &[]).unwrap()).unwrap();
        assert_eq!(json["labels"].as_array().unwrap().len(), MOST_LABELS);
        assert_eq!(json["labels"][0]["verdict"], "good");
    }
}
