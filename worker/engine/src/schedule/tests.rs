//! What a step computes, and that it finds all that it meets.

use proptest::prelude::*;

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
    };
    Schedule::new(limits, layout(None), Groups::both(blocks))
}

fn extent(longest: usize) -> Extent {
    Extent {
        longest,
        back_to: None,
    }
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

#[test]
fn a_long_prompt_is_read_in_chunks_while_another_sequence_writes() {
    let mut schedule = schedule(2, 8, 16);
    schedule.add(SequenceId(1), 3, extent(10));
    assert_eq!(step(&mut schedule), [(1, 0..3)]);
    schedule.extend(SequenceId(1));
    schedule.add(SequenceId(2), 12, extent(20));
    assert_eq!(step(&mut schedule), [(1, 3..4), (2, 0..7)]);
    schedule.extend(SequenceId(1));
    assert_eq!(step(&mut schedule), [(1, 4..5), (2, 7..12)]);
    assert_eq!(step(&mut schedule), []);
}

#[test]
fn a_sequence_waits_until_all_it_may_need_is_free() {
    let mut schedule = schedule(8, 64, 4);
    schedule.add(SequenceId(1), 1, extent(12));
    schedule.add(SequenceId(2), 1, extent(8));
    schedule.add(SequenceId(3), 1, extent(1));
    assert_eq!(step(&mut schedule), [(1, 0..1)]);
    assert_eq!((schedule.running(), schedule.waiting()), (1, 2));
    schedule.remove(SequenceId(1));
    assert_eq!(step(&mut schedule), [(2, 0..1), (3, 0..1)]);
}

#[test]
fn a_branch_computes_again_only_what_differs() {
    let mut schedule = schedule(1, 64, 4);
    let extent = Extent {
        longest: 9,
        back_to: Some(5),
    };
    schedule.add(SequenceId(1), 5, extent);
    assert_eq!(step(&mut schedule), [(1, 0..5)]);
    schedule.branch(SequenceId(1), 7);
    assert_eq!(step(&mut schedule), [(1, 5..7)]);
    schedule.branch(SequenceId(1), 9);
    assert_eq!(step(&mut schedule), [(1, 5..9)]);
}

#[test]
fn a_removed_sequence_frees_its_blocks_or_its_place_in_the_queue() {
    let mut schedule = schedule(1, 64, 4);
    schedule.add(SequenceId(1), 2, extent(9));
    schedule.add(SequenceId(2), 2, extent(9));
    step(&mut schedule);
    assert_eq!(schedule.pool().used(), 3);
    schedule.remove(SequenceId(2));
    schedule.remove(SequenceId(1));
    assert_eq!(schedule.pool().used(), 0);
    assert_eq!(step(&mut schedule), []);
}

/// One sequence of the property test: what it knows at first, and then its further tokens one by
/// one, or endings each of which takes the place of the one before.
#[derive(Debug, Clone)]
struct Story {
    known: usize,
    written: usize,
    endings: Vec<usize>,
}

impl Story {
    fn extent(&self) -> Extent {
        let ending = self.endings.iter().max().copied();
        Extent {
            longest: self.known + ending.unwrap_or(self.written),
            back_to: ending.map(|_| self.known),
        }
    }
}

fn story() -> impl Strategy<Value = Story> {
    let endings = prop_oneof![Just(Vec::new()), prop::collection::vec(1_usize..30, 1..4)];
    (1_usize..30, 0_usize..20, endings).prop_map(|(known, written, endings)| Story {
        known,
        written,
        endings,
    })
}

/// Who wrote a place in a block: the sequence, the position, and which of its endings.
type Mark = (usize, usize, usize);

/// Key-value memory that remembers who wrote what.
struct Memory {
    layout: BlockLayout,
    places: Groups<Vec<Option<Mark>>>,
}

impl Memory {
    /// Writes a chunk, and checks that each of its tokens finds all that it meets.
    fn compute(&mut self, schedule: &Schedule, chunk: &Chunk, ending_from: Option<(usize, usize)>) {
        let index = chunk.sequence.0 as usize;
        let mark = |position| {
            let ending = ending_from.filter(|(_, from)| position >= *from);
            (index, position, ending.map_or(0, |(ending, _)| ending))
        };
        for group in weir_model::Group::ALL {
            if !self.layout.has(group) {
                continue;
            }
            let table = *schedule.block_tables(chunk.sequence).of(group);
            let place = |position: usize| {
                table[position / BLOCK_TOKENS] as usize * BLOCK_TOKENS + position % BLOCK_TOKENS
            };
            let places = self.places.of_mut(group);
            for position in chunk.positions.clone() {
                places[place(position)] = Some(mark(position));
            }
            for position in chunk.positions.clone() {
                for met in self.layout.first_met(group, position)..=position {
                    assert_eq!(places[place(met)], Some(mark(met)), "{group} {position}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn every_sequence_is_served_and_finds_all_that_it_meets(
        stories in prop::collection::vec(story(), 1..12),
        (max_sequences, step_tokens) in (1_usize..5, 1_usize..20),
        window in prop::option::of(1_usize..24),
    ) {
        let layout = layout(window);
        // As few as the largest of them needs.
        let most = stories.iter().map(|story| layout.most(story.extent(), step_tokens));
        let endless = Extent { longest: 60, back_to: Some(0) };
        let blocks = most.fold(layout.most(endless, step_tokens), |a, b| Groups {
            global: a.global.max(b.global),
            windowed: a.windowed.max(b.windowed),
        });
        let limits = Limits { max_sequences, step_tokens };
        let mut schedule = Schedule::new(limits, layout, blocks);
        let mut memory = Memory {
            layout,
            places: Groups::each(|group| vec![None; blocks.of(group) * BLOCK_TOKENS]),
        };
        // How far each has come: tokens known, and the endings that were begun.
        let mut now: Vec<(usize, usize)> = stories.iter().map(|story| (story.known, 0)).collect();
        for (id, story) in stories.iter().enumerate() {
            schedule.add(SequenceId(id as u64), story.known, story.extent());
        }
        for _ in 0..4000 {
            schedule.admit();
            let plan = schedule.plan();
            if plan.chunks.is_empty() {
                break;
            }
            let tokens: usize = plan.chunks.iter().map(|c| c.positions.len()).sum();
            prop_assert!(tokens <= step_tokens);
            for chunk in &plan.chunks {
                let index = chunk.sequence.0 as usize;
                let (story, (known, begun)) = (&stories[index], &mut now[index]);
                prop_assert!(chunk.positions.end <= *known);
                memory.compute(&schedule, chunk, (*begun > 0).then_some((*begun, story.known)));
                schedule.computed(chunk);
                if chunk.positions.end < *known {
                    continue;
                }
                if let Some(ending) = story.endings.get(*begun) {
                    *known = story.known + ending;
                    *begun += 1;
                    schedule.branch(chunk.sequence, *known);
                } else if story.endings.is_empty() && *known < story.known + story.written {
                    *known += 1;
                    schedule.extend(chunk.sequence);
                } else {
                    schedule.remove(chunk.sequence);
                }
            }
        }
        prop_assert_eq!((schedule.running(), schedule.waiting()), (0, 0));
        prop_assert_eq!(schedule.pool().used(), 0);
    }
}
