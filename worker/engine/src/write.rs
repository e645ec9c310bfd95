//! Writes one answer: picks a token from each row of logits and says when it is the last.

use std::ops::Range;

use tokio::sync::mpsc::UnboundedSender;

use crate::{
    random::uniform,
    request::{End, Produced, Token, Writing},
    row::Row,
};

#[derive(Debug)]
pub(crate) struct Writer {
    writing: Writing,
    /// Tokens of the answer that exist.
    written: usize,
    /// Tokens of the answer that may exist at most.
    most: usize,
    tx: UnboundedSender<Produced>,
}

impl Writer {
    /// `writing` leaves room in the context for at least one more token.
    pub fn new(writing: Writing, tx: UnboundedSender<Produced>, context_tokens: usize) -> Self {
        Self {
            written: writing.produced.len(),
            most: writing.most_tokens(context_tokens),
            writing,
            tx,
        }
    }

    /// What is known at the beginning.
    pub fn tokens(&self) -> Vec<u32> {
        [&self.writing.prompt[..], &self.writing.produced].concat()
    }

    /// How many tokens prompt and answer may have together.
    pub fn longest(&self) -> usize {
        self.writing.prompt.len() + self.most
    }

    pub fn is_cancelled(&self) -> bool {
        self.tx.is_closed()
    }

    /// Which of the positions of a chunk a row of logits is needed for.
    pub fn wanted(&self, positions: &Range<usize>, known: usize) -> Range<usize> {
        let first = if positions.end == known {
            known - 1
        } else {
            positions.end
        };
        first..positions.end
    }

    /// Picks the token after `tokens` and sends it. Nothing comes back where it was the last, or
    /// where nobody listens any more.
    pub fn take(&mut self, tokens: &[u32], row: &Row<'_>) -> Option<u32> {
        let id = self.pick(tokens, row);
        self.written += 1;
        let end = if self.writing.limits.ends.contains(&id) {
            Some(End::Stop)
        } else if self.written >= self.most {
            Some(End::Length)
        } else {
            None
        };
        let token = Token {
            id,
            evidence: row.evidence(id),
            alternatives: row.likeliest(self.writing.alternatives),
        };
        let heard = self.tx.send(Produced { token, end }).is_ok();
        (heard && end.is_none()).then_some(id)
    }

    fn pick(&self, tokens: &[u32], row: &Row<'_>) -> u32 {
        let writing = &self.writing;
        let limits = &writing.limits;
        let banned: &[u32] = if self.written < limits.min_tokens {
            &limits.ends
        } else {
            &[]
        };
        let draw = uniform(writing.seed, writing.choice, self.written as u64);
        if writing.penalties.change_nothing() {
            return writing.sampling.pick(row.logits(), banned, draw);
        }
        let mut logits = row.logits().to_vec();
        writing
            .penalties
            .apply(&mut logits, tokens, writing.prompt.len());
        writing.sampling.pick(&logits, banned, draw)
    }
}
