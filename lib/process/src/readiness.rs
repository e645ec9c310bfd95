//! Named gates: a process is ready while every one of them is open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The gates of one process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Mutex<BTreeMap<String, State>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closed { why: String },
}

/// One condition for being ready. Clones are the same gate; a dropped gate stays as it was left.
#[derive(Clone, Debug)]
pub struct Gate {
    name: String,
    readiness: Readiness,
}

impl Readiness {
    /// A gate that is closed until it is opened. Asked for twice, a name gives the same gate.
    pub fn gate(&self, name: &str) -> Gate {
        self.lock()
            .entry(name.to_owned())
            .or_insert_with(|| State::Closed {
                why: "starting".to_owned(),
            });
        Gate {
            name: name.to_owned(),
            readiness: self.clone(),
        }
    }

    /// The closed gates, each as `name: why`; empty means ready.
    pub fn closed(&self) -> Vec<String> {
        self.lock()
            .iter()
            .filter_map(|(name, state)| match state {
                State::Open => None,
                State::Closed { why } => Some(format!("{name}: {why}")),
            })
            .collect()
    }

    /// Whether every gate is open.
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(|state| *state == State::Open)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// From now on this gate does not stand in the way.
    pub fn open(&self) {
        self.set(State::Open);
    }

    /// From now on the process is not ready, and says `why`.
    pub fn close(&self, why: impl Into<String>) {
        self.set(State::Closed { why: why.into() });
    }

    fn set(&self, state: State) {
        let mut gates = self.readiness.lock();
        if gates.get(&self.name) != Some(&state) {
            tracing::info!(gate = self.name, state = ?state, "readiness");
            gates.insert(self.name.clone(), state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_only_while_every_gate_is_open() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready(), "a process without gates is ready");
        let model = readiness.gate("model");
        let leader = readiness.gate("leader");
        leader.open();
        assert_eq!(readiness.closed(), ["model: starting"]);
        model.open();
        assert!(readiness.is_ready());
        leader.close("lease lost");
        assert_eq!(readiness.closed(), ["leader: lease lost"]);
    }

    #[test]
    fn a_gate_asked_for_again_keeps_its_state() {
        let readiness = Readiness::default();
        readiness.gate("model").open();
        readiness.gate("model");
        assert!(readiness.is_ready());
    }
}
