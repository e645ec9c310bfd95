//! The answers that were dropped on the way up, and which of them is the best where no tier above answers.

use std::cmp::Ordering;

use weir_cascade::{AbortReason, AttemptRecord, Signal, Verdict};
use weir_policy::tier::Tier;

use super::Kept;

/// One of them.
pub(super) struct Candidate {
    pub tier: Tier,
    pub worth: Worth,
    /// Nothing where the attempt was dropped before its end, or a better one is kept.
    pub kept: Option<Kept>,
}

/// How good a dropped answer is, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Worth {
    standing: Standing,
    pub score: Option<f64>,
}

/// What was wrong with it, the worst first. A refusal may be as sure as anything: it is still no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Empty,
    Signalled,
    Unsure,
}

/// All of them, of which one at most is kept whole.
#[derive(Default)]
pub(super) struct Dropped(Vec<Candidate>);

impl Worth {
    pub fn of(record: &AttemptRecord, score: Option<f64>) -> Self {
        let standing = match &record.verdict {
            Verdict::Abort(AbortReason::Signal(Signal::Empty)) => Standing::Empty,
            Verdict::Abort(AbortReason::Signal(_)) => Standing::Signalled,
            _ => Standing::Unsure,
        };
        Self { standing, score }
    }

    fn compare(self, other: Self) -> Ordering {
        let score = |worth: Self| worth.score.unwrap_or(0.0);
        let standing = self.standing.cmp(&other.standing);
        standing.then(score(self).total_cmp(&score(other)))
    }
}

impl Dropped {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(&mut self, candidate: Candidate) {
        let is_whole = candidate.kept.is_some();
        self.0.push(candidate);
        let best = self.best_of(|candidate| candidate.kept.is_some());
        // Memory is for one of them.
        if let (true, Some(best)) = (is_whole, best) {
            for (index, candidate) in self.0.iter_mut().enumerate() {
                candidate.kept.take_if(|_| index != best);
            }
        }
    }

    /// Takes the best of all, or the one that is kept: where there is no time for asking again.
    pub fn take_best(&mut self, is_late: bool) -> Option<Candidate> {
        let best = self.best_of(|candidate| candidate.kept.is_some() || !is_late)?;
        Some(self.0.remove(best))
    }

    /// Of two that are alike the one further up, whose model is the bigger.
    fn best_of(&self, counts: impl Fn(&Candidate) -> bool) -> Option<usize> {
        let candidates = self.0.iter().enumerate();
        let candidates = candidates.filter(|(_, candidate)| counts(candidate));
        let best = candidates.max_by(|(_, one), (_, other)| one.worth.compare(other.worth));
        best.map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::answer::{Piece, Stop, Usage};
    use crate::attempt::Finish;
    use crate::room::Room;

    fn worth(standing: Standing, score: impl Into<Option<f64>>) -> Worth {
        let score = score.into();
        Worth { standing, score }
    }

    fn candidate(name: &str, worth: Worth, is_whole: bool) -> Candidate {
        let spec =
            json!({ "models": ["m"], "tiers": [{ "name": name, "deployment": { "name": name } }] });
        let settings = weir_policy::validate::settings(&serde_json::from_value(spec).unwrap());
        let kept = is_whole.then(|| Kept {
            pieces: vec![Piece::default()],
            finish: Finish {
                stops: vec![Stop::Turn],
                usage: Usage::default(),
                native: None,
            },
            _room: Room::of(1 << 20).part(),
        });
        Candidate {
            tier: settings.unwrap().tiers.remove(0),
            worth,
            kept,
        }
    }

    /// The names of all, the best first, and whether each is kept.
    fn ranked(candidates: Vec<Candidate>, is_late: bool) -> Vec<(String, bool)> {
        let mut dropped = Dropped::default();
        for candidate in candidates {
            dropped.add(candidate);
        }
        let next = || dropped.take_best(is_late);
        let ranked = std::iter::from_fn(next);
        ranked
            .map(|best| (best.tier.name().to_owned(), best.kept.is_some()))
            .collect()
    }

    fn names(candidates: Vec<Candidate>) -> Vec<String> {
        let ranked = ranked(candidates, false).into_iter();
        ranked.map(|(name, _)| name).collect()
    }

    #[test]
    fn an_unsure_answer_is_better_than_a_sure_refusal_and_anything_than_nothing() {
        let all = vec![
            candidate("empty", worth(Standing::Empty, 1.0), true),
            candidate("refusal", worth(Standing::Signalled, 0.99), true),
            candidate("unsure", worth(Standing::Unsure, 0.2), true),
        ];
        assert_eq!(names(all), ["unsure", "refusal", "empty"]);
    }

    #[test]
    fn the_surer_is_better_and_of_two_alike_the_one_further_up() {
        let all = vec![
            candidate("a", worth(Standing::Unsure, 0.5), false),
            candidate("b", worth(Standing::Unsure, 0.7), false),
            candidate("c", worth(Standing::Unsure, 0.7), false),
            candidate("d", worth(Standing::Unsure, None), false),
        ];
        assert_eq!(names(all), ["c", "b", "a", "d"]);
    }

    #[test]
    fn one_answer_is_kept_and_it_is_all_there_is_where_time_is_over() {
        let all = || {
            vec![
                candidate("a", worth(Standing::Unsure, 0.3), true),
                candidate("b", worth(Standing::Unsure, 0.6), true),
                candidate("c", worth(Standing::Unsure, 0.9), false),
                candidate("d", worth(Standing::Unsure, 0.4), true),
            ]
        };
        let told = |name: &str, is_kept| (name.to_owned(), is_kept);
        assert_eq!(ranked(all(), true), [told("b", true)]);
        let all = ranked(all(), false);
        assert_eq!(
            all,
            [
                told("c", false),
                told("b", true),
                told("d", false),
                told("a", false)
            ]
        );
    }
}
