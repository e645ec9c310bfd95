//! Who begins, and with which blocks that were computed before.
//!
//! A sequence begins where there is room for what is known of it and a block more, beside what those
//! that run will take soon, so that it is not preempted for what could be foreseen. Where another is
//! just computing the block that it would begin with, it waits for that one: it would get no token of
//! the step before it anyway, and finds the block computed then. So the choices of one request share
//! their prompt, and a hundred conversations what they all begin with.

use weir_model::Groups;

use super::{Running, Schedule, SequenceId, Waiting, keys, turns::Turn};
use crate::blocks::{Hit, Key};

/// A sequence that began, for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    pub sequence: SequenceId,
    /// Tokens that were found computed.
    pub cached_tokens: usize,
}

impl Waiting {
    /// Of the blocks that others may have computed for it.
    fn shareable(&self, block_tokens: usize) -> &[Key] {
        let back_to = self.extent.back_to.unwrap_or(self.known);
        let tokens = self.needed.min(self.known.saturating_sub(1)).min(back_to);
        let keys = keys(self.chain.as_ref());
        &keys[..keys.len().min(tokens / block_tokens)]
    }
}

/// Where a sequence waits.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The first of those that were preempted.
    Preempted,
    Turn(Turn),
}

impl Schedule {
    /// Lets waiting sequences begin, each in its turn, while there is room.
    pub fn admit(&mut self) -> Vec<Begun> {
        let mut begun = Vec::new();
        while self.running.len() < self.limits.max_sequences {
            let Some(place) = self.next() else { break };
            let next = self.waiting_at(place);
            let hit = self.pool.find(next.shareable(self.pool.block_tokens()));
            let others = self.wanted();
            if !self.pool.has_room(next.extent, next.known, &hit, others) {
                break;
            }
            begun.extend(self.begin(place, &hit));
        }
        begun
    }

    /// Whoever was preempted has had its turn and comes back before anybody else.
    fn next(&self) -> Option<Place> {
        match self.preempted.front() {
            Some(first) => (!self.is_underway(first)).then_some(Place::Preempted),
            None => {
                let turn = self.turns.next(|waiting| !self.is_underway(waiting));
                turn.map(Place::Turn)
            }
        }
    }

    fn waiting_at(&self, place: Place) -> &Waiting {
        match place {
            Place::Preempted => &self.preempted[0],
            Place::Turn(turn) => self.turns.at(turn),
        }
    }

    /// Whether another sequence is just computing the block that this one would begin with.
    fn is_underway(&self, waiting: &Waiting) -> bool {
        let block_tokens = self.pool.block_tokens();
        let shareable = waiting.shareable(block_tokens);
        self.running.iter().any(|other| {
            let next = other.computed / block_tokens;
            let wanted = shareable.get(next);
            wanted.is_some() && wanted == other.keys().get(next)
        })
    }

    /// What those that run will take soon.
    fn wanted(&self) -> Groups<usize> {
        let mut sum = Groups::both(0);
        for sequence in &self.running {
            let wanted = self.pool.wanting(&sequence.blocks, sequence.known);
            sum.global += wanted.global;
            sum.windowed += wanted.windowed;
        }
        sum
    }

    /// Says so where the sequence begins for the first time.
    fn begin(&mut self, place: Place, hit: &Hit) -> Option<Begun> {
        let (waiting, is_new) = match place {
            Place::Preempted => (self.preempted.pop_front()?, false),
            Place::Turn(turn) => (self.turns.begin(turn, hit.tokens())?, true),
        };
        self.running.push(Running {
            id: waiting.id,
            tenant: waiting.tenant,
            blocks: self.pool.begin(waiting.extent, hit),
            computed: hit.tokens(),
            known: waiting.known,
            needed: waiting.needed,
            chain: waiting.chain,
        });
        if !is_new {
            return None;
        }
        self.counts.queried_tokens += waiting.known as u64;
        self.counts.hit_tokens += hit.tokens() as u64;
        Some(Begun {
            sequence: waiting.id,
            cached_tokens: hit.tokens(),
        })
    }
}
