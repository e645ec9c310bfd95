//! Which blocks of key-value memory are free, and who holds the others, in each group.
//!
//! Invariants: every block is either free or in the table of exactly one sequence; as many blocks as
//! a sequence may hold at a time are promised to it when it is admitted, so that it never waits for
//! one; [`Blocks`] that are not given back are a defect, which [`Pool::used`] makes visible.

use std::{collections::VecDeque, ops::Range};

use weir_model::{BlockLayout, Extent, Group, Groups};

/// In the place of a block that was given back.
const NOWHERE: u32 = u32::MAX;

/// The blocks of one sequence.
#[derive(Debug)]
pub struct Blocks {
    tables: Groups<Table>,
    extent: Extent,
}

/// Those of one group, in the order of the sequence's tokens.
#[derive(Debug)]
struct Table {
    entries: Vec<u32>,
    /// The first that a later token meets: those before it were given back.
    first: usize,
    /// These stay all the same, because the sequence may go back to meet them.
    kept: Range<usize>,
    held: usize,
    /// The most that it may hold at a time.
    promised: usize,
}

impl Blocks {
    pub fn tables(&self) -> Groups<&[u32]> {
        Groups::each(|group| &self.tables.of(group).entries[..])
    }

    pub fn extent(&self) -> Extent {
        self.extent
    }
}

/// Hands out blocks, least recently used first, and those that were never used last: their memory
/// is not taken before that.
#[derive(Debug)]
pub struct Pool {
    layout: BlockLayout,
    /// The most tokens of a sequence that a step computes.
    step_tokens: usize,
    groups: Groups<Share>,
}

/// The blocks of one group.
#[derive(Debug)]
struct Share {
    /// Given back, the one that was first at the front.
    free: VecDeque<u32>,
    /// From this one on they were never used.
    unused: u32,
    total: usize,
    promised: usize,
}

impl Pool {
    /// So many blocks in each group. Sequences that are covered are so by at most `step_tokens` at a
    /// time.
    pub fn new(layout: BlockLayout, total: Groups<usize>, step_tokens: usize) -> Self {
        assert!(layout.block_tokens > 0, "a block holds at least one token");
        let groups = Groups::each(|group| {
            let total = if layout.has(group) {
                *total.of(group)
            } else {
                0
            };
            Share {
                free: VecDeque::new(),
                unused: 0,
                total,
                promised: 0,
            }
        });
        Self {
            layout,
            step_tokens,
            groups,
        }
    }

    /// Promises what a sequence may need, or nothing where that is promised to others.
    pub fn admit(&mut self, extent: Extent) -> Option<Blocks> {
        let most = self.layout.most(extent, self.step_tokens);
        let fits = |group| {
            let share: &Share = self.groups.of(group);
            share.promised + most.of(group) <= share.total
        };
        if !Group::ALL.into_iter().all(fits) {
            return None;
        }
        let tables = Groups::each(|group| {
            let promised = *most.of(group);
            self.groups.of_mut(group).promised += promised;
            Table {
                entries: Vec::new(),
                first: 0,
                kept: self.kept(group, extent),
                held: 0,
                promised,
            }
        });
        Some(Blocks { tables, extent })
    }

    /// Gives a sequence blocks for the tokens at these positions, the next that it computes, and
    /// takes those that neither these nor later ones meet.
    pub fn cover(&mut self, blocks: &mut Blocks, positions: &Range<usize>) {
        debug_assert!(positions.len() <= self.step_tokens);
        for group in self.present() {
            let first = self.layout.first_met(group, positions.start) / self.layout.block_tokens;
            let end = positions.end.div_ceil(self.layout.block_tokens);
            let (table, share) = (blocks.tables.of_mut(group), self.groups.of_mut(group));
            table.slide(first, share);
            table.grow(end, share);
        }
    }

    /// Takes what lies behind the place that a sequence may go back to. What is met from there is
    /// still in its place.
    pub fn go_back(&mut self, blocks: &mut Blocks) {
        for group in self.present() {
            let (table, share) = (blocks.tables.of_mut(group), self.groups.of_mut(group));
            table.cut(table.kept.end, share);
        }
    }

    pub fn give_back(&mut self, mut blocks: Blocks) {
        for group in self.present() {
            let (table, share) = (blocks.tables.of_mut(group), self.groups.of_mut(group));
            table.cut(0, share);
            share.promised -= table.promised;
            debug_assert!(
                share.free.len() <= share.unused as usize,
                "a block was given back twice"
            );
        }
    }

    /// Blocks in all, each of one layer, which are of one size in both groups.
    pub fn total(&self) -> u32 {
        self.counted(|share| share.total)
    }

    /// Those that sequences hold or are promised.
    pub fn used(&self) -> u32 {
        self.counted(|share| share.promised)
    }

    /// The longest that any sequence may be which is admitted when nothing else is held.
    pub fn capacity_tokens(&self) -> usize {
        let of = |group| {
            let extent = Extent {
                longest: usize::MAX,
                back_to: Some(0),
            };
            let endless = *self.layout.most(extent, self.step_tokens).of(group);
            let total = self.groups.of(group).total;
            match total >= endless {
                true => usize::MAX,
                false => total.saturating_mul(self.layout.block_tokens),
            }
        };
        of(Group::Global).min(of(Group::Windowed))
    }

    fn counted(&self, of: impl Fn(&Share) -> usize) -> u32 {
        let layers = self.layout.layers;
        let counts = Group::ALL.map(|group| of(self.groups.of(group)) * layers.of(group));
        u32::try_from(counts.iter().sum::<usize>()).unwrap_or(u32::MAX)
    }

    fn present(&self) -> impl Iterator<Item = Group> + use<> {
        let layout = self.layout;
        Group::ALL
            .into_iter()
            .filter(move |group| layout.has(*group))
    }

    /// The blocks that hold what is met from the place that a sequence may go back to.
    fn kept(&self, group: Group, extent: Extent) -> Range<usize> {
        let block_tokens = self.layout.block_tokens;
        let to = extent.back_to.unwrap_or_default();
        let first = self.layout.first_met(group, to);
        let start = first / block_tokens;
        // A token that meets itself alone needs none of them.
        let end = if first < to {
            to.div_ceil(block_tokens)
        } else {
            start
        };
        start..end
    }
}

impl Share {
    fn next(&mut self) -> u32 {
        self.free.pop_front().unwrap_or_else(|| {
            let block = self.unused;
            self.unused += 1;
            assert!(
                (block as usize) < self.total,
                "no more blocks are promised than there are"
            );
            block
        })
    }
}

impl Table {
    /// Gives back what lies before `first`.
    fn slide(&mut self, first: usize, share: &mut Share) {
        let passed = self.first..first.min(self.entries.len());
        self.first = self.first.max(passed.end);
        for place in passed.filter(|place| !self.kept.contains(place)) {
            share.free.push_back(self.entries[place]);
            self.entries[place] = NOWHERE;
            self.held -= 1;
        }
    }

    /// Takes blocks up to the one before `end`.
    fn grow(&mut self, end: usize, share: &mut Share) {
        while self.entries.len() < end {
            self.entries.push(share.next());
            self.held += 1;
        }
        debug_assert!(self.held <= self.promised, "more blocks than were promised");
    }

    /// Gives back what lies from `end` on; what was kept before it is met again.
    fn cut(&mut self, end: usize, share: &mut Share) {
        for block in self.entries.drain(end.min(self.entries.len())..) {
            if block != NOWHERE {
                share.free.push_back(block);
                self.held -= 1;
            }
        }
        self.first = self.first.min(self.kept.start);
    }
}

#[cfg(test)]
mod tests;
