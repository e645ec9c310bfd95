//! Attempts that are judged by a score that was fitted.

use weir_cascade::{
    AbortReason, Asked, Attempt, Config, FinishReason, Fitted, Task, Token, Verdict, WEIGHTS,
};

#[test]
fn a_fitted_score_is_in_place_of_the_prior_and_knows_no_hopeless_beginning() {
    // As good as it gets, whatever the tokens were.
    let mut weights = [0.0; WEIGHTS];
    weights[0] = -5.0;
    let judged = |threshold, entropy| {
        let fitted = Fitted::new(&weights, threshold).unwrap();
        let config = Config {
            fitted: Some(fitted.into()),
            task: Some(Task::Choice),
            threshold: Some(0.9),
            ..Config::default()
        };
        let mut attempt = Attempt::new(config, Asked::default());
        attempt.observe(&Token {
            logprob: -3.0,
            margin: 2.0,
            entropy,
            ..Token::default()
        });
        attempt.text("billing");
        assert_eq!(attempt.checkpoint(), Verdict::Wait);
        let known = attempt.record().checkpoints;
        assert!(known.iter().all(|known| known.bound.is_none()));
        // None is on the scale of the prior.
        assert_eq!(known.len(), usize::from(entropy.is_some()));
        attempt.finish(FinishReason::Stop)
    };
    let told = Some(0.3);
    assert!(matches!(judged(0.99, told), Verdict::Commit(_)));
    let kept = judged(0.995, told);
    assert!(
        matches!(kept, Verdict::Abort(AbortReason::Unsure { threshold, .. }) if threshold == 0.995)
    );
    let prior = judged(0.99, None);
    assert!(
        matches!(prior, Verdict::Abort(AbortReason::Unsure { threshold, .. }) if threshold == 0.9),
        "not all that it needs is known: {prior:?}"
    );
}

#[test]
fn checkpoints_are_on_the_scale_of_the_fitted_score_or_there_are_none() {
    let mut weights = [0.0; WEIGHTS];
    weights[0] = -5.0;
    let config = Config {
        fitted: Some(Fitted::new(&weights, 0.5).unwrap().into()),
        ..Config::default()
    };
    let mut attempt = Attempt::new(config, Asked::default());
    let observe = |attempt: &mut Attempt, thinking| {
        attempt.observe(&Token {
            logprob: -0.7,
            margin: 2.0,
            entropy: Some(0.3),
            thinking,
            ..Token::default()
        });
    };
    for _ in 0..20 {
        observe(&mut attempt, true);
    }
    // What it needs of the answer is not there yet.
    assert!(attempt.record().checkpoints.is_empty());
    for _ in 0..20 {
        observe(&mut attempt, false);
    }
    let known = attempt.record().checkpoints;
    let known = known.iter().map(|known| (known.tokens, known.score > 0.99));
    let known: Vec<_> = known.collect();
    assert_eq!(known, [(32, true)]);
}
