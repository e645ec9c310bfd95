//! The thread that owns the model: takes work, runs steps, sends what comes of them.
//!
//! Invariants: nobody else touches the model or its key-value memory; work whose receiver is gone
//! is forgotten before the next step, with its blocks; the thread waits for nothing but work.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::mpsc::{Receiver, TryRecvError},
};

use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::{
    blocks::Key,
    engine::Load,
    request::{Origin, Work},
    row::Row,
    schedule::{Arrival, BatchPlan, Chunk, Schedule, SequenceId, Tenant},
    sequence::{Next, Sequence},
    step::{Part, Step, StepError},
};

/// Rows of logits that are there at the same time, where no more sequences write: a row of a large
/// vocabulary takes a megabyte, and a step may read 256 tokens of a prompt that is scored.
const ROWS_AT_ONCE: usize = 64;

/// Work with its place in the queue, which it gives up when it is dropped.
pub(crate) struct Submitted {
    pub work: Work,
    pub place: OwnedSemaphorePermit,
}

pub(crate) struct ModelThread {
    step: Step,
    schedule: Schedule,
    sequences: BTreeMap<SequenceId, Sequence>,
    next_id: u64,
    inbox: Receiver<Submitted>,
    load: watch::Sender<Load>,
    context_tokens: usize,
}

impl ModelThread {
    /// No sequence may be longer than `context_tokens`, which must fit into the schedule's pool.
    pub fn new(
        step: Step,
        schedule: Schedule,
        inbox: Receiver<Submitted>,
        load: watch::Sender<Load>,
        context_tokens: usize,
    ) -> Self {
        Self {
            context_tokens,
            step,
            schedule,
            sequences: BTreeMap::new(),
            next_id: 0,
            inbox,
            load,
        }
    }

    /// Runs until every [`Engine`](crate::Engine) is gone and nothing is left to do.
    pub fn run(mut self) -> Result<(), StepError> {
        while self.receive() {
            self.turn()?;
        }
        Ok(())
    }

    /// One step of those that are there, and of those that begin.
    fn turn(&mut self) -> Result<(), StepError> {
        self.forget_cancelled();
        for begun in self.schedule.admit() {
            if let Some(sequence) = self.sequences.get_mut(&begun.sequence) {
                sequence.begin(begun.cached_tokens);
            }
        }
        self.publish();
        let plan = self.schedule.plan();
        self.compute(&plan)?;
        self.publish();
        Ok(())
    }

    /// Takes what has come; waits for something if there is nothing to do.
    fn receive(&mut self) -> bool {
        if self.sequences.is_empty() {
            match self.inbox.recv() {
                Ok(submitted) => self.begin(submitted),
                Err(_) => return false,
            }
        }
        loop {
            match self.inbox.try_recv() {
                Ok(submitted) => self.begin(submitted),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn begin(&mut self, submitted: Submitted) {
        let sequence = Sequence::new(submitted.work, submitted.place, self.context_tokens);
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        self.schedule.add(Arrival {
            id,
            tenant: Tenant(Key::of(&[sequence.origin.tenant.as_bytes()])),
            seed: self.seed(&sequence.origin),
            tokens: &sequence.tokens,
            needed: sequence.needed(),
            extent: sequence.extent(),
        });
        self.sequences.insert(id, sequence);
    }

    /// What keys and values follow from beside a sequence's tokens, and whose they are. The model's
    /// digest tells its rope too, where the length of the context chose it.
    fn seed(&self, origin: &Origin) -> Key {
        let facts = self.step.facts();
        Key::of(&[
            facts.digest.as_bytes(),
            facts.key_value_type.as_bytes(),
            origin.adapter_digest().as_bytes(),
            origin.tenant.as_bytes(),
        ])
    }

    fn forget_cancelled(&mut self) {
        let schedule = &mut self.schedule;
        self.sequences.retain(|id, sequence| {
            let keep = !sequence.is_cancelled();
            if !keep {
                schedule.remove(*id);
            }
            keep
        });
    }

    /// Runs one step and moves every sequence of the plan on by what came of it.
    fn compute(&mut self, plan: &BatchPlan) -> Result<(), StepError> {
        if plan.chunks.is_empty() {
            return Ok(());
        }
        let parts: Vec<Part<'_>> = plan
            .chunks
            .iter()
            .map(|chunk| part(&self.sequences, &self.schedule, chunk))
            .collect();
        let wanted: Vec<Range<usize>> = parts.iter().map(|part| part.wanted.clone()).collect();
        let outputs = self.step.run(&parts)?;
        let mut after = self.read_rows(plan, &wanted, &outputs);
        self.read_states(plan, &mut after);
        for (chunk, next) in plan.chunks.iter().zip(after) {
            self.schedule.computed(chunk);
            self.go_on(chunk.sequence, next);
        }
        Ok(())
    }

    /// Gives every sequence of the plan its rows, some at a time, and says how it goes on.
    fn read_rows(
        &mut self,
        plan: &BatchPlan,
        wanted: &[Range<usize>],
        outputs: &[u32],
    ) -> Vec<Next> {
        let mut after: Vec<Next> = plan.chunks.iter().map(|_| Next::on()).collect();
        let rows = wanted.iter().enumerate().flat_map(|(index, positions)| {
            let positions = positions.clone();
            positions.map(move |position| (index, position))
        });
        let rows: Vec<(usize, usize)> = rows.collect();
        let at_once = ROWS_AT_ONCE.max(plan.chunks.len());
        for (rows, outputs) in rows.chunks(at_once).zip(outputs.chunks(at_once)) {
            let logits = self.step.logits(outputs);
            let mut next_row = 0;
            for own in rows.chunk_by(|one, other| one.0 == other.0) {
                let (index, first) = own[0];
                let own: Vec<Row<'_>> = (next_row..next_row + own.len())
                    .map(|row| Row::new(logits.row(row), logits.summary(row)))
                    .collect();
                next_row += own.len();
                let sequence = self.sequences.get_mut(&plan.chunks[index].sequence);
                if let (Some(sequence), false) = (sequence, matches!(after[index], Next::Over)) {
                    after[index] = sequence.take(first, &own);
                }
            }
        }
        after
    }

    /// Gives every sequence of the plan that makes a vector its states.
    fn read_states(&mut self, plan: &BatchPlan, after: &mut [Next]) {
        let (mut wanted, mut tokens, mut start) = (Vec::new(), Vec::new(), 0);
        for (index, chunk) in plan.chunks.iter().enumerate() {
            let first = chunk.positions.start;
            if let Some(sequence) = self.sequences.get(&chunk.sequence) {
                for position in sequence.wanted_states(&chunk.positions) {
                    wanted.push((index, position));
                    tokens.push((start + position - first) as u32);
                }
            }
            start += chunk.positions.len();
        }
        if tokens.is_empty() {
            return;
        }
        for ((index, position), state) in wanted.into_iter().zip(self.step.states(&tokens)) {
            if let Some(sequence) = self.sequences.get_mut(&plan.chunks[index].sequence) {
                after[index] = sequence.take_state(position, state);
            }
        }
    }

    fn go_on(&mut self, id: SequenceId, next: Next) {
        let Some(sequence) = self.sequences.get_mut(&id) else {
            return;
        };
        match next {
            Next::Tokens(tokens) => {
                for token in tokens {
                    sequence.tokens.push(token);
                    self.schedule.extend(id, token);
                }
            }
            Next::Branch { shared, tokens } => {
                sequence.tokens.truncate(shared);
                sequence.tokens.extend(tokens);
                self.schedule.branch(id, sequence.tokens.len());
            }
            Next::Over => {
                self.sequences.remove(&id);
                self.schedule.remove(id);
            }
        }
    }

    fn publish(&self) {
        let counts = self.schedule.counts();
        let now = Load {
            running: self.schedule.running() as u32,
            waiting: self.schedule.waiting() as u32,
            blocks_used: self.schedule.pool().used(),
            blocks_total: self.schedule.pool().total(),
            preemptions: counts.preemptions,
            queried_tokens: counts.queried_tokens,
            hit_tokens: counts.hit_tokens,
        };
        self.load.send_if_modified(|load| {
            let changed = *load != now;
            *load = now;
            changed
        });
    }
}

/// What a step is to compute of one sequence.
fn part<'a>(
    sequences: &'a BTreeMap<SequenceId, Sequence>,
    schedule: &'a Schedule,
    chunk: &Chunk,
) -> Part<'a> {
    let sequence = &sequences[&chunk.sequence];
    Part {
        tokens: &sequence.tokens[chunk.positions.clone()],
        first_position: chunk.positions.start,
        block_tables: schedule.block_tables(chunk.sequence),
        adapter: sequence.origin.adapter.as_deref(),
        wanted: sequence.wanted(&chunk.positions),
    }
}

#[cfg(test)]
mod tests;
