//! Holds an answer back until the cascade lets it go.

use weir_cascade::{Attempt, AttemptRecord, FinishReason, Token, Verdict};

use crate::answer::Piece;

/// The most that is held of one answer. More than any answer that is judged whole; beyond it the
/// attempt is dropped, because memory is not for the client to fill.
const MOST_HELD_BYTES: usize = 4 << 20;

/// What becomes of what has arrived.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    Hold,
    /// These go to the client, and after them everything does.
    Release(Vec<Piece>),
    Drop,
}

/// One attempt's answer on its way to the client.
pub(crate) struct Gate {
    attempt: Attempt,
    held: Vec<Piece>,
    held_bytes: usize,
    /// Given although the tier is known to be unsure, because those above it failed.
    is_last_resort: bool,
}

impl Gate {
    pub fn new(attempt: Attempt, is_last_resort: bool) -> Self {
        Self {
            attempt,
            held: Vec::new(),
            held_bytes: 0,
            is_last_resort,
        }
    }

    pub fn is_last_resort(&self) -> bool {
        self.is_last_resort
    }

    /// Takes what a tier sent: its evidence and what it says.
    pub fn arrive(&mut self, tokens: &[Token], piece: Piece) -> Step {
        for token in tokens {
            self.attempt.observe(token);
        }
        self.attempt.text(&piece.text);
        if !piece.is_empty() {
            self.held_bytes += piece.bytes();
            self.held.push(piece);
        }
        let verdict = self.attempt.checkpoint();
        self.step(verdict)
    }

    /// The tier has ended its answer. Never `Hold`.
    pub fn finish(&mut self, reason: FinishReason) -> Step {
        let verdict = self.attempt.finish(reason);
        self.step(verdict)
    }

    /// What was held of an answer that was dropped.
    pub fn into_held(self) -> Vec<Piece> {
        self.held
    }

    pub fn score(&self) -> Option<f64> {
        self.attempt.score()
    }

    /// Whether the score of what has come is on the wrong side of the line.
    pub fn is_below_threshold(&self) -> bool {
        self.score()
            .is_some_and(|score| score < self.attempt.threshold())
    }

    pub fn record(&self) -> AttemptRecord {
        self.attempt.record()
    }

    fn step(&mut self, verdict: Verdict) -> Step {
        match verdict {
            Verdict::Wait if self.held_bytes > MOST_HELD_BYTES => Step::Drop,
            Verdict::Wait => Step::Hold,
            Verdict::Abort(_) => Step::Drop,
            Verdict::Commit(_) => {
                self.held_bytes = 0;
                Step::Release(std::mem::take(&mut self.held))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_cascade::{Asked, Config, Task};

    fn gate() -> Gate {
        let config = Config {
            task: Some(Task::Choice),
            threshold: Some(0.9),
            ..Config::default()
        };
        Gate::new(Attempt::new(config, Asked::default()), false)
    }

    fn token(logprob: f32) -> Token {
        Token {
            logprob,
            ..Token::default()
        }
    }

    fn piece(text: &str) -> Piece {
        Piece {
            text: text.into(),
            ..Piece::default()
        }
    }

    #[test]
    fn a_sure_answer_is_released_whole_and_in_order() {
        let mut gate = gate();
        assert_eq!(gate.arrive(&[token(-0.01)], piece("bil")), Step::Hold);
        assert_eq!(gate.arrive(&[token(-0.01)], piece("ling")), Step::Hold);
        let released = gate.finish(FinishReason::Stop);
        assert_eq!(released, Step::Release(vec![piece("bil"), piece("ling")]));
    }

    #[test]
    fn a_hopeless_answer_is_dropped_at_the_token_that_shows_it() {
        let mut gate = gate();
        assert_eq!(gate.arrive(&[token(-0.01)], piece("bil")), Step::Hold);
        assert_eq!(gate.arrive(&[token(-2.0)], piece("ling")), Step::Drop);
    }

    #[test]
    fn an_answer_without_end_is_not_held_without_end() {
        let mut gate = gate();
        let page = "x".repeat(MOST_HELD_BYTES / 4);
        let steps: Vec<Step> = (0..5).map(|_| gate.arrive(&[], piece(&page))).collect();
        assert_eq!(steps.last(), Some(&Step::Drop));
    }
}
