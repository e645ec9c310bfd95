//! What adapters take, held against what they may: also those that are off the list and still in use.

use std::sync::{Arc, Weak};

#[derive(Debug)]
pub(super) struct Ledger<T> {
    most_bytes: u64,
    /// Those that were loaded and may still live, and what they take.
    held: Vec<(Weak<T>, u64)>,
}

impl<T> Ledger<T> {
    pub(super) fn new(most_bytes: u64) -> Self {
        Self {
            most_bytes,
            held: Vec::new(),
        }
    }

    /// What is left for another.
    pub(super) fn left(&mut self) -> u64 {
        self.held.retain(|(held, _)| held.strong_count() > 0);
        let taken: u64 = self.held.iter().map(|(_, bytes)| bytes).sum();
        self.most_bytes.saturating_sub(taken)
    }

    pub(super) fn hold(&mut self, held: &Arc<T>, bytes: u64) {
        self.held.push((Arc::downgrade(held), bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_by_the_last_that_uses_it() {
        let mut ledger = Ledger::new(100);
        let (first, second) = (Arc::new("one"), Arc::new("two"));
        ledger.hold(&first, 30);
        ledger.hold(&second, 60);
        assert_eq!(ledger.left(), 10);
        let in_use = first.clone();
        drop(first);
        assert_eq!(ledger.left(), 10, "an answer is written with it");
        drop(in_use);
        assert_eq!(ledger.left(), 40);
        ledger.hold(&second, 80);
        assert_eq!(ledger.left(), 0);
    }
}
