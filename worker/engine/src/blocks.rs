//! Which blocks of key-value memory are free, cached or held, and by whom, in each group.
//!
//! Invariants: a sequence takes blocks as its tokens come, and never more than [`BlockLayout::most`]
//! says; a block that several hold is whole, computed and never written again; what a sequence meets
//! is in blocks that it holds.

mod chain;
mod find;
mod share;
mod table;

use std::ops::Range;

use weir_model::{BlockLayout, Extent, Group, Groups};

pub use self::{
    chain::{Chain, Key},
    find::Hit,
};
use self::{share::Share, table::Table};

/// The blocks of one sequence.
#[derive(Debug)]
pub struct Blocks {
    tables: Groups<Table>,
    extent: Extent,
}

impl Blocks {
    pub fn tables(&self) -> Groups<&[u32]> {
        Groups::each(|group| self.tables.of(group).entries())
    }

    pub fn extent(&self) -> Extent {
        self.extent
    }
}

#[derive(Debug)]
pub struct Pool {
    layout: BlockLayout,
    /// The most tokens of a sequence that a step computes.
    step_tokens: usize,
    groups: Groups<Share>,
}

impl Pool {
    /// So many blocks in each group. Sequences that are covered are so by at most `step_tokens` at a
    /// time.
    pub fn new(layout: BlockLayout, total: Groups<usize>, step_tokens: usize) -> Self {
        assert!(layout.block_tokens > 0, "a block holds at least one token");
        let of = |group| match layout.has(group) {
            true => *total.of(group),
            false => 0,
        };
        Self {
            layout,
            step_tokens,
            groups: Groups::each(|group| Share::new(of(group))),
        }
    }

    pub fn block_tokens(&self) -> usize {
        self.layout.block_tokens
    }

    /// Whether a sequence of `known` tokens that begins with `hit` has room for them, and for a block
    /// more, beside what others will take soon.
    pub fn has_room(&self, extent: Extent, known: usize, hit: &Hit, others: Groups<usize>) -> bool {
        let soon = self.soon(extent, known);
        self.present().all(|group| {
            let share = self.groups.of(group);
            let found = hit.blocks(group);
            let cached = found.iter().filter(|block| !share.is_held(**block)).count();
            let taken = soon.of(group).saturating_sub(found.len()) + cached;
            taken + others.of(group) <= share.free()
        })
    }

    /// What a sequence of `known` tokens has yet to take for them and for a block more.
    pub fn wanting(&self, blocks: &Blocks, known: usize) -> Groups<usize> {
        let soon = self.soon(blocks.extent, known);
        Groups::each(|group| {
            let held = blocks.tables.of(group).held();
            soon.of(group).saturating_sub(held)
        })
    }

    fn soon(&self, extent: Extent, known: usize) -> Groups<usize> {
        let longest = extent.longest.min(known + self.layout.block_tokens);
        let soon = Extent { longest, ..extent };
        self.layout.most(soon, self.step_tokens)
    }

    /// A sequence whose first tokens are those of `hit`.
    pub fn begin(&mut self, extent: Extent, hit: &Hit) -> Blocks {
        let most = self.layout.most(extent, self.step_tokens);
        let mut tables =
            Groups::each(|group| Table::new(self.kept(group, extent), *most.of(group)));
        for group in self.present() {
            let share = self.groups.of_mut(group);
            let table = tables.of_mut(group);
            table.begin(hit.first(group), hit.blocks(group), share);
        }
        Blocks { tables, extent }
    }

    /// Takes what no token from the first of `positions` on meets, and says how many of these, the
    /// next that the sequence computes, there is room for.
    pub fn room(&mut self, blocks: &mut Blocks, positions: &Range<usize>) -> usize {
        let block_tokens = self.layout.block_tokens;
        let mut end = positions.end;
        for group in self.present() {
            let first = self.layout.first_met(group, positions.start) / block_tokens;
            let (table, share) = (blocks.tables.of_mut(group), self.groups.of_mut(group));
            table.slide(first, share);
            end = end.min((table.entries().len() + share.free()) * block_tokens);
        }
        end.saturating_sub(positions.start)
    }

    /// Gives a sequence blocks for the tokens at these positions, for which there is room.
    pub fn cover(&mut self, blocks: &mut Blocks, positions: &Range<usize>) {
        debug_assert!(positions.len() <= self.step_tokens);
        let end = positions.end.div_ceil(self.layout.block_tokens);
        for group in self.present() {
            let (table, share) = (blocks.tables.of_mut(group), self.groups.of_mut(group));
            table.grow(end, share);
        }
    }

    /// The first `computed` tokens of a sequence are in its blocks, and its whole blocks hold what
    /// `keys` tell. Others may begin with those, but not with what it may go back to and replace.
    pub fn computed(&mut self, blocks: &mut Blocks, keys: &[Key], computed: usize) {
        let stays = computed.min(blocks.extent.back_to.unwrap_or(computed));
        for group in self.present() {
            let (table, share) = (blocks.tables.of_mut(group), self.groups.of_mut(group));
            table.name(keys, stays / self.layout.block_tokens, share);
        }
    }

    /// Takes what lies behind the place that a sequence may go back to. What is met from there is
    /// still in its place.
    pub fn go_back(&mut self, blocks: &mut Blocks) {
        for group in self.present() {
            let (table, share) = (blocks.tables.of_mut(group), self.groups.of_mut(group));
            table.go_back(share);
        }
    }

    pub fn give_back(&mut self, mut blocks: Blocks) {
        for group in self.present() {
            let (table, share) = (blocks.tables.of_mut(group), self.groups.of_mut(group));
            table.cut(0, share);
        }
    }

    /// Blocks in all, each of one layer, which are of one size in both groups.
    pub fn total(&self) -> u32 {
        self.counted(Share::total)
    }

    /// Those that sequences hold.
    pub fn used(&self) -> u32 {
        self.counted(Share::held)
    }

    /// The longest that any sequence may be which runs while nothing else is held.
    pub fn capacity_tokens(&self) -> usize {
        let of = |group| {
            let extent = Extent {
                longest: usize::MAX,
                back_to: Some(0),
            };
            let endless = *self.layout.most(extent, self.step_tokens).of(group);
            let total = self.groups.of(group).total();
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

#[cfg(test)]
mod tests;
