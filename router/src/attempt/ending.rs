//! What the end of an attempt at a replica says of the replica's revision, if it says anything.

use std::time::Duration;

use weir_cascade::{AbortReason, AttemptRecord, Verdict};

use super::Ended;
use crate::load::Ending;
use crate::refusal::Failure;

/// What is known of an attempt that is over.
pub(super) struct Known<'a> {
    /// A replica failed it, and another went on.
    pub has_failed: bool,
    /// From its begin.
    pub first_token: Option<Duration>,
    /// What the cascade saw, if there was anything to see.
    pub record: Option<&'a AttemptRecord>,
    pub judging: Judging,
}

/// What the cascade's view of an answer counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judging {
    /// It could have been dropped.
    Whole,
    /// Its tier's answers count in any case: it has a score, and no more.
    Score,
    /// Nothing was written, or it was asked for after all others had failed, often a second time.
    Nothing,
}

/// Nothing where its client left, or where no replica of the revision is to blame and none has answered.
pub(super) fn ending(ended: &Result<(), Ended>, known: &Known<'_>) -> Option<Ending> {
    let (has_failed, has_ended) = match ended {
        Ok(()) | Err(Ended::Dropped { .. }) => (known.has_failed, true),
        Err(Ended::Failed(failure) | Ended::Cut(failure)) => {
            (known.has_failed || is_of_replica(failure), false)
        }
        Err(Ended::Unheard) => return None,
    };
    if !has_failed && !has_ended {
        return None;
    }
    let record = known.record.filter(|_| has_ended);
    Some(Ending {
        has_failed,
        first_token: known.first_token,
        score: record
            .filter(|_| known.judging != Judging::Nothing)
            .and_then(|record| record.score),
        is_escalated: record
            .filter(|_| known.judging == Judging::Whole)
            .and_then(is_escalated),
    })
}

/// Whether a replica has failed. None has where the request was at fault, nor by going when it was told to: what it
/// hands back then goes on elsewhere.
pub(super) fn is_of_replica(failure: &Failure) -> bool {
    !failure.is_of_request() && !matches!(failure, Failure::Leaving { .. })
}

/// Whether an answer went up a tier, or would have, had it been held back. Nothing where it was dropped for want of
/// room in this router.
fn is_escalated(record: &AttemptRecord) -> Option<bool> {
    match &record.verdict {
        Verdict::Wait | Verdict::Abort(AbortReason::TooLarge) => None,
        Verdict::Abort(_) => Some(true),
        Verdict::Commit(_) => Some(record.doubt.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::dropped::Worth;
    use weir_cascade::{Asked, Attempt, Config, FinishReason, HoldBack, Token};

    fn known(record: Option<&AttemptRecord>) -> Known<'_> {
        Known {
            has_failed: false,
            first_token: Some(Duration::from_millis(80)),
            record,
            judging: Judging::Whole,
        }
    }

    /// Of an answer of two tokens, held back or not.
    fn record(logprob: f32, hold_back: HoldBack) -> AttemptRecord {
        let config = Config {
            threshold: Some(0.9),
            hold_back,
            ..Config::default()
        };
        let mut attempt = Attempt::new(config, Asked::default());
        for _ in 0..2 {
            attempt.observe(&Token {
                logprob,
                ..Token::default()
            });
        }
        attempt.text("billing");
        attempt.finish(FinishReason::Stop);
        attempt.record()
    }

    fn dropped(record: &AttemptRecord) -> Option<Ending> {
        let ended = Ended::Dropped {
            worth: Worth::of(record, record.score),
            kept: None,
        };
        ending(&Err(ended), &known(Some(record)))
    }

    fn tier() -> String {
        "small".to_owned()
    }

    #[test]
    fn an_answer_counts_with_its_time_its_score_and_what_was_made_of_it() {
        let (sure, unsure) = (record(-0.01, HoldBack::Auto), record(-3.0, HoldBack::Auto));
        let good = ending(&Ok(()), &known(Some(&sure))).unwrap();
        let expected = Ending {
            has_failed: false,
            first_token: Some(Duration::from_millis(80)),
            score: sure.score,
            is_escalated: Some(false),
        };
        assert_eq!(good, expected);
        assert!(good.score.is_some_and(|score| score > 0.9));
        let bad = dropped(&unsure).unwrap();
        assert_eq!((bad.has_failed, bad.is_escalated), (false, Some(true)));
        assert!(bad.score.is_some_and(|score| score < 0.9));
    }

    #[test]
    fn what_would_have_gone_up_had_it_been_held_back_counts_as_if_it_had() {
        let escalated = |logprob| {
            let record = record(logprob, HoldBack::Off);
            let ending = ending(&Ok(()), &known(Some(&record))).unwrap();
            ending.is_escalated
        };
        assert_eq!(escalated(-0.01), Some(false));
        assert_eq!(escalated(-3.0), Some(true));
    }

    #[test]
    fn an_answer_that_counts_in_any_case_has_a_score_and_one_of_last_resort_has_none() {
        let record = record(-3.0, HoldBack::Off);
        let of = |judging| {
            let known = Known {
                judging,
                ..known(Some(&record))
            };
            let ending = ending(&Ok(()), &known).unwrap();
            (ending.score, ending.is_escalated)
        };
        assert_eq!(of(Judging::Score), (record.score, None));
        assert_eq!(of(Judging::Nothing), (None, None));
        let vectors = ending(&Ok(()), &known(None)).unwrap();
        assert_eq!((vectors.score, vectors.is_escalated), (None, None));
    }

    #[test]
    fn memory_that_ran_out_here_is_not_held_against_the_revision() {
        let mut record = record(-0.01, HoldBack::Auto);
        record.verdict = Verdict::Abort(AbortReason::TooLarge);
        let ending = dropped(&record).unwrap();
        assert_eq!((ending.has_failed, ending.is_escalated), (false, None));
    }

    #[test]
    fn a_replica_that_fails_counts_and_says_nothing_of_scores() {
        let record = record(-0.01, HoldBack::Auto);
        for failure in [
            Failure::Connect { tier: tier() },
            Failure::Lost { tier: tier() },
            Failure::Silent { tier: tier() },
            Failure::TooSlow { tier: tier() },
            Failure::Broken { tier: tier() },
            Failure::Overloaded {
                tier: tier(),
                retry_after: None,
            },
        ] {
            let cut = Ended::Cut(failure.clone());
            for ended in [Ended::Failed(failure), cut] {
                let ending = ending(&Err(ended), &known(Some(&record))).unwrap();
                assert!(ending.has_failed);
                assert_eq!((ending.score, ending.is_escalated), (None, None));
            }
        }
    }

    #[test]
    fn a_request_at_fault_a_client_that_left_and_a_replica_that_was_told_to_go_do_not_count() {
        for ended in [
            Ended::Failed(Failure::TooLong { tier: tier() }),
            Ended::Failed(Failure::Unsupported { tier: tier() }),
            Ended::Failed(Failure::Refused {
                tier: tier(),
                field: None,
            }),
            Ended::Failed(Failure::Leaving { tier: tier() }),
            Ended::Unheard,
        ] {
            assert_eq!(ending(&Err(ended), &known(None)), None);
        }
    }

    #[test]
    fn a_replica_that_was_lost_counts_also_where_another_went_on() {
        let record = record(-0.01, HoldBack::Auto);
        let lost = || Known {
            has_failed: true,
            ..known(Some(&record))
        };
        let whole = ending(&Ok(()), &lost()).unwrap();
        assert_eq!((whole.has_failed, whole.score), (true, record.score));
        let handed_back = Ended::Failed(Failure::Leaving { tier: tier() });
        assert!(ending(&Err(handed_back), &lost()).unwrap().has_failed);
        assert_eq!(ending(&Err(Ended::Unheard), &lost()), None);
    }
}
