//! Decides which tokens of which sequences the next step computes. Touches no tensor, no clock and
//! no chance: the same calls give the same plans.
//!
//! Invariants: whoever runs is kept in the order in which it first began, and whoever was preempted
//! began after all who run; the first of them always goes on, so that each in turn comes to its
//! end; every running sequence that writes is in each plan for which there is room in memory, and
//! those that read share what is left of its tokens; what a plan's tokens meet lies in the blocks of
//! their sequences.

mod admission;
mod planning;
mod turns;

use std::{collections::VecDeque, ops::Range};

use weir_model::{BlockLayout, Extent, Groups};

use self::turns::Turns;
use crate::blocks::{Blocks, Chain, Key, Pool};

/// Ids grow in the order in which sequences come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// Whoever sequences are of that take turns with those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenant(pub Key);

/// What the next step computes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
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
    /// At most `step_tokens`, so that each of them moves on with every step.
    pub max_sequences: usize,
    /// The most tokens in one step. A long prompt is read in chunks of at most this many, so that
    /// sequences that write go on in between.
    pub step_tokens: usize,
    /// Whether sequences that begin alike share what is computed of that.
    pub prefix_cache: bool,
}

/// A sequence that comes.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    pub id: SequenceId,
    pub tenant: Tenant,
    /// Tells apart what must not be shared, whatever the tokens.
    pub seed: Key,
    pub tokens: &'a [u32],
    /// The first position whose logits are needed: it is computed, whatever was before.
    pub needed: usize,
    pub extent: Extent,
}

/// What happened so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Sequences whose blocks were taken from them before they were done.
    pub preemptions: u64,
    /// Tokens of sequences that began, and how many of them were computed before.
    pub queried_tokens: u64,
    pub hit_tokens: u64,
}

#[derive(Debug)]
pub struct Schedule {
    limits: Limits,
    pool: Pool,
    turns: Turns,
    /// Those that come back before anybody new begins, first begun first.
    preempted: VecDeque<Waiting>,
    running: Vec<Running>,
    counts: Counts,
}

/// A sequence without blocks.
#[derive(Debug)]
struct Waiting {
    id: SequenceId,
    tenant: Tenant,
    known: usize,
    needed: usize,
    extent: Extent,
    chain: Option<Chain>,
}

#[derive(Debug)]
struct Running {
    id: SequenceId,
    tenant: Tenant,
    blocks: Blocks,
    computed: usize,
    known: usize,
    needed: usize,
    chain: Option<Chain>,
}

impl Running {
    fn left(&self) -> usize {
        self.known - self.computed
    }

    /// Whether somebody waits for what it computes next: the row after its last token, or after those
    /// that an answer's form has forced.
    fn writes(&self) -> bool {
        self.left() == 1 || (self.left() > 0 && self.computed >= self.needed)
    }

    fn keys(&self) -> &[Key] {
        keys(self.chain.as_ref())
    }
}

fn keys(chain: Option<&Chain>) -> &[Key] {
    chain.map_or(&[], Chain::keys)
}

impl Schedule {
    /// With so many blocks in each group.
    pub fn new(limits: Limits, layout: BlockLayout, blocks: Groups<usize>) -> Self {
        assert!(
            limits.max_sequences <= limits.step_tokens,
            "a step has no token for each sequence"
        );
        Self {
            limits,
            pool: Pool::new(layout, blocks, limits.step_tokens),
            turns: Turns::default(),
            preempted: VecDeque::new(),
            running: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Queues a sequence. The longest that it may become must fit into the pool.
    pub fn add(&mut self, arrival: Arrival<'_>) {
        let Arrival { tokens, extent, .. } = arrival;
        assert!(
            tokens.len() <= extent.longest && extent.longest <= self.pool.capacity_tokens(),
            "a sequence that can never run was queued"
        );
        let chain = || Chain::new(arrival.seed, self.pool.block_tokens(), tokens);
        self.turns.join(Waiting {
            id: arrival.id,
            tenant: arrival.tenant,
            known: tokens.len(),
            needed: arrival.needed,
            extent,
            chain: self.limits.prefix_cache.then(chain),
        });
    }

    /// The tokens of `chunk` are in key-value memory now.
    pub fn computed(&mut self, chunk: &Chunk) {
        let index = self.index(chunk.sequence);
        let sequence = &mut self.running[index];
        debug_assert_eq!(sequence.computed, chunk.positions.start);
        sequence.computed = chunk.positions.end;
        let keys = keys(sequence.chain.as_ref());
        self.pool
            .computed(&mut sequence.blocks, keys, sequence.computed);
    }

    /// One more token of a sequence is known.
    pub fn extend(&mut self, id: SequenceId, token: u32) {
        let index = self.index(id);
        let sequence = &mut self.running[index];
        sequence.known += 1;
        if let Some(chain) = &mut sequence.chain {
            chain.push(token);
        }
        self.turns.charge(sequence.tenant, 1);
    }

    /// Goes back to where the sequence's extent says that it may, and on from there to `known`.
    pub fn branch(&mut self, id: SequenceId, known: usize) {
        let index = self.index(id);
        let sequence = &mut self.running[index];
        let back_to = sequence.blocks.extent().back_to;
        let back_to = back_to.expect("only a sequence that may go back does");
        debug_assert!(back_to <= sequence.computed);
        self.pool.go_back(&mut sequence.blocks);
        sequence.computed = back_to;
        sequence.known = known;
        self.turns.charge(sequence.tenant, known - back_to);
    }

    /// Forgets a sequence, wherever it is, and frees its blocks.
    pub fn remove(&mut self, id: SequenceId) {
        if let Some(index) = self.running.iter().position(|s| s.id == id) {
            let sequence = self.running.remove(index);
            self.pool.give_back(sequence.blocks);
            self.turns.end(sequence.tenant);
        } else if let Some(index) = self.preempted.iter().position(|s| s.id == id) {
            if let Some(sequence) = self.preempted.remove(index) {
                self.turns.end(sequence.tenant);
            }
        } else {
            self.turns.leave(id);
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
        self.turns.waiting() + self.preempted.len()
    }

    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn index(&self, id: SequenceId) -> usize {
        let index = self.running.iter().position(|sequence| sequence.id == id);
        index.expect("only sequences of the last plan are moved on, and those run")
    }
}

#[cfg(test)]
mod tests;
