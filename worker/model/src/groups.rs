//! The two groups of key-value blocks: of layers that meet the whole context, and of layers that
//! meet a window of it.
//!
//! A sequence has a table of blocks in each. In the windowed group it gives back the blocks that
//! lie before every window to come, so that its share does not grow with the context.

use std::fmt;

/// The most tokens of one sequence that a step computes, which bounds what the windowed group holds
/// of it. Long enough that weights are read for many tokens at once, short enough that a cancelled
/// prompt ends within a fraction of a second.
pub const STEP_TOKENS: usize = 256;

/// Tokens of one block in a worker: what attention reads at once.
pub const BLOCK_TOKENS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Layers that meet everything before a token.
    Global,
    /// Layers that meet a window.
    Windowed,
}

impl Group {
    pub const ALL: [Self; 2] = [Self::Global, Self::Windowed];
}

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Global => "global",
            Self::Windowed => "windowed",
        })
    }
}

/// One of something for each group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups<T> {
    pub global: T,
    pub windowed: T,
}

impl<T> Groups<T> {
    pub fn each(mut value: impl FnMut(Group) -> T) -> Self {
        Self {
            global: value(Group::Global),
            windowed: value(Group::Windowed),
        }
    }

    pub fn of(&self, group: Group) -> &T {
        match group {
            Group::Global => &self.global,
            Group::Windowed => &self.windowed,
        }
    }

    pub fn of_mut(&mut self, group: Group) -> &mut T {
        match group {
            Group::Global => &mut self.global,
            Group::Windowed => &mut self.windowed,
        }
    }
}

impl<T: Copy> Groups<T> {
    /// The same for each group.
    pub fn both(value: T) -> Self {
        Self::each(|_| value)
    }
}

/// What a model's blocks are: which groups it has, and how many positions a block and a window hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLayout {
    pub block_tokens: usize,
    /// Layers of each group. A group without layers has no blocks.
    pub layers: Groups<usize>,
    /// How many positions a token meets in the windowed group at most, its own among them.
    pub window: usize,
}

/// How far a sequence may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The most tokens that it may have.
    pub longest: usize,
    /// It may go back to its first so many tokens once these are computed, and on from there.
    pub back_to: Option<usize>,
}

impl BlockLayout {
    pub fn has(&self, group: Group) -> bool {
        *self.layers.of(group) > 0
    }

    /// The first position that a token at `position` meets.
    pub fn first_met(&self, group: Group, position: usize) -> usize {
        match group {
            Group::Global => 0,
            Group::Windowed => (position + 1).saturating_sub(self.window),
        }
    }

    /// The most blocks that a sequence holds at a time, where it holds those that a step or a later
    /// one meets, and a step computes at most `step_tokens` of it.
    pub fn most(&self, extent: Extent, step_tokens: usize) -> Groups<usize> {
        let whole = extent.longest.div_ceil(self.block_tokens);
        Groups::each(|group| match group {
            _ if !self.has(group) => 0,
            Group::Global => whole,
            Group::Windowed => whole.min(self.most_windowed(extent, step_tokens)),
        })
    }

    fn most_windowed(&self, extent: Extent, step_tokens: usize) -> usize {
        // Of a window its first token is the only new one.
        let before = self.window.saturating_sub(1);
        let step = self.across(before.saturating_add(step_tokens));
        let Some(back_to) = extent.back_to else {
            return step;
        };
        // Behind the place to go back to, its window is held too: the two lie apart, or are one run.
        let apart = step.saturating_add(self.across(before));
        let behind = extent.longest.saturating_sub(back_to);
        let run = self.across(before.saturating_add(behind));
        step.max(run.min(apart))
    }

    /// The most blocks that a run of so many positions lies in, wherever it begins.
    fn across(&self, positions: usize) -> usize {
        match positions {
            0 => 0,
            positions => (positions - 1).div_ceil(self.block_tokens) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extent(longest: usize) -> Extent {
        Extent {
            longest,
            back_to: None,
        }
    }

    #[test]
    fn layers_with_a_window_hold_no_more_of_a_long_context_than_of_a_middling_one() {
        let layout = BlockLayout {
            block_tokens: 16,
            layers: Groups {
                global: 4,
                windowed: 22,
            },
            window: 512,
        };
        let most = |tokens| layout.most(extent(tokens), 256);
        // As short as it is, or a window and a step.
        assert_eq!((most(100).global, most(100).windowed), (7, 7));
        assert_eq!((most(8192).global, most(8192).windowed), (512, 49));
        // Of a context of Gemma 3, a sixth of what all layers would hold.
        let held = 4 * most(131_072).global + 22 * most(131_072).windowed;
        let share = held as f64 / (26 * 8192) as f64;
        assert!((0.15..0.17).contains(&share), "{share}");
    }

    #[test]
    fn a_group_without_layers_holds_nothing() {
        let mut layout = BlockLayout {
            block_tokens: 16,
            layers: Groups {
                global: 2,
                windowed: 0,
            },
            window: 0,
        };
        assert_eq!(
            layout.most(extent(40), 256),
            Groups {
                global: 3,
                windowed: 0
            }
        );
        layout.layers = Groups {
            global: 0,
            windowed: 2,
        };
        layout.window = 8;
        assert_eq!(
            layout.most(extent(4000), 256),
            Groups {
                global: 0,
                windowed: 18
            }
        );
    }

    proptest! {
        /// Counts the blocks that are met at each step, one by one.
        #[test]
        fn no_step_meets_more_blocks_than_were_foreseen(
            (block_tokens, window, step_tokens) in (1_usize..9, 1_usize..40, 1_usize..20),
            (shared, ending) in (1_usize..120, 0_usize..120),
            goes_back in any::<bool>(),
        ) {
            let layers = Groups { global: 1, windowed: 1 };
            let layout = BlockLayout { block_tokens, layers, window };
            let extent = Extent { longest: shared + ending, back_to: goes_back.then_some(shared) };
            let most = layout.most(extent, step_tokens).windowed;
            for start in 0..extent.longest {
                let end = extent.longest.min(start + step_tokens);
                let end = if goes_back && start < shared { end.min(shared) } else { end };
                let first = layout.first_met(Group::Windowed, start);
                let mut met: Vec<usize> = (first..end).collect();
                if goes_back && start >= shared {
                    met.extend(layout.first_met(Group::Windowed, shared)..shared);
                }
                let mut blocks: Vec<usize> = met.iter().map(|at| at / block_tokens).collect();
                blocks.sort_unstable();
                blocks.dedup();
                prop_assert!(blocks.len() <= most, "{} blocks at {start}, not {most}", blocks.len());
            }
        }
    }
}
