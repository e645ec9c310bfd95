//! Sequences of several tenants at random, in as little memory as they may need.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use weir_model::Group;

use super::{replay::Record, *};

/// One sequence: what it knows at first, and then its further tokens one by one, or endings each of
/// which takes the place of the one before.
#[derive(Debug, Clone)]
pub struct Story {
    tenant: u64,
    prompt: Vec<u32>,
    /// The first of the prompt whose row is wanted, where there are endings.
    from: usize,
    written: usize,
    endings: Vec<usize>,
    arrives: usize,
    /// So many steps after it arrived.
    leaves: Option<usize>,
}

impl Story {
    fn extent(&self) -> Extent {
        let ending = self.endings.iter().max().copied();
        Extent {
            longest: self.prompt.len() + ending.unwrap_or(self.written),
            back_to: ending.map(|_| self.prompt.len()),
        }
    }

    fn needed(&self) -> usize {
        match self.endings.is_empty() {
            true => self.prompt.len() - 1,
            false => self.from % self.prompt.len(),
        }
    }
}

/// Prompts begin alike, more often than not.
fn prompt() -> impl Strategy<Value = Vec<u32>> {
    (0_u32..3, 0_usize..26, 1_usize..10, 0_u32..4).prop_map(|(begins, shared, own, name)| {
        let shared = (0..shared as u32).map(|at| 10 * begins + at % 3);
        shared.chain(vec![100 + name; own]).collect()
    })
}

fn story() -> impl Strategy<Value = Story> {
    let endings = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec(1_usize..20, 1..4),
    ];
    let times = (0_usize..30, prop::option::weighted(0.2, 0_usize..30));
    (0_u64..3, prompt(), 0_usize..40, 0_usize..20, endings, times).prop_map(
        |(tenant, prompt, from, written, endings, (arrives, leaves))| Story {
            tenant,
            prompt,
            from,
            written,
            endings,
            arrives,
            leaves,
        },
    )
}

/// How sequences are served.
#[derive(Debug, Clone)]
pub struct World {
    pub limits: Limits,
    pub layout: BlockLayout,
    pub blocks: Groups<usize>,
    stories: Vec<Story>,
}

pub fn world() -> impl Strategy<Value = World> {
    let stories = prop::collection::vec(story(), 1..14);
    let limits = (1_usize..6, 0_usize..20, prop::bool::weighted(0.8));
    let memory = (prop::option::of(1_usize..24), 0_usize..8);
    (stories, limits, memory).prop_map(|(stories, (max_sequences, more, prefix_cache), memory)| {
        let limits = Limits {
            max_sequences,
            step_tokens: max_sequences + more,
            prefix_cache,
        };
        let layout = layout(memory.0);
        // As few as the largest of them needs, or some more.
        let endless = Extent {
            longest: 60,
            back_to: Some(0),
        };
        let extents = stories.iter().map(Story::extent).chain([endless]);
        let mut blocks = Groups::both(0);
        for most in extents.map(|extent| layout.most(extent, limits.step_tokens)) {
            blocks = Groups::each(|group| (*most.of(group)).max(*blocks.of(group)));
        }
        blocks = Groups::each(|group| blocks.of(group) + memory.1);
        World {
            limits,
            layout,
            blocks,
            stories,
        }
    })
}

/// What lies in one place of memory: all that it follows from.
type Mark = u64;

fn after(mark: Mark, token: u32) -> Mark {
    (mark ^ u64::from(token).wrapping_add(1))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(23)
}

/// A story as far as it has come.
struct Told {
    tokens: Vec<u32>,
    begun: usize,
}

impl Told {
    fn marks(&self, story: &Story) -> Vec<Mark> {
        let mut mark = story.tenant + 1;
        let tokens = self.tokens.iter();
        tokens
            .map(|token| {
                mark = after(mark, *token);
                mark
            })
            .collect()
    }
}

/// Runs the stories of a world, and checks each step.
pub struct Run<'a> {
    world: &'a World,
    pub record: Record,
    memory: Groups<Vec<Mark>>,
    told: BTreeMap<u64, Told>,
    ended: BTreeSet<u64>,
}

impl<'a> Run<'a> {
    pub fn new(world: &'a World) -> Self {
        Self {
            world,
            record: Record::new(world),
            memory: Groups::each(|group| vec![0; world.blocks.of(group) * BLOCK_TOKENS]),
            told: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    /// To the end of all stories, which must come.
    pub fn all(mut self) -> Self {
        for time in 0.. {
            self.come_and_go(time);
            self.record.admit();
            self.assert_whole();
            self.step();
            self.assert_whole();
            if self.ended.len() == self.world.stories.len() {
                break;
            }
            assert!(time < 5000, "somebody waits for ever");
        }
        let schedule = &self.record.schedule;
        assert_eq!((schedule.running(), schedule.waiting()), (0, 0));
        assert_eq!(schedule.pool().used(), 0);
        self
    }

    fn come_and_go(&mut self, time: usize) {
        for (id, story) in (0..).zip(&self.world.stories) {
            if story.arrives == time {
                self.told.insert(
                    id,
                    Told {
                        tokens: story.prompt.clone(),
                        begun: 0,
                    },
                );
                self.record.add(Arrival {
                    id: SequenceId(id),
                    tenant: tenant(story.tenant),
                    seed: tenant(story.tenant).0,
                    tokens: &story.prompt,
                    needed: story.needed(),
                    extent: story.extent(),
                });
            }
            let leaves = story.leaves.map(|after| story.arrives + after);
            if leaves == Some(time) && self.ended.insert(id) {
                self.record.remove(SequenceId(id));
            }
        }
    }

    fn step(&mut self) {
        let writing: Vec<SequenceId> = self.writing().collect();
        let plan = self.record.plan();
        let tokens: usize = plan.chunks.iter().map(|c| c.positions.len()).sum();
        assert!(tokens <= self.world.limits.step_tokens);
        let Schedule { running, pool, .. } = &mut self.record.schedule;
        let first = running.first().map(|first| first.id);
        assert_eq!(first, plan.chunks.first().map(|chunk| chunk.sequence));
        let planned: Vec<SequenceId> = plan.chunks.iter().map(|c| c.sequence).collect();
        for sequence in running {
            if writing.contains(&sequence.id) && !planned.contains(&sequence.id) {
                let next = sequence.computed..sequence.computed + 1;
                let room = pool.room(&mut sequence.blocks, &next);
                assert_eq!(
                    room, 0,
                    "a sequence that writes is left out only for memory"
                );
            }
        }
        for chunk in &plan.chunks {
            self.compute(chunk);
        }
        for chunk in &plan.chunks {
            self.record.computed(chunk);
            self.go_on(chunk);
        }
    }

    fn writing(&self) -> impl Iterator<Item = SequenceId> {
        let running = self.record.schedule.running.iter();
        running.filter(|one| one.left() == 1).map(|one| one.id)
    }

    /// Writes a chunk, and checks that each of its tokens finds all that it meets, and that nobody
    /// else holds what is written.
    fn compute(&mut self, chunk: &Chunk) {
        let (id, schedule) = (chunk.sequence, &self.record.schedule);
        let marks = self.told[&id.0].marks(&self.world.stories[id.0 as usize]);
        assert!(chunk.positions.end <= marks.len());
        for group in Group::ALL {
            if !self.world.layout.has(group) {
                continue;
            }
            let table = *schedule.block_tables(id).of(group);
            let place = |position: usize| {
                table[position / BLOCK_TOKENS] as usize * BLOCK_TOKENS + position % BLOCK_TOKENS
            };
            let places = self.memory.of_mut(group);
            for position in chunk.positions.clone() {
                places[place(position)] = marks[position];
                let block = table[position / BLOCK_TOKENS];
                let others = schedule.running.iter().filter(|other| other.id != id);
                for other in others {
                    let held = other.blocks.tables().of(group).contains(&block);
                    assert!(
                        !held,
                        "{group} block {block} is written while others hold it"
                    );
                }
            }
            for position in chunk.positions.clone() {
                for met in self.world.layout.first_met(group, position)..=position {
                    assert_eq!(
                        places[place(met)],
                        marks[met],
                        "{group} {position} meets {met}"
                    );
                }
            }
        }
    }

    fn go_on(&mut self, chunk: &Chunk) {
        let id = chunk.sequence;
        let story = &self.world.stories[id.0 as usize];
        let mark = self.told[&id.0].marks(story)[chunk.positions.end - 1];
        let Some(told) = self.told.get_mut(&id.0) else {
            return;
        };
        if chunk.positions.end < told.tokens.len() {
            return;
        }
        let prompt = story.prompt.len();
        if let Some(ending) = story.endings.get(told.begun) {
            told.begun += 1;
            told.tokens.truncate(prompt);
            told.tokens.extend(vec![1000 + told.begun as u32; *ending]);
            self.record.branch(id, told.tokens.len());
        } else if story.endings.is_empty() && told.tokens.len() < prompt + story.written {
            // What is written follows from all before it, so that equal prompts go on alike.
            let token = 200 + (mark % 5) as u32;
            told.tokens.push(token);
            self.record.extend(id, token);
        } else {
            self.record.remove(id);
            self.ended.insert(id.0);
        }
    }

    fn assert_whole(&self) {
        let schedule = &self.record.schedule;
        let running = schedule.running.iter();
        schedule
            .pool
            .assert_held_by(running.map(|sequence| &sequence.blocks));
        assert!(schedule.running() <= self.world.limits.max_sequences);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_sequence_is_served_and_finds_all_that_it_meets(world in world()) {
        Run::new(&world).all();
    }

    /// Of tenants that all have sequences waiting, none is ahead of another by more than those that
    /// run at once may take.
    #[test]
    fn tenants_that_wait_are_served_alike(
        sequences in prop::collection::vec((0_u64..3, 1_usize..30, 0_usize..10), 1..60),
        max_sequences in 1_usize..5,
    ) {
        let limits = Limits { max_sequences, step_tokens: 16, prefix_cache: false };
        let mut schedule = Schedule::new(limits, layout(None), Groups::both(64));
        for (id, (name, known, written)) in (0..).zip(&sequences) {
            schedule.add(Arrival {
                id: SequenceId(id),
                tenant: tenant(*name),
                seed: tenant(*name).0,
                tokens: &vec![1; *known],
                needed: known - 1,
                extent: extent(known + written),
            });
        }
        let mut served = [0_usize; 3];
        let mut waiting = [0_usize; 3];
        sequences.iter().for_each(|(name, ..)| waiting[*name as usize] += 1);
        let mut left: Vec<usize> = sequences.iter().map(|(.., written)| *written).collect();
        while schedule.running() + schedule.waiting() > 0 {
            for begun in schedule.admit() {
                let (name, known, _) = sequences[begun.sequence.0 as usize];
                served[name as usize] += known;
                waiting[name as usize] -= 1;
            }
            let most = max_sequences * 40;
            for (one, other) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
                let ahead = served[one].saturating_sub(served[other]);
                prop_assert!(waiting[one] == 0 || waiting[other] == 0 || ahead <= most, "{served:?}");
            }
            for chunk in schedule.plan().chunks {
                let index = chunk.sequence.0 as usize;
                schedule.computed(&chunk);
                if chunk.positions.end < sequences[index].1 {
                    continue;
                }
                if left[index] > 0 {
                    left[index] -= 1;
                    served[sequences[index].0 as usize] += 1;
                    schedule.extend(chunk.sequence, 1);
                } else {
                    schedule.remove(chunk.sequence);
                }
            }
        }
    }
}
