//! What a step computes, who begins when, and who gives way.

mod random;
mod replay;

use super::*;

const BLOCK_TOKENS: usize = 4;

fn layout(window: Option<usize>) -> BlockLayout {
    BlockLayout {
        block_tokens: BLOCK_TOKENS,
        layers: Groups {
            global: 1,
            windowed: usize::from(window.is_some()),
        },
        window: window.unwrap_or_default(),
    }
}

fn schedule(max_sequences: usize, step_tokens: usize, blocks: usize) -> Schedule {
    let limits = Limits {
        max_sequences,
        step_tokens,
        prefix_cache: true,
    };
    Schedule::new(limits, layout(None), Groups::both(blocks))
}

fn extent(longest: usize) -> Extent {
    Extent {
        longest,
        back_to: None,
    }
}

fn tenant(name: u64) -> Tenant {
    Tenant(Key::of(&[&name.to_le_bytes()]))
}

/// A sequence of `tenant` that writes after these tokens.
fn add_of(schedule: &mut Schedule, id: u64, name: u64, tokens: &[u32], longest: usize) {
    schedule.add(Arrival {
        id: SequenceId(id),
        tenant: tenant(name),
        seed: tenant(name).0,
        tokens,
        needed: tokens.len() - 1,
        extent: extent(longest),
    });
}

/// One of the only tenant, whose tokens are like no other's.
fn add(schedule: &mut Schedule, id: u64, known: usize, longest: usize) {
    add_of(schedule, id, 0, &vec![id as u32; known], longest);
}

fn step(schedule: &mut Schedule) -> Vec<(u64, Range<usize>)> {
    schedule.admit();
    let plan = schedule.plan();
    for chunk in &plan.chunks {
        schedule.computed(chunk);
    }
    plan.chunks
        .into_iter()
        .map(|chunk| (chunk.sequence.0, chunk.positions))
        .collect()
}

/// The same, where every sequence that is complete writes a token.
fn write(schedule: &mut Schedule) -> Vec<(u64, Range<usize>)> {
    let chunks = step(schedule);
    for (id, _) in &chunks {
        let id = SequenceId(*id);
        if schedule.running[schedule.index(id)].left() == 0 {
            schedule.extend(id, 1000);
        }
    }
    chunks
}

#[test]
fn a_long_prompt_is_read_in_chunks_while_another_sequence_writes() {
    let mut schedule = schedule(2, 8, 16);
    add(&mut schedule, 1, 3, 10);
    assert_eq!(write(&mut schedule), [(1, 0..3)]);
    add(&mut schedule, 2, 12, 20);
    assert_eq!(write(&mut schedule), [(1, 3..4), (2, 0..7)]);
    assert_eq!(write(&mut schedule), [(1, 4..5), (2, 7..12)]);
    assert_eq!(write(&mut schedule), [(1, 5..6), (2, 12..13)]);
}

#[test]
fn prompts_are_read_in_the_order_in_which_they_began() {
    let mut schedule = schedule(4, 8, 16);
    add(&mut schedule, 1, 12, 12);
    add(&mut schedule, 2, 3, 3);
    add(&mut schedule, 3, 9, 9);
    assert_eq!(step(&mut schedule), [(1, 0..8)]);
    assert_eq!(step(&mut schedule), [(1, 8..12), (2, 0..3), (3, 0..1)]);
}

#[test]
fn a_sequence_waits_until_what_is_known_of_it_has_room() {
    let mut schedule = schedule(8, 64, 4);
    add(&mut schedule, 1, 5, 16);
    add(&mut schedule, 2, 5, 8);
    add(&mut schedule, 3, 1, 1);
    assert_eq!(step(&mut schedule), [(1, 0..5)]);
    assert_eq!((schedule.running(), schedule.waiting()), (1, 2));
    schedule.remove(SequenceId(1));
    assert_eq!(step(&mut schedule), [(2, 0..5), (3, 0..1)]);
}

#[test]
fn the_sequence_that_began_last_gives_way_and_comes_back_before_a_new_one() {
    let mut schedule = schedule(8, 64, 4);
    add(&mut schedule, 1, 3, 16);
    add(&mut schedule, 2, 3, 16);
    assert_eq!(write(&mut schedule), [(1, 0..3), (2, 0..3)]);
    for position in 3..8 {
        let next = position..position + 1;
        assert_eq!(write(&mut schedule), [(1, next.clone()), (2, next)]);
    }
    assert_eq!(write(&mut schedule), [(1, 8..9)]);
    assert_eq!(schedule.counts().preemptions, 1);
    add(&mut schedule, 3, 1, 1);
    assert_eq!(write(&mut schedule), [(1, 9..10)]);
    assert_eq!((schedule.running(), schedule.waiting()), (1, 2));
    schedule.remove(SequenceId(1));
    // Of its blocks the first was not used meanwhile.
    assert_eq!(write(&mut schedule), [(2, 4..9)]);
    schedule.remove(SequenceId(2));
    assert_eq!(write(&mut schedule), [(3, 0..1)]);
}

#[test]
fn a_sequence_that_none_began_after_waits_for_room_with_what_it_has() {
    let mut schedule = schedule(8, 64, 5);
    add(&mut schedule, 1, 3, 16);
    add(&mut schedule, 2, 8, 16);
    assert_eq!(write(&mut schedule), [(1, 0..3), (2, 0..8)]);
    for position in 3..7 {
        let chunks = write(&mut schedule);
        assert_eq!(chunks[1], (2, position + 5..position + 6));
    }
    assert_eq!(write(&mut schedule), [(1, 7..8)]);
    assert_eq!(schedule.counts().preemptions, 0);
    schedule.remove(SequenceId(1));
    assert_eq!(write(&mut schedule), [(2, 12..13)]);
}

#[test]
fn a_branch_computes_again_only_what_differs() {
    let mut schedule = schedule(1, 64, 4);
    let extent = Extent {
        longest: 9,
        back_to: Some(5),
    };
    schedule.add(Arrival {
        id: SequenceId(1),
        tenant: tenant(0),
        seed: tenant(0).0,
        tokens: &[1; 5],
        needed: 2,
        extent,
    });
    assert_eq!(step(&mut schedule), [(1, 0..5)]);
    schedule.branch(SequenceId(1), 7);
    assert_eq!(step(&mut schedule), [(1, 5..7)]);
    schedule.branch(SequenceId(1), 9);
    assert_eq!(step(&mut schedule), [(1, 5..9)]);
}

#[test]
fn a_removed_sequence_frees_its_blocks_or_its_place_in_the_queue() {
    let mut schedule = schedule(1, 64, 4);
    add(&mut schedule, 1, 5, 9);
    add(&mut schedule, 2, 2, 9);
    step(&mut schedule);
    assert_eq!(schedule.pool().used(), 2);
    schedule.remove(SequenceId(2));
    schedule.remove(SequenceId(1));
    assert_eq!((schedule.pool().used(), schedule.waiting()), (0, 0));
    assert_eq!(step(&mut schedule), []);
}

#[test]
fn whole_blocks_that_were_computed_are_not_computed_again() {
    let mut schedule = schedule(4, 64, 16);
    add_of(&mut schedule, 1, 0, &[1, 2, 3, 4, 5, 6, 7, 8, 9], 20);
    assert_eq!(step(&mut schedule), [(1, 0..9)]);
    schedule.remove(SequenceId(1));
    add_of(&mut schedule, 2, 0, &[1, 2, 3, 4, 5, 6, 7, 8, 9], 20);
    add_of(&mut schedule, 3, 0, &[1, 2, 3, 4, 5, 6, 7, 8], 20);
    add_of(&mut schedule, 4, 0, &[1, 2, 3, 4, 0, 6, 7, 8, 9], 20);
    // At least one token of each is computed.
    assert_eq!(step(&mut schedule), [(2, 8..9), (3, 4..8), (4, 4..9)]);
    let counts = schedule.counts();
    assert_eq!((counts.queried_tokens, counts.hit_tokens), (35, 16));
}

#[test]
fn what_was_written_is_found_too() {
    let mut schedule = schedule(4, 64, 16);
    add_of(&mut schedule, 1, 0, &[1, 2, 3], 20);
    for _ in 0..6 {
        write(&mut schedule);
    }
    schedule.remove(SequenceId(1));
    add_of(
        &mut schedule,
        2,
        0,
        &[1, 2, 3, 1000, 1000, 1000, 1000, 1000, 5],
        20,
    );
    assert_eq!(step(&mut schedule), [(2, 8..9)]);
}

#[test]
fn nothing_is_shared_across_tenants_or_without_a_cache() {
    let tokens = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    let mut schedule = schedule(4, 64, 16);
    add_of(&mut schedule, 1, 0, &tokens, 20);
    step(&mut schedule);
    add_of(&mut schedule, 2, 1, &tokens, 20);
    assert_eq!(step(&mut schedule), [(2, 0..9)]);
    let limits = Limits {
        prefix_cache: false,
        ..schedule.limits
    };
    let mut plain = Schedule::new(limits, layout(None), Groups::both(16));
    for id in [1, 2] {
        add_of(&mut plain, id, 0, &tokens, 20);
    }
    assert_eq!(step(&mut plain), [(1, 0..9), (2, 0..9)]);
}

#[test]
fn rows_that_are_needed_are_computed_whatever_is_cached() {
    let mut schedule = schedule(4, 64, 16);
    let tokens = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];
    add_of(&mut schedule, 1, 0, &tokens, 20);
    step(&mut schedule);
    let arrival = Arrival {
        id: SequenceId(2),
        tenant: tenant(0),
        seed: tenant(0).0,
        tokens: &tokens,
        needed: 6,
        extent: extent(20),
    };
    schedule.add(arrival);
    assert_eq!(step(&mut schedule), [(2, 4..13)]);
}

#[test]
fn whoever_begins_like_one_that_is_being_read_waits_for_it() {
    let mut schedule = schedule(4, 4, 32);
    let prompt: Vec<u32> = (0..9).collect();
    for id in 1..=3 {
        add_of(&mut schedule, id, 0, &prompt, 20);
    }
    // It begins like them for one block only.
    add_of(&mut schedule, 4, 0, &[0, 1, 2, 3, 9, 9, 9, 9, 9], 20);
    assert_eq!(step(&mut schedule), [(1, 0..4)]);
    assert_eq!((schedule.running(), schedule.waiting()), (1, 3));
    assert_eq!(step(&mut schedule), [(1, 4..8)]);
    assert_eq!((schedule.running(), schedule.waiting()), (2, 2));
    let chunks = step(&mut schedule);
    assert_eq!(chunks, [(1, 8..9), (4, 4..5), (2, 8..9), (3, 8..9)]);
}

#[test]
fn tenants_take_turns_by_the_tokens_that_they_were_served() {
    let mut schedule = schedule(1, 64, 16);
    for id in 1..=4 {
        add_of(&mut schedule, id, 1, &[id as u32; 10], 20);
    }
    add_of(&mut schedule, 5, 2, &[5; 4], 20);
    add_of(&mut schedule, 6, 2, &[6; 4], 20);
    add_of(&mut schedule, 7, 2, &[7; 4], 20);
    let mut order = Vec::new();
    while let [(id, _)] = step(&mut schedule)[..] {
        order.push(id);
        schedule.remove(SequenceId(id));
    }
    // Ten tokens of the first are answered by twelve of the second.
    assert_eq!(order, [1, 5, 6, 7, 2, 3, 4]);
}

#[test]
fn a_tenant_that_comes_back_has_saved_up_nothing() {
    let mut schedule = schedule(1, 64, 16);
    add_of(&mut schedule, 1, 1, &[1; 40], 64);
    add_of(&mut schedule, 2, 1, &[2; 40], 64);
    step(&mut schedule);
    add_of(&mut schedule, 3, 2, &[3; 10], 64);
    add_of(&mut schedule, 4, 2, &[4; 10], 64);
    schedule.remove(SequenceId(1));
    // Lifted to the forty of the other, and a draw goes to who came first.
    assert_eq!(step(&mut schedule), [(2, 0..40)]);
    schedule.remove(SequenceId(2));
    assert_eq!(step(&mut schedule), [(3, 0..10)]);
}

#[test]
fn whoever_came_first_is_not_passed_over_for_ever() {
    let mut schedule = schedule(1, 64, 16);
    add_of(&mut schedule, 0, 0, &[1; 40], 64);
    step(&mut schedule);
    // Of a tenant that was served much, while new ones come all the time.
    add_of(&mut schedule, 1, 0, &[1; 4], 64);
    add_of(&mut schedule, 2, 2, &[2; 4], 64);
    schedule.turns.charge(tenant(0), 1_000_000);
    let mut running = 0;
    for id in 3..1000 {
        add_of(&mut schedule, id, id, &[3; 4], 64);
        schedule.remove(SequenceId(running));
        let [(next, _)] = step(&mut schedule)[..] else {
            panic!("one runs");
        };
        running = next;
        if running == 1 {
            return;
        }
    }
    panic!("it never began");
}
