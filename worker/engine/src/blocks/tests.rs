//! Who holds which block, and who finds it again, step by step and at random.

use proptest::prelude::*;

use super::{table::NOWHERE, *};

/// One layer of each kind, blocks of four tokens.
fn layout(window: usize) -> BlockLayout {
    BlockLayout {
        block_tokens: 4,
        layers: Groups::both(1),
        window,
    }
}

fn global() -> BlockLayout {
    BlockLayout {
        layers: Groups {
            global: 1,
            windowed: 0,
        },
        ..layout(0)
    }
}

fn extent(longest: usize) -> Extent {
    Extent {
        longest,
        back_to: None,
    }
}

fn begin(pool: &mut Pool, extent: Extent) -> Blocks {
    pool.begin(extent, &Hit::default())
}

/// Covers the positions, for all of which there must be room.
fn cover(pool: &mut Pool, blocks: &mut Blocks, positions: Range<usize>) {
    assert_eq!(pool.room(blocks, &positions), positions.len());
    pool.cover(blocks, &positions);
}

/// Keys of the first blocks of a sequence that is told apart by `name`.
fn named(name: u32, count: usize) -> Vec<Key> {
    let tokens = vec![name; 4 * count];
    Chain::new(Key::of(&[]), 4, &tokens).keys().to_vec()
}

/// A sequence that is computed up to so many blocks, step by step.
fn compute(pool: &mut Pool, name: u32, count: usize) -> Blocks {
    let mut blocks = begin(pool, extent(4 * count + 1));
    for block in 0..count {
        cover(pool, &mut blocks, 4 * block..4 * block + 4);
        pool.computed(&mut blocks, &named(name, count), 4 * block + 4);
    }
    blocks
}

#[test]
fn a_sequence_begins_where_what_is_known_of_it_has_room_in_both_groups() {
    let totals = |global, windowed| Groups { global, windowed };
    let begins = |totals, others| {
        let pool = Pool::new(layout(4), totals, 4);
        pool.has_room(extent(40), 20, &Hit::default(), Groups::both(others))
    };
    // Five blocks and one more, and those that a window of four and a step of four may lie in.
    assert!(begins(totals(6, 3), 0));
    assert!(!begins(totals(5, 3), 0));
    assert!(!begins(totals(6, 2), 0));
    // What others will take is not there.
    assert!(begins(totals(7, 4), 1));
    assert!(!begins(totals(6, 4), 1));
}

#[test]
fn a_sequence_wants_what_it_knows_and_a_block_more() {
    let mut pool = Pool::new(global(), Groups::both(10), 8);
    let mut blocks = begin(&mut pool, extent(16));
    cover(&mut pool, &mut blocks, 0..5);
    assert_eq!(pool.wanting(&blocks, 7).global, 1);
    assert_eq!(pool.wanting(&blocks, 9).global, 2);
    // No more than it may ever have.
    assert_eq!(pool.wanting(&blocks, 16).global, 2);
}

#[test]
fn there_is_room_for_as_many_tokens_as_the_group_with_less_has() {
    let totals = Groups {
        global: 3,
        windowed: 2,
    };
    let mut pool = Pool::new(layout(40), totals, 12);
    let mut blocks = begin(&mut pool, extent(40));
    assert_eq!(pool.room(&mut blocks, &(0..12)), 8);
    pool.cover(&mut blocks, &(0..8));
    assert_eq!(pool.room(&mut blocks, &(8..9)), 0);
}

#[test]
fn blocks_are_used_again_before_new_ones_and_cached_ones_last_the_oldest_first() {
    let mut pool = Pool::new(global(), Groups::both(5), 8);
    let cached = [1, 2].map(|name| compute(&mut pool, name, 1));
    let mut plain = begin(&mut pool, extent(4));
    cover(&mut pool, &mut plain, 0..4);
    let [first, second] = cached;
    pool.give_back(second);
    pool.give_back(first);
    pool.give_back(plain);
    let mut all = begin(&mut pool, extent(20));
    cover(&mut pool, &mut all, 0..8);
    cover(&mut pool, &mut all, 8..16);
    cover(&mut pool, &mut all, 16..20);
    assert_eq!(all.tables().global, [2, 3, 4, 1, 0]);
    assert_eq!(pool.find(&named(1, 1)).tokens(), 0, "it was used again");
}

#[test]
fn what_is_found_is_held_by_both_and_freed_by_the_last() {
    let mut pool = Pool::new(global(), Groups::both(4), 8);
    let first = compute(&mut pool, 1, 2);
    let hit = pool.find(&named(1, 2));
    assert_eq!(hit.tokens(), 8);
    let second = pool.begin(extent(12), &hit);
    assert_eq!(second.tables().global, first.tables().global);
    assert_eq!(pool.used(), 2);
    pool.give_back(first);
    assert_eq!(pool.used(), 2);
    pool.give_back(second);
    assert_eq!(pool.used(), 0);
    assert_eq!(pool.find(&named(1, 2)).tokens(), 8, "they are still found");
}

#[test]
fn of_a_sequence_that_ended_the_beginning_is_found_longest() {
    let mut pool = Pool::new(global(), Groups::both(4), 8);
    let ended = compute(&mut pool, 1, 3);
    pool.give_back(ended);
    let mut other = begin(&mut pool, extent(16));
    cover(&mut pool, &mut other, 0..8);
    assert_eq!(pool.find(&named(1, 3)).tokens(), 8);
}

#[test]
fn a_hit_ends_where_the_window_before_it_is_still_there() {
    let totals = Groups {
        global: 20,
        windowed: 6,
    };
    let mut pool = Pool::new(layout(5), totals, 20);
    let keys = named(1, 6);
    let ended = compute(&mut pool, 1, 6);
    pool.give_back(ended);
    let tokens = |pool: &Pool, count: usize| pool.find(&keys[..count]).tokens();
    assert_eq!((tokens(&pool, 6), tokens(&pool, 3)), (24, 12));
    // The windowed blocks that were passed first are used for something else.
    let mut other = begin(&mut pool, extent(16));
    cover(&mut pool, &mut other, 0..16);
    assert_eq!((tokens(&pool, 6), tokens(&pool, 3)), (24, 0));
    let hit = pool.find(&keys);
    assert_eq!(hit.first(Group::Global), 0);
    assert_eq!(hit.first(Group::Windowed), 5);
    // The next is the last of all, and the one before it suffices for a hit that is shorter.
    let mut another = begin(&mut pool, extent(4));
    cover(&mut pool, &mut another, 0..4);
    assert_eq!(tokens(&pool, 6), 20);
}

#[test]
fn what_a_window_has_passed_is_given_back_and_used_again() {
    let mut pool = Pool::new(layout(5), Groups::both(10), 4);
    let mut blocks = begin(&mut pool, extent(40));
    for start in (0..16).step_by(4) {
        cover(&mut pool, &mut blocks, start..start + 4);
    }
    // The token at 12 meets those from 8 on.
    let tables = blocks.tables();
    assert_eq!(tables.global, [0, 1, 2, 3]);
    assert_eq!(tables.windowed, [NOWHERE, NOWHERE, 0, 1]);
    for start in (16..40).step_by(4) {
        cover(&mut pool, &mut blocks, start..start + 4);
    }
    // The memory of the others was never touched.
    assert_eq!(blocks.tables().windowed[8..], [0, 1]);
    assert_eq!(pool.groups.windowed.holders().len(), 2);
}

#[test]
fn the_window_of_a_place_to_go_back_to_stays() {
    let mut pool = Pool::new(layout(4), Groups::both(20), 4);
    let extent = Extent {
        longest: 60,
        back_to: Some(13),
    };
    let mut blocks = begin(&mut pool, extent);
    let positions = [0..4, 4..8, 8..12, 12..13, 13..17, 17..21, 21..25, 25..29];
    for positions in positions {
        cover(&mut pool, &mut blocks, positions);
    }
    let table = blocks.tables().windowed;
    // Tokens 10 to 12 are met by the one at 13, and 22 to 24 by the one at 25.
    let held = |place: &usize| table[*place] != NOWHERE;
    let places: Vec<usize> = (0..table.len()).filter(held).collect();
    assert_eq!(places, [2, 3, 5, 6, 7]);
    let kept = table[2..4].to_vec();
    pool.go_back(&mut blocks);
    cover(&mut pool, &mut blocks, 13..17);
    let table = blocks.tables().windowed;
    assert_eq!((table.len(), &table[2..4]), (5, &kept[..]));
    pool.give_back(blocks);
    assert_eq!((pool.used(), pool.groups.windowed.free()), (0, 20));
}

#[test]
fn what_may_be_replaced_is_not_found_by_others() {
    let mut pool = Pool::new(layout(4), Groups::both(20), 8);
    let extent = Extent {
        longest: 16,
        back_to: Some(6),
    };
    let mut blocks = begin(&mut pool, extent);
    cover(&mut pool, &mut blocks, 0..8);
    pool.computed(&mut blocks, &named(1, 2), 8);
    assert_eq!(pool.find(&named(1, 2)).tokens(), 4);
}

#[test]
fn the_longest_sequence_follows_from_the_group_with_less_room() {
    let capacity = |layout, global, windowed| {
        let total = Groups { global, windowed };
        Pool::new(layout, total, 4).capacity_tokens()
    };
    assert_eq!(capacity(global(), 10, 0), 40);
    // A window of five and a step of four lie in three blocks, a place to go back to in two more.
    assert_eq!(capacity(layout(5), 10, 5), 40);
    assert_eq!(capacity(layout(5), 10, 4), 16);
    let all_windowed = BlockLayout {
        layers: Groups {
            global: 0,
            windowed: 1,
        },
        ..layout(5)
    };
    assert_eq!(capacity(all_windowed, 0, 5), usize::MAX);
}

#[test]
fn blocks_are_counted_by_the_layers_that_they_are_of() {
    let layers = Groups {
        global: 2,
        windowed: 5,
    };
    let layout = BlockLayout {
        layers,
        ..layout(4)
    };
    let mut pool = Pool::new(layout, Groups::both(10), 4);
    let mut held = begin(&mut pool, extent(40));
    for start in (0..12).step_by(4) {
        cover(&mut pool, &mut held, start..start + 4);
    }
    // A window of four before the token at 8 reaches into one block more.
    assert_eq!((pool.used(), pool.total()), (2 * 3 + 5 * 2, 70));
}

/// What is done to sequences in turn: one begins, or one goes on, goes back or ends.
#[derive(Debug, Clone)]
enum Act {
    Begin {
        name: u32,
        longest: usize,
        back_to: Option<usize>,
    },
    GoOn {
        which: usize,
        count: usize,
    },
    GoBack {
        which: usize,
    },
    End {
        which: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0_u32..3, 1_usize..60, prop::option::of(1_usize..60))
            .prop_map(|(name, longest, back_to)| Act::Begin { name, longest, back_to }),
        8 => (any::<usize>(), 1_usize..=7).prop_map(|(which, count)| Act::GoOn { which, count }),
        1 => any::<usize>().prop_map(|which| Act::GoBack { which }),
        2 => any::<usize>().prop_map(|which| Act::End { which }),
    ]
}

/// A sequence of the property test.
struct Held {
    blocks: Blocks,
    keys: Vec<Key>,
    done: usize,
}

impl Pool {
    /// Every block is free, or held by as many of `all` as have it in their tables, and none of them
    /// has more than was foreseen.
    pub(crate) fn assert_held_by<'a>(&self, all: impl IntoIterator<Item = &'a Blocks> + Clone) {
        for group in self.present() {
            let mut left = self.groups.of(group).holders();
            for blocks in all.clone() {
                let entries = *blocks.tables().of(group);
                let entries = entries.iter().filter(|block| **block != NOWHERE);
                let most = self.layout.most(blocks.extent, self.step_tokens);
                assert!(entries.clone().count() <= *most.of(group), "{group}");
                entries.for_each(|block| left[*block as usize] -= 1);
            }
            assert!(left.iter().all(|left| *left == 0), "{group}");
        }
    }
}

proptest! {
    #[test]
    fn no_block_is_lost_or_freed_early_and_what_is_met_is_held(
        acts in prop::collection::vec(act(), 0..120),
        (window, windowed_only) in (1_usize..20, any::<bool>()),
    ) {
        let mut layout = layout(window);
        layout.layers.global = usize::from(!windowed_only);
        let mut pool = Pool::new(layout, Groups { global: 30, windowed: 20 }, 7);
        let mut held: Vec<Held> = Vec::new();
        for act in acts {
            let count = held.len().max(1);
            match act {
                Act::Begin { name, longest, back_to } => {
                    let extent = Extent { longest, back_to: back_to.filter(|to| *to <= longest) };
                    let keys = named(name, longest / 4);
                    let first = extent.back_to.unwrap_or(longest) / 4;
                    let hit = pool.find(&keys[..first.min(keys.len())]);
                    let done = hit.tokens();
                    held.push(Held { blocks: pool.begin(extent, &hit), keys, done });
                }
                Act::GoOn { which, count: tokens } => if let Some(Held { blocks, keys, done }) = held.get_mut(which % count) {
                    let extent = blocks.extent();
                    let end = extent.longest.min(*done + tokens);
                    let end = *done + pool.room(blocks, &(*done..end));
                    pool.cover(blocks, &(*done..end));
                    for group in pool.present() {
                        let met = layout.first_met(group, *done) / 4..end.div_ceil(4);
                        let table = *blocks.tables().of(group);
                        prop_assert!(table.len() >= met.end);
                        prop_assert!(*done == end || !table[met].contains(&NOWHERE));
                    }
                    pool.computed(blocks, keys, end);
                    *done = end;
                },
                Act::GoBack { which } => if let Some(Held { blocks, done, .. }) = held.get_mut(which % count)
                    && let Some(to) = blocks.extent().back_to.filter(|to| *to <= *done)
                {
                    pool.go_back(blocks);
                    *done = to;
                },
                Act::End { which } => if !held.is_empty() {
                    pool.give_back(held.swap_remove(which % count).blocks);
                },
            }
            pool.assert_held_by(held.iter().map(|held| &held.blocks));
        }
    }
}
