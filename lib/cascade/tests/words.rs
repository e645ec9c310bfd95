//! Answers judged by their words, or by what their tier says beside them.

use weir_cascade::{
    AbortReason, Asked, Attempt, CommitReason, Config, FinishReason, HoldBack, Signal, Signals,
    Task, Token, Verdict,
};

fn choice(threshold: f64) -> Config {
    Config {
        task: Some(Task::Choice),
        threshold: Some(threshold),
        ..Config::default()
    }
}

fn signal(verdict: Verdict) -> Option<Signal> {
    match verdict {
        Verdict::Abort(AbortReason::Signal(signal)) => Some(signal),
        _ => None,
    }
}

/// The verdict on an answer that ended like this.
fn untold(config: Config, asked: Asked, text: &str, reason: FinishReason) -> Verdict {
    let mut attempt = Attempt::new(config, asked);
    attempt.observe(&Token::unseen(false));
    attempt.text(text);
    assert_eq!(attempt.checkpoint(), Verdict::Wait);
    attempt.finish(reason)
}

#[test]
fn an_answer_without_evidence_is_judged_by_its_words_at_its_end() {
    let plausible = Verdict::Commit(CommitReason::Plausible);
    let stop = FinishReason::Stop;
    let asked = Asked::default();
    assert_eq!(untold(choice(0.999), asked, "billing", stop), plausible);
    let text = Config::default;
    for (said, signal) in [
        ("I'm not sure, perhaps billing.", Signal::Hedging),
        ("I'm sorry, but I can't help with that.", Signal::Refusal),
        (" ", Signal::Empty),
    ] {
        let verdict = untold(text(), asked, said, stop);
        assert_eq!(self::signal(verdict), Some(signal), "{said}");
    }
    let mut long = Attempt::new(choice(0.0), asked);
    for _ in 0..17 {
        long.observe(&Token::unseen(false));
    }
    long.text("This is a long story of how I came to think of billing.");
    assert_eq!(signal(long.finish(stop)), Some(Signal::TooLong));
}

#[test]
fn hedging_is_the_threshold_s_business_where_tokens_are_known() {
    let mut attempt = Attempt::new(choice(0.9), Asked::default());
    attempt.observe(&Token {
        logprob: -0.01,
        ..Token::default()
    });
    attempt.text("I'm not sure");
    let verdict = attempt.finish(FinishReason::Stop);
    assert!(matches!(
        verdict,
        Verdict::Commit(CommitReason::Sure { .. })
    ));
}

#[test]
fn a_text_without_evidence_is_held_to_its_end_or_for_as_many_tokens_as_were_said() {
    let mut attempt = Attempt::new(Config::default(), Asked::default());
    for _ in 0..200 {
        attempt.observe(&Token::unseen(false));
        attempt.text("word ");
        attempt.text(&attempt.evidence().tokens().to_string());
        assert_eq!(attempt.checkpoint(), Verdict::Wait);
    }
    assert!(attempt.record().checkpoints.is_empty());
    let config = Config {
        hold_back: HoldBack::Tokens(8),
        ..Config::default()
    };
    let mut attempt = Attempt::new(config, Asked::default());
    for count in 1..=8 {
        attempt.observe(&Token::unseen(false));
        attempt.text(&format!("word{count} "));
        let goes = attempt.checkpoint() != Verdict::Wait;
        assert_eq!(goes, count == 8, "{count}");
    }
    assert_eq!(
        attempt.checkpoint(),
        Verdict::Commit(CommitReason::Plausible)
    );
}

#[test]
fn an_answer_of_unknown_tokens_that_fills_what_the_client_asked_is_not_cut() {
    let asked = |max_tokens| Asked {
        max_tokens,
        ..Asked::default()
    };
    let length = FinishReason::Length;
    let filled = untold(Config::default(), asked(Some(200)), "Once upon", length);
    assert_eq!(filled, Verdict::Commit(CommitReason::Plausible));
    let cut = untold(Config::default(), asked(None), "Once upon", length);
    assert_eq!(signal(cut), Some(Signal::Truncated));
}

#[test]
fn what_is_declined_or_misses_its_form_goes_up_unless_the_policy_lets_it() {
    let judged = |signals: Signals, tell: fn(&mut Attempt), reason| {
        let config = Config {
            signals,
            ..choice(0.5)
        };
        let mut attempt = Attempt::new(config, Asked::default());
        attempt.observe(&Token {
            logprob: -0.01,
            ..Token::default()
        });
        attempt.text("billing");
        tell(&mut attempt);
        signal(attempt.finish(reason))
    };
    let strict = Signals::default;
    let lax = || Signals {
        schema_failure: false,
        refusal: false,
        ..Signals::default()
    };
    let stop = FinishReason::Stop;
    assert_eq!(judged(strict(), |_| {}, stop), None);
    let misfit = judged(strict(), Attempt::misfits, stop);
    assert_eq!(misfit, Some(Signal::SchemaFailure));
    assert_eq!(judged(lax(), Attempt::misfits, stop), None);
    let declined = judged(strict(), Attempt::declined, stop);
    assert_eq!(declined, Some(Signal::Refusal));
    assert_eq!(judged(lax(), Attempt::declined, stop), None);
    let filtered = judged(strict(), |_| {}, FinishReason::Refusal);
    assert_eq!(filtered, Some(Signal::Refusal));
}
