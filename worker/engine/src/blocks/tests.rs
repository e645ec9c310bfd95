//! Who holds which block, step by step and at random.

use proptest::prelude::*;

use super::*;

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

#[test]
fn a_sequence_that_needs_more_than_is_free_gets_nothing() {
    let mut pool = Pool::new(global(), Groups::both(4), 8);
    let held = pool.admit(extent(9)).unwrap();
    assert!(pool.admit(extent(5)).is_none());
    assert_eq!((pool.used(), pool.total()), (3, 4));
    pool.give_back(held);
    assert_eq!(pool.used(), 0);
}

#[test]
fn a_sequence_needs_room_in_both_groups() {
    let totals = |global, windowed| Groups { global, windowed };
    let admits = |totals| Pool::new(layout(4), totals, 4).admit(extent(40)).is_some();
    // Ten blocks, and those that a window of four and a step of four may lie in.
    assert!(admits(totals(10, 3)));
    assert!(!admits(totals(9, 3)));
    assert!(!admits(totals(10, 2)));
}

#[test]
fn the_block_that_was_freed_first_is_used_first_and_one_that_never_was_last() {
    let mut pool = Pool::new(global(), Groups::both(3), 8);
    let mut held = [(); 2].map(|()| pool.admit(extent(4)).unwrap());
    for blocks in &mut held {
        pool.cover(blocks, &(0..4));
    }
    let [first, second] = held;
    pool.give_back(second);
    pool.give_back(first);
    let mut all = pool.admit(extent(12)).unwrap();
    pool.cover(&mut all, &(0..8));
    pool.cover(&mut all, &(8..12));
    assert_eq!(all.tables().global, [1, 0, 2]);
}

#[test]
fn what_a_window_has_passed_is_given_back_and_used_again() {
    let mut pool = Pool::new(layout(5), Groups::both(10), 4);
    let mut blocks = pool.admit(extent(40)).unwrap();
    for start in (0..16).step_by(4) {
        pool.cover(&mut blocks, &(start..start + 4));
    }
    // The token at 12 meets those from 8 on.
    let tables = blocks.tables();
    assert_eq!(tables.global, [0, 1, 2, 3]);
    assert_eq!(tables.windowed, [NOWHERE, NOWHERE, 0, 1]);
    for start in (16..40).step_by(4) {
        pool.cover(&mut blocks, &(start..start + 4));
    }
    // The memory of the others was never touched.
    assert_eq!(blocks.tables().windowed[8..], [0, 1]);
    assert_eq!(pool.groups.windowed.unused, 2);
}

#[test]
fn the_window_of_a_place_to_go_back_to_stays() {
    let mut pool = Pool::new(layout(4), Groups::both(20), 4);
    let mut blocks = pool
        .admit(Extent {
            longest: 60,
            back_to: Some(13),
        })
        .unwrap();
    let positions = [0..4, 4..8, 8..12, 12..13, 13..17, 17..21, 21..25, 25..29];
    for positions in positions {
        pool.cover(&mut blocks, &positions);
    }
    let table = blocks.tables().windowed;
    // Tokens 10 to 12 are met by the one at 13, and 22 to 24 by the one at 25.
    let held = |place: &usize| table[*place] != NOWHERE;
    let places: Vec<usize> = (0..table.len()).filter(held).collect();
    assert_eq!(places, [2, 3, 5, 6, 7]);
    let kept = table[2..4].to_vec();
    pool.go_back(&mut blocks);
    pool.cover(&mut blocks, &(13..17));
    let table = blocks.tables().windowed;
    assert_eq!((table.len(), &table[2..4]), (5, &kept[..]));
    pool.give_back(blocks);
    assert_eq!(
        (pool.used(), pool.groups.windowed.free.len()),
        (0, pool.groups.windowed.unused as usize)
    );
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
    let _held = pool.admit(extent(40)).unwrap();
    assert_eq!((pool.used(), pool.total()), (2 * 10 + 5 * 3, 70));
}

/// What is done to sequences in turn: one begins, or one goes on, goes back or ends.
#[derive(Debug, Clone)]
enum Act {
    Begin {
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
        1 => (1_usize..60, prop::option::of(1_usize..60))
            .prop_map(|(longest, back_to)| Act::Begin { longest, back_to }),
        6 => (any::<usize>(), 1_usize..=7).prop_map(|(which, count)| Act::GoOn { which, count }),
        1 => any::<usize>().prop_map(|which| Act::GoBack { which }),
        1 => any::<usize>().prop_map(|which| Act::End { which }),
    ]
}

/// Every block is free or held by one sequence, and none holds more than was promised to it.
fn assert_whole(pool: &Pool, held: &[(Blocks, usize)]) {
    for group in pool.present() {
        let share = pool.groups.of(group);
        let mut seen: Vec<u32> = share.free.iter().copied().collect();
        seen.extend(share.unused..share.total as u32);
        for (blocks, _) in held {
            let table = blocks.tables.of(group);
            let entries = table.entries.iter().filter(|block| **block != NOWHERE);
            let before = seen.len();
            seen.extend(entries);
            assert_eq!(seen.len() - before, table.held, "{group}");
            assert!(table.held <= table.promised, "{group}");
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..share.total as u32).collect::<Vec<_>>(), "{group}");
        let promised: usize = held
            .iter()
            .map(|(blocks, _)| blocks.tables.of(group).promised)
            .sum();
        assert_eq!(promised, share.promised, "{group}");
    }
}

proptest! {
    #[test]
    fn no_block_is_held_twice_or_lost_and_what_is_met_is_held(
        acts in prop::collection::vec(act(), 0..120),
        (window, windowed_only) in (1_usize..20, any::<bool>()),
    ) {
        let mut layout = layout(window);
        layout.layers.global = usize::from(!windowed_only);
        let mut pool = Pool::new(layout, Groups { global: 30, windowed: 20 }, 7);
        let mut held: Vec<(Blocks, usize)> = Vec::new();
        for act in acts {
            let count = held.len().max(1);
            match act {
                Act::Begin { longest, back_to } => {
                    let back_to = back_to.filter(|to| *to <= longest);
                    let blocks = pool.admit(Extent { longest, back_to });
                    held.extend(blocks.map(|blocks| (blocks, 0)));
                }
                Act::GoOn { which, count: tokens } => if let Some((blocks, done)) = held.get_mut(which % count) {
                    let extent = blocks.extent();
                    // Nothing is computed beyond the place to go back to before it is reached.
                    let bound = extent.back_to.filter(|to| *done < *to).unwrap_or(extent.longest);
                    let end = bound.min(*done + tokens);
                    pool.cover(blocks, &(*done..end));
                    for group in pool.present() {
                        let met = layout.first_met(group, *done) / 4..end.div_ceil(4);
                        let table = *blocks.tables().of(group);
                        prop_assert!(table.len() >= met.end);
                        prop_assert!(*done == end || !table[met].contains(&NOWHERE));
                    }
                    *done = end;
                },
                Act::GoBack { which } => if let Some((blocks, done)) = held.get_mut(which % count)
                    && let Some(to) = blocks.extent().back_to.filter(|to| *to <= *done)
                {
                    pool.go_back(blocks);
                    *done = to;
                },
                Act::End { which } => if !held.is_empty() {
                    pool.give_back(held.swap_remove(which % count).0);
                },
            }
            assert_whole(&pool, &held);
        }
    }
}
