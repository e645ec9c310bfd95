//! Scores several endings of one text, token by token, from rows of logits.
//!
//! What all sequences share is computed once; then each ending in turn takes the place of the one
//! before it. A sum includes the end of the answer after the last token, so that `bill` is not
//! always likelier than `billing`.

use std::ops::Range;

use crate::{request::Scoring, row::Row};

#[derive(Debug)]
pub(crate) struct Scorer {
    scoring: Scoring,
    /// How many tokens all sequences begin with.
    shared: usize,
    /// Which ending is being computed; none while the shared part is.
    current: Option<usize>,
    sums: Vec<f64>,
    /// The first position whose row has not been counted: one that is computed again, after its
    /// blocks were taken, does not count twice.
    uncounted: usize,
}

impl Scorer {
    pub fn new(scoring: Scoring) -> Self {
        let shared = common_prefix(scoring.sequences.iter().map(Vec::as_slice));
        assert!(
            (1..=shared).contains(&scoring.from),
            "scores begin behind the first token and within what is shared"
        );
        Self {
            shared,
            current: None,
            sums: vec![0.0; scoring.sequences.len()],
            uncounted: scoring.from - 1,
            scoring,
        }
    }

    /// What is computed first, and once.
    pub fn shared_tokens(&self) -> &[u32] {
        &self.scoring.sequences[0][..self.shared]
    }

    pub fn longest(&self) -> usize {
        let lengths = self.scoring.sequences.iter().map(Vec::len);
        lengths.max().unwrap_or(self.shared)
    }

    /// Which of the positions of a chunk a row of logits is needed for.
    pub fn wanted(&self, positions: &Range<usize>) -> Range<usize> {
        self.uncounted.clamp(positions.start, positions.end)..positions.end
    }

    /// Counts what the row after `position` says.
    pub fn take(&mut self, position: usize, row: &Row<'_>) {
        let next = position + 1;
        self.uncounted = next;
        match self.current {
            Some(index) => self.sums[index] += self.logprob(index, next, row),
            None if next < self.shared => {
                let logprob = self.logprob(0, next, row);
                self.sums.iter_mut().for_each(|sum| *sum += logprob);
            }
            None => {
                for index in 0..self.sums.len() {
                    self.sums[index] += self.logprob(index, next, row);
                }
            }
        }
    }

    /// The tokens of the next ending that has any, when those of the current one are computed.
    pub fn next_ending(&mut self) -> Option<Vec<u32>> {
        let first = self.current.map_or(0, |index| index + 1);
        let index = (first..self.scoring.sequences.len())
            .find(|&index| self.scoring.sequences[index].len() > self.shared)?;
        self.current = Some(index);
        self.uncounted = self.shared;
        Some(self.scoring.sequences[index][self.shared..].to_vec())
    }

    pub fn take_sums(&mut self) -> Vec<f64> {
        std::mem::take(&mut self.sums)
    }

    /// Log-probability of the token of sequence `index` at `position`, or of its end.
    fn logprob(&self, index: usize, position: usize, row: &Row<'_>) -> f64 {
        match self.scoring.sequences[index].get(position) {
            Some(id) => row.logprob(*id),
            None if self.scoring.ends.is_empty() => 0.0,
            None => {
                let ends = self.scoring.ends.iter();
                ends.map(|id| row.logprob(*id).exp()).sum::<f64>().ln()
            }
        }
    }
}

/// How many tokens all of `sequences` begin with.
pub fn common_prefix<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> usize {
    let mut sequences = sequences.into_iter();
    let Some(first) = sequences.next() else {
        return 0;
    };
    sequences.fold(first.len(), |shared, other| {
        let same = first.iter().zip(other).take_while(|(a, b)| a == b).count();
        shared.min(same)
    })
}
