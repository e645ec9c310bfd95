//! Which blocks of key-value memory are free, and who holds the others.
//!
//! Invariant: every block is either in the free list or in exactly one [`Blocks`]; a `Blocks` that
//! is not given back is a defect, which [`Pool::used`] makes visible.

use std::collections::VecDeque;

/// The blocks of one sequence, in the order of its tokens.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Blocks(Vec<u32>);

impl Blocks {
    pub fn table(&self) -> &[u32] {
        &self.0
    }
}

/// Hands out blocks of `block_tokens` tokens each, least recently used first.
#[derive(Debug)]
pub struct Pool {
    free: VecDeque<u32>,
    total: u32,
    block_tokens: usize,
}

impl Pool {
    pub fn new(total: u32, block_tokens: usize) -> Self {
        assert!(block_tokens > 0, "a block holds at least one token");
        Self {
            free: (0..total).collect(),
            total,
            block_tokens,
        }
    }

    /// Blocks for `tokens` tokens, or nothing if there are not that many free.
    pub fn take(&mut self, tokens: usize) -> Option<Blocks> {
        let count = tokens.div_ceil(self.block_tokens);
        (count <= self.free.len()).then(|| Blocks(self.free.drain(..count).collect()))
    }

    pub fn give_back(&mut self, blocks: Blocks) {
        self.free.extend(blocks.0);
        debug_assert!(
            self.free.len() <= self.total as usize,
            "a block was given back twice"
        );
    }

    pub fn total(&self) -> u32 {
        self.total
    }

    pub fn used(&self) -> u32 {
        self.total - self.free.len() as u32
    }

    /// The most tokens that fit when nothing else is held.
    pub fn capacity_tokens(&self) -> usize {
        self.total as usize * self.block_tokens
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_for_more_than_is_free_takes_nothing() {
        let mut pool = Pool::new(4, 16);
        let held = pool.take(33).unwrap();
        assert_eq!(held.table(), [0, 1, 2]);
        assert!(pool.take(17).is_none());
        assert_eq!(pool.used(), 3);
    }

    #[test]
    fn the_block_that_was_freed_first_is_used_first() {
        let mut pool = Pool::new(3, 1);
        let (first, second) = (pool.take(1).unwrap(), pool.take(1).unwrap());
        pool.give_back(second);
        pool.give_back(first);
        assert_eq!(pool.take(3).unwrap().table(), [2, 1, 0]);
    }

    proptest! {
        #[test]
        fn no_block_is_held_twice_or_lost(steps in prop::collection::vec((0_usize..40, any::<bool>()), 0..60)) {
            let mut pool = Pool::new(12, 4);
            let mut held: Vec<Blocks> = Vec::new();
            for (tokens, give_back) in steps {
                if give_back && !held.is_empty() {
                    let index = tokens % held.len();
                    pool.give_back(held.swap_remove(index));
                } else if let Some(blocks) = pool.take(tokens) {
                    held.push(blocks);
                }
                let mut seen: Vec<u32> = held.iter().flat_map(|b| b.table().to_vec()).collect();
                prop_assert_eq!(seen.len(), pool.used() as usize);
                seen.extend(&pool.free);
                seen.sort_unstable();
                prop_assert_eq!(seen, (0..12).collect::<Vec<_>>());
            }
        }
    }
}
