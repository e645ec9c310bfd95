//! Decides which tokens of which sequences the next step computes. Touches no tensor.
//!
//! Invariants: a sequence runs only with blocks for all it may ever hold, so a running one never
//! waits for memory; sequences begin in the order they came; every running sequence with tokens
//! left is in each plan until the plan is full, those that write before those that read.

use std::{collections::VecDeque, ops::Range};

use crate::blocks::{Blocks, Pool};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// What the next step computes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BatchPlan {
    pub chunks: Vec<Chunk>,
}

/// Some tokens of one sequence, by their positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub sequence: SequenceId,
    pub positions: Range<usize>,
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_sequences: usize,
    /// The most tokens in one step. A long prompt is read in chunks of at most this many, so that
    /// sequences that write go on in between.
    pub step_tokens: usize,
}

#[derive(Debug)]
pub struct Schedule {
    limits: Limits,
    pool: Pool,
    waiting: VecDeque<Waiting>,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Waiting {
    id: SequenceId,
    known: usize,
    longest: usize,
}

#[derive(Debug)]
struct Running {
    id: SequenceId,
    blocks: Blocks,
    computed: usize,
    known: usize,
}

impl Running {
    fn left(&self) -> usize {
        self.known - self.computed
    }
}

impl Schedule {
    pub fn new(limits: Limits, pool: Pool) -> Self {
        Self {
            limits,
            pool,
            waiting: VecDeque::new(),
            running: Vec::new(),
        }
    }

    /// Queues a sequence of `known` tokens that will never have more than `longest`, which must fit
    /// into the pool.
    pub fn add(&mut self, id: SequenceId, known: usize, longest: usize) {
        assert!(
            known <= longest && longest <= self.pool.capacity_tokens(),
            "a sequence that can never run was queued"
        );
        self.waiting.push_back(Waiting { id, known, longest });
    }

    /// Lets waiting sequences begin, in order, while there is room.
    pub fn admit(&mut self) {
        while self.running.len() < self.limits.max_sequences {
            let Some(next) = self.waiting.front() else {
                return;
            };
            let Some(blocks) = self.pool.take(next.longest) else {
                return;
            };
            self.running.push(Running {
                id: next.id,
                blocks,
                computed: 0,
                known: next.known,
            });
            self.waiting.pop_front();
        }
    }

    pub fn plan(&self) -> BatchPlan {
        let mut room = self.limits.step_tokens;
        let writing = self.running.iter().filter(|s| s.left() == 1);
        let reading = self.running.iter().filter(|s| s.left() > 1);
        let mut chunks = Vec::new();
        for sequence in writing.chain(reading) {
            let count = sequence.left().min(room);
            if count == 0 {
                break;
            }
            room -= count;
            chunks.push(Chunk {
                sequence: sequence.id,
                positions: sequence.computed..sequence.computed + count,
            });
        }
        BatchPlan { chunks }
    }

    /// The tokens of `chunk` are in key-value memory now.
    pub fn computed(&mut self, chunk: &Chunk) {
        let sequence = self.running_mut(chunk.sequence);
        debug_assert_eq!(sequence.computed, chunk.positions.start);
        sequence.computed = chunk.positions.end;
    }

    /// One more token of a sequence is known.
    pub fn extend(&mut self, id: SequenceId) {
        self.running_mut(id).known += 1;
    }

    /// Goes back to the first `computed` tokens of a sequence and on from there to `known`.
    pub fn branch(&mut self, id: SequenceId, computed: usize, known: usize) {
        let sequence = self.running_mut(id);
        debug_assert!(computed <= sequence.computed && computed <= known);
        sequence.computed = computed;
        sequence.known = known;
    }

    /// Forgets a sequence, wherever it is, and frees its blocks.
    pub fn remove(&mut self, id: SequenceId) {
        self.waiting.retain(|sequence| sequence.id != id);
        if let Some(index) = self.running.iter().position(|s| s.id == id) {
            let sequence = self.running.remove(index);
            self.pool.give_back(sequence.blocks);
        }
    }

    /// The blocks of a running sequence.
    pub fn block_table(&self, id: SequenceId) -> &[u32] {
        self.running
            .iter()
            .find(|sequence| sequence.id == id)
            .map_or(&[], |sequence| sequence.blocks.table())
    }

    pub fn running(&self) -> usize {
        self.running.len()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    fn running_mut(&mut self, id: SequenceId) -> &mut Running {
        self.running
            .iter_mut()
            .find(|sequence| sequence.id == id)
            .expect("only sequences of the last plan are moved on, and those run")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(max_sequences: usize, step_tokens: usize, blocks: u32) -> Schedule {
        let limits = Limits {
            max_sequences,
            step_tokens,
        };
        Schedule::new(limits, Pool::new(blocks, 4))
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
        schedule.add(SequenceId(1), 3, 10);
        assert_eq!(step(&mut schedule), [(1, 0..3)]);
        schedule.extend(SequenceId(1));
        schedule.add(SequenceId(2), 12, 20);
        assert_eq!(step(&mut schedule), [(1, 3..4), (2, 0..7)]);
        schedule.extend(SequenceId(1));
        assert_eq!(step(&mut schedule), [(1, 4..5), (2, 7..12)]);
        assert_eq!(step(&mut schedule), []);
    }

    #[test]
    fn a_sequence_waits_until_all_it_may_need_is_free() {
        let mut schedule = schedule(8, 64, 4);
        schedule.add(SequenceId(1), 1, 12);
        schedule.add(SequenceId(2), 1, 8);
        schedule.add(SequenceId(3), 1, 1);
        assert_eq!(step(&mut schedule), [(1, 0..1)]);
        assert_eq!((schedule.running(), schedule.waiting()), (1, 2));
        schedule.remove(SequenceId(1));
        assert_eq!(step(&mut schedule), [(2, 0..1), (3, 0..1)]);
    }

    #[test]
    fn a_branch_computes_again_only_what_differs() {
        let mut schedule = schedule(1, 64, 4);
        schedule.add(SequenceId(1), 7, 9);
        assert_eq!(step(&mut schedule), [(1, 0..7)]);
        schedule.branch(SequenceId(1), 5, 9);
        assert_eq!(step(&mut schedule), [(1, 5..9)]);
    }

    #[test]
    fn a_removed_sequence_frees_its_blocks_or_its_place_in_the_queue() {
        let mut schedule = schedule(1, 64, 4);
        schedule.add(SequenceId(1), 2, 9);
        schedule.add(SequenceId(2), 2, 9);
        step(&mut schedule);
        assert_eq!(schedule.pool().used(), 3);
        schedule.remove(SequenceId(2));
        schedule.remove(SequenceId(1));
        assert_eq!(schedule.pool().used(), 0);
        assert_eq!(step(&mut schedule), []);
    }

    proptest! {
        #[test]
        fn every_sequence_is_served_and_no_plan_is_too_big(
            sequences in prop::collection::vec((1_usize..30, 0_usize..6), 1..12),
            max_sequences in 1_usize..5,
            step_tokens in 1_usize..20,
        ) {
            let mut schedule = schedule(max_sequences, step_tokens, 10);
            let mut to_write: Vec<usize> = sequences.iter().map(|s| s.1).collect();
            for (id, (prompt, written)) in sequences.iter().enumerate() {
                schedule.add(SequenceId(id as u64), *prompt, prompt + written);
            }
            for _ in 0..2000 {
                schedule.admit();
                let plan = schedule.plan();
                if plan.chunks.is_empty() {
                    break;
                }
                let tokens: usize = plan.chunks.iter().map(|c| c.positions.len()).sum();
                prop_assert!(tokens <= step_tokens);
                for chunk in &plan.chunks {
                    schedule.computed(chunk);
                    let index = chunk.sequence.0 as usize;
                    let (prompt, written) = sequences[index];
                    let known = prompt + written - to_write[index];
                    prop_assert!(chunk.positions.end <= known);
                    let blocks = schedule.block_table(chunk.sequence).len();
                    prop_assert!(chunk.positions.end <= blocks * 4);
                    if chunk.positions.end < known {
                        continue;
                    }
                    if to_write[index] == 0 {
                        schedule.remove(chunk.sequence);
                    } else {
                        to_write[index] -= 1;
                        schedule.extend(chunk.sequence);
                    }
                }
            }
            prop_assert_eq!((schedule.running(), schedule.waiting()), (0, 0));
            prop_assert_eq!(schedule.pool().used(), 0);
        }
    }
}
