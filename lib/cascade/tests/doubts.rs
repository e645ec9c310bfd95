//! Answers that go out before they are judged.

mod tokens;

use weir_cascade::{AbortReason, Asked, Attempt, Config, FinishReason, HoldBack, Signal, Verdict};

use tokens::token;

#[test]
fn what_is_not_held_back_is_doubted_at_its_end_for_what_it_would_have_been_dropped_for() {
    let doubt = |is_trusted, probability, text: &str| {
        let config = Config {
            hold_back: HoldBack::Off,
            is_trusted,
            ..Config::default()
        };
        let mut attempt = Attempt::new(config, Asked::default());
        for _ in 0..20 {
            attempt.observe(&token(probability));
        }
        attempt.text(text);
        let verdict = attempt.finish(FinishReason::Stop);
        assert!(matches!(verdict, Verdict::Commit(_)), "it has gone out");
        attempt.record().doubt
    };
    assert_eq!(doubt(false, 0.9, "Restart it."), None);
    assert!(matches!(
        doubt(false, 0.2, "Restart it."),
        Some(AbortReason::Unsure { .. })
    ));
    let refusal = "I'm sorry, but I can't help with that.";
    let refused = Some(AbortReason::Signal(Signal::Refusal));
    assert_eq!(doubt(false, 0.9, refusal), refused);
    let empty = Some(AbortReason::Signal(Signal::Empty));
    assert_eq!(doubt(false, 0.9, ""), empty);
    assert_eq!(doubt(true, 0.2, refusal), None, "it counts as it is");
}
