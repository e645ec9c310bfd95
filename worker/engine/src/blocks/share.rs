//! The blocks of one group: free, cached or held.
//!
//! Invariants: a block is held by at least one sequence, or free; a free one that has a key is
//! cached: whoever looks for the key finds it until it is used for something else; no key belongs to
//! two blocks; what a held block with a key holds never changes.

use std::collections::{BTreeMap, VecDeque};

use super::chain::Key;

/// Blocks without a use are handed out first, then those that were never used, whose memory is not
/// taken before that, and last the cached, least recently held first.
#[derive(Debug)]
pub struct Share {
    total: usize,
    /// Those that were ever used; the others follow.
    blocks: Vec<Block>,
    /// Free and without a key, the one that was first at the front.
    plain: VecDeque<u32>,
    /// By when they were given back.
    cached: BTreeMap<u64, u32>,
    found: BTreeMap<Key, u32>,
    held: usize,
    /// How often a block was cached.
    clock: u64,
}

#[derive(Debug, Default)]
struct Block {
    holders: u32,
    key: Option<Key>,
    /// Where it is cached, when that was.
    cached: u64,
}

impl Share {
    pub fn new(total: usize) -> Self {
        Self {
            total,
            blocks: Vec::new(),
            plain: VecDeque::new(),
            cached: BTreeMap::new(),
            found: BTreeMap::new(),
            held: 0,
            clock: 0,
        }
    }

    pub fn total(&self) -> usize {
        self.total
    }

    pub fn held(&self) -> usize {
        self.held
    }

    /// The cached among them.
    pub fn free(&self) -> usize {
        self.total - self.held
    }

    pub fn find(&self, key: &Key) -> Option<u32> {
        self.found.get(key).copied()
    }

    pub fn is_held(&self, block: u32) -> bool {
        self.blocks[block as usize].holders > 0
    }

    /// A free block, which is held from now on and holds nothing.
    pub fn take(&mut self) -> u32 {
        let block = match self.plain.pop_front() {
            Some(block) => block,
            None if self.blocks.len() < self.total => {
                self.blocks.push(Block::default());
                (self.blocks.len() - 1) as u32
            }
            None => self.forget_oldest(),
        };
        self.blocks[block as usize].holders = 1;
        self.held += 1;
        block
    }

    fn forget_oldest(&mut self) -> u32 {
        let (_, block) = self
            .cached
            .pop_first()
            .expect("blocks are taken where there is room");
        if let Some(key) = self.blocks[block as usize].key.take() {
            self.found.remove(&key);
        }
        block
    }

    /// One more sequence holds a block that was found.
    pub fn hold(&mut self, block: u32) {
        let found = &mut self.blocks[block as usize];
        if found.holders == 0 {
            self.cached.remove(&found.cached);
            self.held += 1;
        }
        found.holders += 1;
    }

    /// One sequence fewer holds it.
    pub fn give_back(&mut self, block: u32) {
        let given = &mut self.blocks[block as usize];
        given.holders = given
            .holders
            .checked_sub(1)
            .expect("a block is given back by who holds it");
        if given.holders > 0 {
            return;
        }
        self.held -= 1;
        if given.key.is_some() {
            self.clock += 1;
            given.cached = self.clock;
            self.cached.insert(self.clock, block);
        } else {
            self.plain.push_back(block);
        }
    }

    /// A held block holds what `key` tells, and will. Where another does already, that one is found.
    pub fn name(&mut self, block: u32, key: Key) {
        let named = &mut self.blocks[block as usize];
        debug_assert!(named.holders > 0, "only what is held is computed");
        if named.key.is_none() && !self.found.contains_key(&key) {
            named.key = Some(key);
            self.found.insert(key, block);
        }
    }

    /// How many sequences hold each block, where every invariant holds.
    #[cfg(test)]
    pub fn holders(&self) -> Vec<u32> {
        let mut free: Vec<u32> = self
            .plain
            .iter()
            .chain(self.cached.values())
            .copied()
            .collect();
        free.sort_unstable();
        let count = |of: &dyn Fn(&Block) -> bool| self.blocks.iter().filter(|b| of(b)).count();
        let expected: Vec<u32> = (0_u32..)
            .zip(&self.blocks)
            .filter(|(_, block)| block.holders == 0)
            .map(|(block, _)| block)
            .collect();
        assert_eq!(free, expected, "a block is free once, or held");
        assert_eq!(self.held, count(&|block| block.holders > 0));
        assert_eq!(self.found.len(), count(&|block| block.key.is_some()));
        for (key, block) in &self.found {
            assert_eq!(self.blocks[*block as usize].key, Some(*key));
        }
        for block in self.cached.values() {
            assert!(self.blocks[*block as usize].key.is_some());
        }
        assert!(self.blocks.len() <= self.total);
        self.blocks.iter().map(|block| block.holders).collect()
    }
}
