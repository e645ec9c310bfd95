//! Decides which tokens of which sequences the next step computes. Touches no tensor.
//!
//! Invariants: a sequence runs only where all the blocks that it may ever hold are promised to it, so
//! a running one never waits for memory; sequences begin in the order they came; every running
//! sequence with tokens left is in each plan until the plan is full, those that write before those
//! that read; what a plan's tokens meet lies in the blocks of their sequences.

use std::{collections::VecDeque, ops::Range};

use weir_model::{BlockLayout, Extent, Groups};

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
    extent: Extent,
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
    /// With so many blocks in each group.
    pub fn new(limits: Limits, layout: BlockLayout, blocks: Groups<usize>) -> Self {
        Self {
            limits,
            pool: Pool::new(layout, blocks, limits.step_tokens),
            waiting: VecDeque::new(),
            running: Vec::new(),
        }
    }

    /// Queues a sequence of `known` tokens. The longest that it may become must fit into the pool.
    pub fn add(&mut self, id: SequenceId, known: usize, extent: Extent) {
        assert!(
            known <= extent.longest && extent.longest <= self.pool.capacity_tokens(),
            "a sequence that can never run was queued"
        );
        self.waiting.push_back(Waiting { id, known, extent });
    }

    /// Lets waiting sequences begin, in order, while there is room.
    pub fn admit(&mut self) {
        while self.running.len() < self.limits.max_sequences {
            let Some(next) = self.waiting.front() else {
                return;
            };
            let Some(blocks) = self.pool.admit(next.extent) else {
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

    /// The next step, whose tokens have blocks from now on.
    pub fn plan(&mut self) -> BatchPlan {
        let mut room = self.limits.step_tokens;
        let (writing, reading): (Vec<&mut Running>, Vec<&mut Running>) = self
            .running
            .iter_mut()
            .filter(|sequence| sequence.left() > 0)
            .partition(|sequence| sequence.left() == 1);
        let mut chunks = Vec::new();
        for sequence in writing.into_iter().chain(reading) {
            let count = sequence.left().min(room);
            if count == 0 {
                break;
            }
            room -= count;
            let positions = sequence.computed..sequence.computed + count;
            self.pool.cover(&mut sequence.blocks, &positions);
            chunks.push(Chunk {
                sequence: sequence.id,
                positions,
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

    /// Goes back to where the sequence's extent says that it may, and on from there to `known`.
    pub fn branch(&mut self, id: SequenceId, known: usize) {
        let index = self.index(id);
        let sequence = &mut self.running[index];
        let back_to = sequence.blocks.extent().back_to;
        let back_to = back_to.expect("only sequences that said so go back");
        debug_assert!(back_to <= sequence.computed && back_to <= known);
        self.pool.go_back(&mut sequence.blocks);
        sequence.computed = back_to;
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
    pub fn block_tables(&self, id: SequenceId) -> Groups<&[u32]> {
        self.running[self.index(id)].blocks.tables()
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
        let index = self.index(id);
        &mut self.running[index]
    }

    fn index(&self, id: SequenceId) -> usize {
        let index = self.running.iter().position(|sequence| sequence.id == id);
        index.expect("only sequences of the last plan are moved on, and those run")
    }
}

#[cfg(test)]
mod tests;
