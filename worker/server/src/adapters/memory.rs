//! What adapters take, held against what they may: also those that are off the list and still in use.

use std::sync::{Arc, Weak};

use weir_engine::model::Adapter;

#[derive(Debug)]
pub(super) struct Ledger {
    most_bytes: u64,
    /// Those that were loaded and may still live.
    held: Vec<Weak<Adapter>>,
}

impl Ledger {
    pub(super) fn new(most_bytes: u64) -> Self {
        Self {
            most_bytes,
            held: Vec::new(),
        }
    }

    /// What is left for another.
    pub(super) fn left(&mut self) -> u64 {
        self.held.retain(|adapter| adapter.strong_count() > 0);
        let alive = self.held.iter().filter_map(Weak::upgrade);
        let taken: u64 = alive.map(|adapter| adapter.bytes()).sum();
        self.most_bytes.saturating_sub(taken)
    }

    pub(super) fn hold(&mut self, adapter: &Arc<Adapter>) {
        self.held.push(Arc::downgrade(adapter));
    }
}
