//! Answers of models that think before they write.

mod tokens;

use weir_cascade::{AbortReason, Asked, Attempt, Config, HoldBack, Task, Token, Verdict};

use tokens::token;

#[test]
fn no_answer_goes_before_it_has_begun_however_sure_its_thoughts_are() {
    for task in [Task::Text, Task::Choice, Task::Short] {
        for (hold_back, unseen) in [
            (HoldBack::Auto, false),
            (HoldBack::Tokens(4), false),
            (HoldBack::Tokens(4), true),
        ] {
            let config = Config {
                task: Some(task),
                threshold: Some(0.9),
                hold_back,
                ..Config::default()
            };
            let mut attempt = Attempt::new(config, Asked::default());
            for _ in 0..100 {
                attempt.observe(&Token {
                    thinking: true,
                    unseen,
                    ..token(0.999)
                });
                assert_eq!(
                    attempt.checkpoint(),
                    Verdict::Wait,
                    "{task:?} {hold_back:?}"
                );
                assert_eq!(attempt.score(), None);
            }
            let mut verdict = Verdict::Wait;
            for _ in 0..40 {
                attempt.observe(&token(0.3));
                attempt.text(" word");
                verdict = attempt.checkpoint();
            }
            let is_unsure = matches!(
                verdict,
                Verdict::Abort(AbortReason::Hopeless { .. } | AbortReason::Unsure { .. })
            );
            assert!(is_unsure, "{task:?} {hold_back:?}: {verdict:?}");
        }
    }
}
