//! A sequence in the making: its tokens, and what is done with the rows of logits after them.

use std::ops::Range;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use weir_model::Extent;

use crate::{
    embed::Embedder,
    request::{Origin, Scores, Work},
    row::Row,
    score::Scorer,
    write::Writer,
};

pub(crate) struct Sequence {
    pub tokens: Vec<u32>,
    pub origin: Origin,
    job: Job,
    /// Told when it begins how many of its first tokens were found computed.
    begun: Option<oneshot::Sender<usize>>,
    cached_tokens: usize,
    _place: OwnedSemaphorePermit,
}

enum Job {
    Write(Box<Writer>),
    Score(Scorer, Option<oneshot::Sender<Scores>>),
    Embed(Embedder, Option<oneshot::Sender<Vec<f32>>>),
}

/// How a sequence goes on after a step.
pub(crate) enum Next {
    /// More tokens are known; none where there are tokens left to compute.
    Tokens(Vec<u32>),
    /// Back to the first `shared` tokens, and on from there.
    Branch {
        shared: usize,
        tokens: Vec<u32>,
    },
    Over,
}

impl Next {
    /// There are tokens left to compute.
    pub fn on() -> Self {
        Self::Tokens(Vec::new())
    }
}

impl Sequence {
    /// No answer may be longer than the context leaves.
    pub fn new(work: Work, place: OwnedSemaphorePermit, context_tokens: usize) -> Self {
        match work {
            Work::Write(work, tx, begun) => {
                let origin = work.writing.origin.clone();
                let writer = Writer::new(*work, tx, context_tokens);
                Self {
                    tokens: writer.tokens(),
                    origin,
                    job: Job::Write(Box::new(writer)),
                    begun: Some(begun),
                    cached_tokens: 0,
                    _place: place,
                }
            }
            Work::Score(scoring, tx) => {
                let origin = scoring.origin.clone();
                let scorer = Scorer::new(scoring);
                Self {
                    tokens: scorer.shared_tokens().to_vec(),
                    origin,
                    job: Job::Score(scorer, Some(tx)),
                    begun: None,
                    cached_tokens: 0,
                    _place: place,
                }
            }
            Work::Embed(embedding, tx) => {
                let origin = embedding.origin.clone();
                let embedder = Embedder::new(embedding);
                Self {
                    tokens: embedder.tokens().to_vec(),
                    origin,
                    job: Job::Embed(embedder, Some(tx)),
                    begun: None,
                    cached_tokens: 0,
                    _place: place,
                }
            }
        }
    }

    pub fn extent(&self) -> Extent {
        match &self.job {
            Job::Write(writer) => Extent {
                longest: writer.longest(),
                back_to: None,
            },
            Job::Score(scorer, _) => Extent {
                longest: scorer.longest(),
                back_to: Some(scorer.shared_tokens().len()),
            },
            Job::Embed(embedder, _) => Extent {
                longest: embedder.tokens().len(),
                back_to: None,
            },
        }
    }

    /// The first position of those known of which something is wanted.
    pub fn needed(&self) -> usize {
        let all = 0..self.tokens.len();
        self.wanted(&all).start.min(self.wanted_states(&all).start)
    }

    pub fn is_cancelled(&self) -> bool {
        match &self.job {
            Job::Write(writer) => writer.is_cancelled(),
            Job::Score(_, tx) => tx.as_ref().is_none_or(oneshot::Sender::is_closed),
            Job::Embed(_, tx) => tx.as_ref().is_none_or(oneshot::Sender::is_closed),
        }
    }

    pub fn begin(&mut self, cached_tokens: usize) {
        self.cached_tokens = cached_tokens;
        if let Some(begun) = self.begun.take() {
            // Whoever does not want to know has dropped the other end.
            let _ = begun.send(cached_tokens);
        }
    }

    /// Which of the positions of a chunk a row of logits is needed for.
    pub fn wanted(&self, positions: &Range<usize>) -> Range<usize> {
        match &self.job {
            Job::Embed(..) => positions.end..positions.end,
            Job::Write(writer) => writer.wanted(positions),
            Job::Score(scorer, _) => scorer.wanted(positions),
        }
    }

    /// Which of the positions of a chunk a state is needed of.
    pub fn wanted_states(&self, positions: &Range<usize>) -> Range<usize> {
        match &self.job {
            Job::Embed(embedder, _) => embedder.wanted(positions),
            Job::Write(_) | Job::Score(..) => positions.end..positions.end,
        }
    }

    /// Takes the state of the token at `position`.
    pub fn take_state(&mut self, position: usize, state: &[f32]) -> Next {
        let Job::Embed(embedder, tx) = &mut self.job else {
            return Next::on();
        };
        embedder.take(position, state);
        let Some(vector) = embedder.vector() else {
            return Next::on();
        };
        if let Some(tx) = tx.take() {
            // Whoever asked may have gone away, which is no concern of ours.
            let _ = tx.send(vector);
        }
        Next::Over
    }

    /// Takes rows of those wanted, which begin at position `first`.
    pub fn take(&mut self, first: usize, rows: &[Row<'_>]) -> Next {
        // The last row is always wanted.
        let complete = first + rows.len() == self.tokens.len();
        match &mut self.job {
            // It wants none.
            Job::Embed(..) => Next::on(),
            Job::Write(writer) => writer
                .take(&self.tokens, first, rows)
                .map_or(Next::Over, Next::Tokens),
            Job::Score(scorer, tx) => {
                for (position, row) in (first..).zip(rows) {
                    scorer.take(position, row);
                }
                if !complete {
                    return Next::on();
                }
                match scorer.next_ending() {
                    Some(tokens) => Next::Branch {
                        shared: scorer.shared_tokens().len(),
                        tokens,
                    },
                    None => {
                        if let Some(tx) = tx.take() {
                            // Whoever asked may have gone away, which is no concern of ours.
                            let _ = tx.send(Scores {
                                sums: scorer.take_sums(),
                                cached_tokens: self.cached_tokens,
                            });
                        }
                        Next::Over
                    }
                }
            }
        }
    }
}
