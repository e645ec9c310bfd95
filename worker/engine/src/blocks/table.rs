//! The blocks of one sequence in one group, in the order of its tokens.

use std::ops::Range;

use super::{chain::Key, share::Share};

/// In the place of a block that was given back, or that nobody meets.
pub const NOWHERE: u32 = u32::MAX;

#[derive(Debug)]
pub struct Table {
    entries: Vec<u32>,
    /// The first that a later token meets: those before it were given back.
    first: usize,
    /// These stay all the same, because the sequence may go back to meet them.
    kept: Range<usize>,
    held: usize,
    /// The most that it may hold at a time.
    most: usize,
    /// How many of the first were named, or found by their names.
    named: usize,
}

impl Table {
    pub fn new(kept: Range<usize>, most: usize) -> Self {
        Self {
            entries: Vec::new(),
            first: 0,
            kept,
            held: 0,
            most,
            named: 0,
        }
    }

    /// Begins with blocks that were found, which are held from now on. Those before them, `first` in
    /// number, are computed too, and not met.
    pub fn begin(&mut self, first: usize, found: &[u32], share: &mut Share) {
        self.entries = vec![NOWHERE; first];
        self.entries.extend_from_slice(found);
        found.iter().for_each(|block| share.hold(*block));
        self.first = first;
        self.held = found.len();
        self.named = self.entries.len();
    }

    pub fn entries(&self) -> &[u32] {
        &self.entries
    }

    pub fn held(&self) -> usize {
        self.held
    }

    /// Gives back what lies before `first`.
    pub fn slide(&mut self, first: usize, share: &mut Share) {
        let passed = self.first..first.min(self.entries.len());
        self.first = self.first.max(passed.end);
        for place in passed.filter(|place| !self.kept.contains(place)) {
            share.give_back(self.entries[place]);
            self.entries[place] = NOWHERE;
            self.held -= 1;
        }
    }

    /// Takes blocks up to the one before `end`, for which there is room.
    pub fn grow(&mut self, end: usize, share: &mut Share) {
        while self.entries.len() < end {
            self.entries.push(share.take());
            self.held += 1;
        }
        debug_assert!(self.held <= self.most, "more blocks than were foreseen");
    }

    /// What the blocks before `end` hold is computed, and will be what `keys` tell.
    pub fn name(&mut self, keys: &[Key], end: usize, share: &mut Share) {
        let end = end.min(keys.len());
        let places = self.named.min(end)..end;
        for (block, key) in self.entries[places.clone()].iter().zip(&keys[places]) {
            if *block != NOWHERE {
                share.name(*block, *key);
            }
        }
        self.named = self.named.max(end);
    }

    /// Gives back what lies behind what is kept, which is met again.
    pub fn go_back(&mut self, share: &mut Share) {
        self.cut(self.kept.end, share);
        self.first = self.first.min(self.kept.start);
    }

    /// Gives back what lies from `end` on, the last first, so that beginnings are found longest.
    pub fn cut(&mut self, end: usize, share: &mut Share) {
        for block in self.entries.drain(end.min(self.entries.len())..).rev() {
            if block != NOWHERE {
                share.give_back(block);
                self.held -= 1;
            }
        }
    }
}
