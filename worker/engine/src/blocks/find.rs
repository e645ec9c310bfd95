//! The longest beginning of a sequence that is computed already, and whose blocks are still there.

use weir_model::{Group, Groups};

use super::{Pool, chain::Key};

/// Whole blocks that a sequence may begin with, as long as nothing else is taken.
#[derive(Debug, Default)]
pub struct Hit {
    /// How many blocks of tokens.
    count: usize,
    tokens: usize,
    /// Those that the next token meets, which end where the hit does.
    blocks: Groups<Vec<u32>>,
}

impl Hit {
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    pub(super) fn blocks(&self, group: Group) -> &[u32] {
        self.blocks.of(group)
    }

    /// How many blocks lie before those that are met.
    pub(super) fn first(&self, group: Group) -> usize {
        self.count - self.blocks(group).len()
    }
}

impl Pool {
    /// The most of the blocks that `keys` tell, in order, after which a token finds all that it
    /// meets: every global block, and the windowed ones within its window.
    pub fn find(&self, keys: &[Key]) -> Hit {
        let block_tokens = self.layout.block_tokens;
        let first =
            |group, count| self.layout.first_met(group, count * block_tokens) / block_tokens;
        // Up to where the blocks of each group reach back without a gap.
        let mut since = Groups::both(0);
        let mut count = 0;
        for (place, key) in keys.iter().enumerate() {
            let next = place + 1;
            for group in self.present() {
                if self.groups.of(group).find(key).is_none() {
                    *since.of_mut(group) = next;
                }
            }
            // Of global blocks there must be no gap at all.
            if since.global > 0 {
                break;
            }
            if self
                .present()
                .all(|group| *since.of(group) <= first(group, next))
            {
                count = next;
            }
        }
        let blocks = |group| {
            let met = match self.layout.has(group) {
                true => first(group, count).min(count)..count,
                false => count..count,
            };
            let share = self.groups.of(group);
            keys[met].iter().filter_map(|key| share.find(key)).collect()
        };
        Hit {
            count,
            tokens: count * block_tokens,
            blocks: Groups::each(blocks),
        }
    }
}
