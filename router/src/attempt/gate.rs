//! Holds an answer back until the cascade lets it go.

use weir_cascade::{Attempt, AttemptRecord, CommitReason, Effort, Token, Verdict};

use crate::answer::{Piece, Stop};
use crate::encode::Gathered;
use crate::room::Part;
use crate::shape::Shape;

/// The most that is held of one answer. More than any answer that is judged whole; beyond it, or where all
/// that are held take as much as they may, the attempt is dropped: memory is not for the client to fill.
const MOST_HELD_BYTES: usize = 4 << 20;

/// What becomes of what has arrived.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    Hold,
    /// These go to the client, and after them everything does.
    Release(Vec<Piece>),
    Drop,
}

/// One attempt's answer, of one choice or several, on its way to the client.
pub(crate) struct Gate {
    /// Of each choice.
    attempts: Vec<Attempt>,
    verdicts: Vec<Verdict>,
    held: Vec<Piece>,
    held_bytes: usize,
    /// What is held takes this.
    room: Part,
    /// Given although the tier is known to be unsure, because those above it failed.
    is_last_resort: bool,
    /// How much was known when somebody asked.
    told: usize,
}

impl Gate {
    /// `attempt` judges each of `choices` alike.
    pub fn new(mut attempt: Attempt, choices: u32, is_last_resort: bool, room: Part) -> Self {
        let choices = choices.max(1) as usize;
        // One that is not held back waits for no other choice.
        let verdict = attempt.checkpoint();
        Self {
            attempts: vec![attempt; choices],
            verdicts: vec![verdict; choices],
            held: Vec::new(),
            held_bytes: 0,
            room,
            is_last_resort,
            told: 0,
        }
    }

    pub fn is_last_resort(&self) -> bool {
        self.is_last_resort
    }

    /// Takes what a tier sent: its evidence and what it says.
    pub fn arrive(&mut self, tokens: &[Token], piece: Piece) -> Step {
        let choice = piece.choice as usize;
        if let Some(attempt) = self.attempts.get_mut(choice) {
            for token in tokens {
                attempt.observe(token);
            }
            if !piece.is_echo {
                attempt.text(&piece.text);
            }
            // What is said in place of an answer is judged as one.
            attempt.text(&piece.refusal);
            if !piece.refusal.is_empty() {
                attempt.declined();
            }
            if !piece.calls.is_empty() {
                attempt.calls();
            }
            self.verdicts[choice] = attempt.checkpoint();
        }
        if !piece.is_empty() {
            self.held_bytes += piece.bytes();
            self.held.push(piece);
        }
        self.step()
    }

    /// The tier has ended its answer, each choice like this; what is held of it should have this `shape`.
    /// Never `Hold`.
    pub fn finish(&mut self, stops: &[Stop], shape: Option<Shape<'_>>) -> Step {
        let shape = shape.filter(|_| self.verdicts.contains(&Verdict::Wait));
        let whole = shape.map(|shape| (shape, self.gathered()));
        let mut effort = Effort::default();
        let ends = self.attempts.iter_mut().zip(&mut self.verdicts).enumerate();
        for (choice, (attempt, verdict)) in ends {
            let stop = stops.get(choice).unwrap_or(&Stop::Turn);
            let whole = whole.as_ref();
            if whole.is_some_and(|(shape, whole)| !shape.fits(&whole.choices[choice], &mut effort))
            {
                attempt.misfits();
            }
            *verdict = attempt.finish(stop.reason());
        }
        self.step()
    }

    fn gathered(&self) -> Gathered {
        let mut gathered = Gathered::of(self.attempts.len() as u32);
        for piece in &self.held {
            gathered.add(Piece {
                native: None,
                logprobs: Vec::new(),
                ..piece.clone()
            });
        }
        gathered
    }

    /// What was held of an answer that was dropped, and the room that it takes.
    pub fn into_held(self) -> (Vec<Piece>, Part) {
        (self.held, self.room)
    }

    /// Of the choice that is least sure, once there is something to say of each.
    pub fn score(&self) -> Option<f64> {
        self.least_sure()?.score()
    }

    /// Whether the answer, which has ended, is one that would have been dropped: had it been held back, or had
    /// what came late been known when it was let go.
    pub fn is_doubtful(&self) -> bool {
        let doubts = self.attempts.iter().map(Attempt::doubt);
        let is_below = |attempt: &Attempt| {
            let score = attempt.score();
            score.is_some_and(|score| score < attempt.threshold())
        };
        doubts.flatten().next().is_some() || self.attempts.iter().any(is_below)
    }

    /// Whether more is known than when this was asked the last time: at a checkpoint, or by a verdict. Between
    /// them a record is not worth what it takes to make it.
    pub fn has_news(&mut self) -> bool {
        let is_decided = |verdict: &Verdict| {
            !matches!(
                verdict,
                Verdict::Wait | Verdict::Commit(CommitReason::NotHeld)
            )
        };
        let decided = self.verdicts.iter().filter(|verdict| is_decided(verdict));
        let judged = self.attempts.iter().map(Attempt::checkpoints);
        let known = judged.sum::<usize>() + decided.count();
        std::mem::replace(&mut self.told, known) < known
    }

    /// Whether anything is known of what has come, if only that it came.
    pub fn has_evidence(&self) -> bool {
        let mut attempts = self.attempts.iter();
        attempts.any(|attempt| attempt.evidence().tokens() > 0)
    }

    /// Of the choice for which all were dropped, if one was, else of one that is doubted, else of the one that is
    /// least sure.
    pub fn record(&self) -> AttemptRecord {
        let mut verdicts = self.verdicts.iter();
        let dropped = verdicts.position(|verdict| matches!(verdict, Verdict::Abort(_)));
        let dropped = dropped.map(|choice| &self.attempts[choice]);
        let mut attempts = self.attempts.iter();
        let doubted = || attempts.find(|attempt| attempt.doubt().is_some());
        let decides = dropped.or_else(doubted).or_else(|| self.least_sure());
        decides.unwrap_or(&self.attempts[0]).record()
    }

    fn least_sure(&self) -> Option<&Attempt> {
        let scored = self.attempts.iter();
        let scored: Option<Vec<_>> = scored
            .map(|attempt| Some((attempt.score()?, attempt)))
            .collect();
        let least = scored?
            .into_iter()
            .min_by(|one, two| one.0.total_cmp(&two.0));
        least.map(|(_, attempt)| attempt)
    }

    fn step(&mut self) -> Step {
        match Verdict::of_choices(self.verdicts.iter().cloned()) {
            Verdict::Wait
                if self.held_bytes > MOST_HELD_BYTES || !self.room.grow(self.held_bytes) =>
            {
                for (attempt, verdict) in self.attempts.iter_mut().zip(&mut self.verdicts) {
                    *verdict = attempt.outgrows();
                }
                Step::Drop
            }
            Verdict::Wait => Step::Hold,
            Verdict::Abort(_) => Step::Drop,
            Verdict::Commit(_) => {
                self.held_bytes = 0;
                self.room.clear();
                Step::Release(std::mem::take(&mut self.held))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::CallPiece;
    use crate::room::Room;
    use weir_cascade::{AbortReason, Asked, Config, HoldBack, Signal, Task};

    fn gate() -> Gate {
        let config = Config {
            task: Some(Task::Choice),
            threshold: Some(0.9),
            ..Config::default()
        };
        Gate::new(Attempt::new(config, Asked::default()), 1, false, room())
    }

    fn room() -> Part {
        Room::of(16 << 20).part()
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
        let released = gate.finish(&[Stop::Turn], None);
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

    #[test]
    fn answers_that_are_held_share_one_room() {
        let all = Room::of(2000);
        let mut gate = Gate {
            room: all.part(),
            ..gate()
        };
        let mut other = Gate {
            room: all.part(),
            ..self::gate()
        };
        let long = "x".repeat(600);
        assert_eq!(gate.arrive(&[], piece(&long)), Step::Hold);
        assert_eq!(other.arrive(&[], piece(&long)), Step::Hold);
        assert_eq!(gate.arrive(&[], piece(&long)), Step::Drop);
        drop(gate);
        assert_eq!(other.arrive(&[], piece(&long)), Step::Hold);
    }

    #[test]
    fn pieces_that_say_next_to_nothing_are_not_held_without_end() {
        let mut gate = gate();
        let call = Piece {
            calls: vec![CallPiece::default()],
            ..Piece::default()
        };
        let enough = MOST_HELD_BYTES / size_of::<Piece>() + 1;
        let steps = (0..enough).map(|_| gate.arrive(&[], call.clone()));
        assert_eq!(steps.last(), Some(Step::Drop));
    }

    #[test]
    fn a_choice_that_is_not_held_back_waits_for_no_other() {
        let config = Config {
            hold_back: HoldBack::Off,
            ..Config::default()
        };
        let mut gate = Gate::new(Attempt::new(config, Asked::default()), 2, false, room());
        let released = gate.arrive(&[], piece("billing"));
        assert_eq!(released, Step::Release(vec![piece("billing")]));
    }

    #[test]
    fn the_record_of_several_choices_says_why_one_of_them_is_doubted() {
        let config = Config {
            hold_back: HoldBack::Off,
            ..Config::default()
        };
        let second = Piece {
            choice: 1,
            ..piece("I'm sorry, but I can't help with that.")
        };
        let mut gate = Gate::new(Attempt::new(config, Asked::default()), 2, false, room());
        // By its score it is the surer one.
        gate.arrive(&[token(-0.05)], piece("billing"));
        gate.arrive(&[token(-0.01)], second);
        gate.finish(&[Stop::Turn, Stop::Turn], None);
        assert!(gate.is_doubtful());
        let refused = Some(AbortReason::Signal(Signal::Refusal));
        assert_eq!(gate.record().doubt, refused);
    }

    #[test]
    fn several_choices_are_let_go_together_and_are_as_sure_as_the_least_sure() {
        let asked = Asked {
            choices: 2,
            ..Asked::default()
        };
        let config = Config {
            task: Some(Task::Choice),
            threshold: Some(0.9),
            ..Config::default()
        };
        let mut gate = Gate::new(Attempt::new(config, asked), 2, false, room());
        let second = Piece {
            choice: 1,
            ..piece("billing")
        };
        assert_eq!(gate.arrive(&[token(-0.01)], piece("billing")), Step::Hold);
        assert_eq!(gate.score(), None);
        assert_eq!(gate.arrive(&[token(-0.05)], second.clone()), Step::Hold);
        let released = gate.finish(&[Stop::Turn, Stop::Turn], None);
        assert_eq!(released, Step::Release(vec![piece("billing"), second]));
        let least = gate.score().unwrap();
        assert!((0.94..0.96).contains(&least), "{least}");
    }
}
