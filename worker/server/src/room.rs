//! How many blocks of key-value memory a worker takes: as many whole contexts as can run at once, or
//! what memory allows.

use weir_engine::model::{
    BLOCK_TOKENS, BlockLayout, Extent, Group, Groups, LoadError, Plan, STEP_TOKENS,
};

use crate::memory::Memory;

/// Blocks for as many whole contexts as can run at once, or for what memory allows beside the
/// weights. That may be less than one of the model's own contexts, which then shrinks; a context that
/// was `asked` for does not.
///
/// Of what is left a half is for requests, activations and the system. Where no limit says what is
/// ours, keys and values take an eighth at most, so that several replicas have room on one node: only
/// a context that was asked for takes up to the half.
///
/// # Errors
/// Says what the least would need, and what there is.
pub fn blocks(
    plan: &Plan,
    memory: Option<Memory>,
    sequences: usize,
    asked: bool,
) -> Result<Groups<usize>, LoadError> {
    let left = |memory: Memory| memory.bytes.saturating_sub(plan.weight_bytes());
    let half = memory.map_or(u64::MAX, |memory| left(memory) / 2);
    let most = match memory {
        Some(memory) if memory.is_shared => left(memory) / 8,
        _ => half,
    };
    let room = Room {
        layout: plan.block_layout(BLOCK_TOKENS),
        block_bytes: plan.block_bytes(BLOCK_TOKENS),
        context_tokens: plan.context_tokens() as usize,
        sequences,
    };
    let one = Room {
        sequences: 1,
        ..room
    };
    let found = room
        .within(most, asked)
        .or_else(|_| one.within(half, asked));
    found.map_err(|TooSmall { tokens, needed }| LoadError::ContextMemory {
        tokens,
        needed,
        available: half,
    })
}

/// What adapters may take together beside weights of so many bytes: a quarter of what is left, or an
/// eighth where no limit says what is ours. With keys and values there is then as much left for
/// requests.
pub fn for_adapters(memory: Option<Memory>, weight_bytes: u64) -> u64 {
    match memory {
        Some(memory) => {
            let left = memory.bytes.saturating_sub(weight_bytes);
            left / if memory.is_shared { 8 } else { 4 }
        }
        None => u64::MAX,
    }
}

/// What is to have room, and what it takes.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub layout: BlockLayout,
    /// Of one block of each group.
    pub block_bytes: Groups<usize>,
    /// The longest sequence.
    pub context_tokens: usize,
    /// As many as run at the same time.
    pub sequences: usize,
}

/// Not even the least fits.
#[derive(Debug, PartialEq, Eq)]
pub struct TooSmall {
    /// Tokens of the context that was the least to have room for.
    pub tokens: usize,
    /// What that takes.
    pub needed: u64,
}

impl Room {
    /// The most blocks that take at most `spare` bytes, down to those of one context where it must be
    /// `whole`, and of one block where not.
    pub fn within(&self, spare: u64, whole: bool) -> Result<Groups<usize>, TooSmall> {
        let context = self.context_tokens.div_ceil(self.layout.block_tokens);
        let most = context.saturating_mul(self.sequences);
        // The place of a token is told in 32 bits.
        let (mut fits, mut most) = (0, most.min((1 << 32) / self.layout.block_tokens));
        // The more blocks of context the more bytes: halve what is not known.
        while fits < most {
            let middle = fits + (most - fits).div_ceil(2);
            match self.bytes(self.blocks(middle)) <= spare {
                true => fits = middle,
                false => most = middle - 1,
            }
        }
        let least = if whole { context } else { 1 };
        if fits < least {
            return Err(TooSmall {
                tokens: self.context_tokens.min(least * self.layout.block_tokens),
                needed: self.bytes(self.blocks(least)),
            });
        }
        Ok(self.blocks(fits))
    }

    /// Blocks for so much context as lies in `count` blocks, of sequences that may all be as long as
    /// the context. One of them can go back to any place, and there is always room for that.
    fn blocks(&self, count: usize) -> Groups<usize> {
        let context = self.context_tokens.div_ceil(self.layout.block_tokens);
        let longest = count.min(context) * self.layout.block_tokens;
        let most = |back_to| self.layout.most(Extent { longest, back_to }, STEP_TOKENS);
        let windowed = match count > context {
            true => (most(None).windowed * count).div_ceil(context),
            false => 0,
        };
        Groups {
            global: match self.layout.has(Group::Global) {
                true => count,
                false => 0,
            },
            windowed: windowed.max(most(Some(0)).windowed),
        }
    }

    fn bytes(&self, blocks: Groups<usize>) -> u64 {
        let of =
            |group| (*blocks.of(group) as u64).saturating_mul(*self.block_bytes.of(group) as u64);
        of(Group::Global).saturating_add(of(Group::Windowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four global layers and 22 of a window of 512 tokens, a kilobyte for a token of each.
    fn gemma() -> Room {
        room(4, 22)
    }

    fn room(global: usize, windowed: usize) -> Room {
        Room {
            layout: BlockLayout {
                block_tokens: 16,
                layers: Groups { global, windowed },
                window: 512,
            },
            block_bytes: Groups {
                global: global * 16 * 1024,
                windowed: windowed * 16 * 1024,
            },
            context_tokens: 32_768,
            sequences: 8,
        }
    }

    fn blocks(global: usize, windowed: usize) -> Groups<usize> {
        Groups { global, windowed }
    }

    #[test]
    fn adapters_take_a_part_of_what_weights_leave() {
        let memory = |is_shared| {
            Some(Memory {
                bytes: 1000,
                is_shared,
            })
        };
        assert_eq!(for_adapters(memory(false), 200), 200);
        assert_eq!(for_adapters(memory(true), 200), 100);
        assert_eq!(for_adapters(memory(false), 2000), 0);
        assert_eq!(for_adapters(None, 200), u64::MAX);
    }

    #[test]
    fn where_there_is_memory_all_sequences_may_be_as_long_as_the_context() {
        // A window and a step lie in 49 blocks.
        let all = blocks(8 * 2048, 8 * 49);
        assert_eq!(gemma().within(u64::MAX, false), Ok(all));
        assert_eq!(gemma().within(gemma().bytes(all), true), Ok(all));
        let without_windows = room(26, 0).within(u64::MAX, false).unwrap();
        assert_eq!(without_windows, blocks(8 * 2048, 0));
        let share = gemma().bytes(all) as f64 / room(26, 0).bytes(without_windows) as f64;
        assert!((0.15..0.18).contains(&share), "{share}");
        let windows_only = room(0, 26).within(u64::MAX, false);
        assert_eq!(windows_only, Ok(blocks(0, 8 * 49)));
    }

    #[test]
    fn less_memory_is_shared_by_what_sequences_need_of_both_groups() {
        let some = gemma()
            .within(gemma().bytes(blocks(4096, 98)), true)
            .unwrap();
        assert_eq!(some, blocks(4096, 98));
        // One context, which may also go back: a window more than a step needs.
        let one = blocks(2048, 49 + 33);
        assert_eq!(gemma().within(gemma().bytes(one), true), Ok(one));
    }

    #[test]
    fn a_context_that_nobody_asked_for_shrinks_to_what_fits() {
        let little = gemma().bytes(blocks(100, 82));
        assert_eq!(gemma().within(little, false), Ok(blocks(100, 82)));
        assert_eq!(
            gemma().within(gemma().bytes(blocks(20, 20)), false),
            Ok(blocks(20, 20))
        );
        let error = gemma().within(little, true).unwrap_err();
        let needed = gemma().bytes(blocks(2048, 82));
        assert_eq!((error.tokens, error.needed), (32_768, needed));
    }

    #[test]
    fn what_has_no_room_for_a_block_is_refused_with_what_that_takes() {
        let least = gemma().bytes(blocks(1, 1));
        assert_eq!(gemma().within(least, false), Ok(blocks(1, 1)));
        let error = gemma().within(least - 1, false).unwrap_err();
        assert_eq!((error.tokens, error.needed), (16, least));
    }
}
