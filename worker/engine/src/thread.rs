//! The thread that owns the model: takes work, runs steps, sends what comes of them.
//!
//! Invariants: nobody else touches the model or its key-value memory; work whose receiver is gone
//! is forgotten before the next step, with its blocks; the thread waits for nothing but work.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::mpsc::{Receiver, TryRecvError},
};

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use weir_model::Extent;

use crate::{
    engine::Load,
    request::Work,
    row::Row,
    schedule::{BatchPlan, Chunk, Schedule, SequenceId},
    score::Scorer,
    step::{Part, Step, StepError},
    write::Writer,
};

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

/// A sequence in the making.
struct Sequence {
    tokens: Vec<u32>,
    job: Job,
    _place: OwnedSemaphorePermit,
}

enum Job {
    Write(Box<Writer>),
    Score(Scorer, Option<oneshot::Sender<Vec<f64>>>),
}

/// How a sequence goes on after a step.
enum Next {
    /// More tokens are known; none where there are tokens left to compute.
    Tokens(Vec<u32>),
    /// Back to the first `shared` tokens, and on from there.
    Branch {
        shared: usize,
        tokens: Vec<u32>,
    },
    Over,
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
            self.forget_cancelled();
            self.schedule.admit();
            self.publish();
            let plan = self.schedule.plan();
            self.compute(&plan)?;
            self.publish();
        }
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
        let (tokens, extent, job) = match submitted.work {
            Work::Write(begun, tx) => {
                let writer = Writer::new(*begun, tx, self.context_tokens);
                let extent = Extent {
                    longest: writer.longest(),
                    back_to: None,
                };
                (writer.tokens(), extent, Job::Write(Box::new(writer)))
            }
            Work::Score(scoring, tx) => {
                let scorer = Scorer::new(scoring);
                let tokens = scorer.shared_tokens().to_vec();
                let extent = Extent {
                    longest: scorer.longest(),
                    back_to: Some(tokens.len()),
                };
                (tokens, extent, Job::Score(scorer, Some(tx)))
            }
        };
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        self.schedule.add(id, tokens.len(), extent);
        let sequence = Sequence {
            tokens,
            job,
            _place: submitted.place,
        };
        self.sequences.insert(id, sequence);
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
        let logits = self.step.run(&parts)?;
        let mut next_row = 0;
        let mut after = Vec::with_capacity(plan.chunks.len());
        for (chunk, wanted) in plan.chunks.iter().zip(wanted) {
            let rows: Vec<Row<'_>> = (next_row..next_row + wanted.len())
                .map(|row| Row::new(logits.row(row), logits.summary(row)))
                .collect();
            next_row += wanted.len();
            if let Some(sequence) = self.sequences.get_mut(&chunk.sequence) {
                after.push(sequence.take(chunk, wanted.start, &rows));
            }
        }
        for (chunk, next) in plan.chunks.iter().zip(after) {
            self.schedule.computed(chunk);
            self.go_on(chunk.sequence, next);
        }
        Ok(())
    }

    fn go_on(&mut self, id: SequenceId, next: Next) {
        let Some(sequence) = self.sequences.get_mut(&id) else {
            return;
        };
        match next {
            Next::Tokens(tokens) => {
                for token in tokens {
                    sequence.tokens.push(token);
                    self.schedule.extend(id);
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
        let now = Load {
            running: self.schedule.running() as u32,
            waiting: self.schedule.waiting() as u32,
            blocks_used: self.schedule.pool().used(),
            blocks_total: self.schedule.pool().total(),
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
        wanted: sequence.wanted(&chunk.positions),
    }
}

impl Sequence {
    fn is_cancelled(&self) -> bool {
        match &self.job {
            Job::Write(writer) => writer.is_cancelled(),
            Job::Score(_, tx) => tx.as_ref().is_none_or(oneshot::Sender::is_closed),
        }
    }

    fn wanted(&self, positions: &Range<usize>) -> Range<usize> {
        match &self.job {
            Job::Write(writer) => writer.wanted(positions),
            Job::Score(scorer, _) => scorer.wanted(positions),
        }
    }

    /// Takes the rows of a chunk, which begin at position `first`.
    fn take(&mut self, chunk: &Chunk, first: usize, rows: &[Row<'_>]) -> Next {
        let complete = chunk.positions.end == self.tokens.len();
        match &mut self.job {
            Job::Write(writer) => writer
                .take(&self.tokens, first, rows)
                .map_or(Next::Over, Next::Tokens),
            Job::Score(scorer, tx) => {
                for (position, row) in (first..).zip(rows) {
                    scorer.take(position, row);
                }
                if !complete {
                    return Next::Tokens(Vec::new());
                }
                match scorer.next_ending() {
                    Some(tokens) => Next::Branch {
                        shared: scorer.shared_tokens().len(),
                        tokens,
                    },
                    None => {
                        if let Some(tx) = tx.take() {
                            // Whoever asked may have gone away, which is no concern of ours.
                            let _ = tx.send(scorer.take_sums());
                        }
                        Next::Over
                    }
                }
            }
        }
    }
}
