//! Attempts from their first token to their verdict, as a router drives them.

mod tokens;

use proptest::collection::vec;
use proptest::prelude::*;
use regex::Regex;
use weir_cascade::{
    AbortReason, Asked, Attempt, AttemptRecord, CommitReason, Config, FinishReason, HoldBack,
    Signal, Signals, Task, Token, Verdict,
};

use tokens::token;

fn choice(threshold: f64) -> Config {
    Config {
        task: Some(Task::Choice),
        threshold: Some(threshold),
        ..Config::default()
    }
}

/// Observes one token of each probability, asking for the verdict after each, and stops at the
/// first that is not `Wait`: how many tokens it took, and the verdict.
fn drive(attempt: &mut Attempt, probabilities: &[f32]) -> (usize, Verdict) {
    for (index, probability) in probabilities.iter().enumerate() {
        attempt.observe(&token(*probability));
        attempt.text(&format!(" word{index}"));
        let verdict = attempt.checkpoint();
        if verdict != Verdict::Wait {
            return (index + 1, verdict);
        }
    }
    (probabilities.len(), Verdict::Wait)
}

fn finished(config: Config, asked: Asked, text: &str, reason: FinishReason) -> Verdict {
    let mut attempt = Attempt::new(config, asked);
    attempt.observe(&token(0.99));
    attempt.text(text);
    attempt.finish(reason)
}

fn signal(verdict: Verdict) -> Option<Signal> {
    match verdict {
        Verdict::Abort(AbortReason::Signal(signal)) => Some(signal),
        _ => None,
    }
}

#[test]
fn a_sure_label_is_held_to_its_end_and_then_committed() {
    let mut attempt = Attempt::new(choice(0.9), Asked::default());
    assert_eq!(drive(&mut attempt, &[0.99, 0.98, 0.99]), (3, Verdict::Wait));
    let Verdict::Commit(CommitReason::Sure { score, threshold }) =
        attempt.finish(FinishReason::Stop)
    else {
        panic!("{:?}", attempt.record());
    };
    assert!((score - 0.99 * 0.98 * 0.99).abs() < 1e-6);
    assert_eq!(threshold, 0.9);
}

#[test]
fn an_unsure_label_is_dropped_at_the_token_that_made_it_hopeless() {
    let mut attempt = Attempt::new(choice(0.9), Asked::default());
    let (tokens, verdict) = drive(&mut attempt, &[0.99, 0.6, 0.99, 0.99]);
    assert_eq!(tokens, 2);
    assert!(
        matches!(verdict, Verdict::Abort(AbortReason::Hopeless { bound, .. }) if (bound - 0.594).abs() < 1e-3),
        "{verdict:?}"
    );
}

#[test]
fn a_short_answer_needs_no_task_to_be_held_to_its_end() {
    for (asked, task) in [
        (
            Asked {
                max_tokens: Some(16),
                ..Asked::default()
            },
            Task::Short,
        ),
        // Nothing tells that it will be short, until it has ended.
        (Asked::default(), Task::Short),
    ] {
        let mut attempt = Attempt::new(Config::default(), asked);
        assert_eq!(drive(&mut attempt, &[0.999; 15]), (15, Verdict::Wait));
        assert!(matches!(
            attempt.finish(FinishReason::Stop),
            Verdict::Commit(_)
        ));
        assert_eq!(attempt.task(), task);
    }
}

#[test]
fn a_sure_text_is_let_go_at_the_sixteenth_token_and_not_before() {
    let mut attempt = Attempt::new(Config::default(), Asked::default());
    let (tokens, verdict) = drive(&mut attempt, &[0.9; 40]);
    assert_eq!(tokens, 16);
    assert!(
        matches!(verdict, Verdict::Commit(CommitReason::Sure { .. })),
        "{verdict:?}"
    );
}

#[test]
fn a_text_that_begins_unsure_waits_for_a_later_checkpoint() {
    let mut attempt = Attempt::new(Config::default(), Asked::default());
    let begins: Vec<f32> = [[0.3; 16], [0.9; 16]].concat();
    let (tokens, verdict) = drive(&mut attempt, &begins);
    assert_eq!(tokens, 32);
    assert!(matches!(verdict, Verdict::Commit(_)), "{verdict:?}");
}

#[test]
fn a_hopeless_text_is_abandoned_after_one_window() {
    let mut attempt = Attempt::new(Config::default(), Asked::default());
    let (tokens, verdict) = drive(&mut attempt, &[0.2; 200]);
    assert!(tokens <= 32, "{tokens}");
    assert!(
        matches!(verdict, Verdict::Abort(AbortReason::Hopeless { .. })),
        "{verdict:?}"
    );
}

#[test]
fn json_tools_and_several_answers_are_held_to_the_end() {
    for asked in [
        Asked {
            json: true,
            ..Asked::default()
        },
        Asked {
            tools: true,
            ..Asked::default()
        },
        Asked {
            choices: 2,
            ..Asked::default()
        },
    ] {
        for hold_back in [HoldBack::Auto, HoldBack::Tokens(4)] {
            let config = Config {
                hold_back,
                ..Config::default()
            };
            let mut attempt = Attempt::new(config, asked);
            assert_eq!(
                drive(&mut attempt, &[0.99; 100]).1,
                Verdict::Wait,
                "{asked:?} {hold_back:?}"
            );
        }
    }
}

#[test]
fn thinking_is_held_to_the_end_though_nobody_announced_it() {
    let mut attempt = Attempt::new(Config::default(), Asked::default());
    for _ in 0..100 {
        attempt.observe(&Token {
            thinking: true,
            ..token(0.95)
        });
        assert_eq!(attempt.checkpoint(), Verdict::Wait);
    }
    attempt.observe(&token(0.95));
    attempt.text("42");
    assert!(matches!(
        attempt.finish(FinishReason::Stop),
        Verdict::Commit(_)
    ));
    assert_eq!(attempt.task(), Task::Reasoning);
}

#[test]
fn a_number_of_held_tokens_decides_at_that_number() {
    let config = Config {
        hold_back: HoldBack::Tokens(5),
        ..choice(0.9)
    };
    let (tokens, verdict) = drive(
        &mut Attempt::new(config.clone(), Asked::default()),
        &[0.99; 9],
    );
    assert_eq!((tokens, matches!(verdict, Verdict::Commit(_))), (5, true));

    let text = Config {
        task: Some(Task::Text),
        threshold: Some(0.8),
        ..config
    };
    let (tokens, verdict) = drive(&mut Attempt::new(text, Asked::default()), &[0.7; 9]);
    assert_eq!(
        (
            tokens,
            matches!(verdict, Verdict::Abort(AbortReason::Unsure { .. }))
        ),
        (5, true)
    );
}

#[test]
fn without_holding_back_the_answer_goes_before_its_first_token() {
    let config = Config {
        hold_back: HoldBack::Off,
        ..choice(0.9)
    };
    let mut attempt = Attempt::new(config, Asked::default());
    assert_eq!(attempt.checkpoint(), Verdict::Commit(CommitReason::NotHeld));
    attempt.observe(&token(0.1));
    assert_eq!(
        attempt.finish(FinishReason::Stop),
        Verdict::Commit(CommitReason::NotHeld)
    );
    assert!(
        attempt.score().unwrap() < 0.2,
        "the record still says how sure it was"
    );
}

#[test]
fn an_answer_that_nobody_could_read_goes_up_however_sure() {
    let empty = |reason| signal(finished(choice(0.1), Asked::default(), " \n", reason));
    assert_eq!(empty(FinishReason::Stop), Some(Signal::Empty));
    assert_eq!(
        empty(FinishReason::ToolCalls),
        None,
        "a tool call needs no text"
    );
}

#[test]
fn an_answer_that_was_cut_goes_up_unless_the_client_cut_it() {
    let by_client = || Asked {
        max_tokens: Some(1),
        ..Asked::default()
    };
    let of = |task| Config {
        task: Some(task),
        ..choice(0.1)
    };
    let cut = |task, asked| signal(finished(of(task), asked, "bill", FinishReason::Length));
    assert_eq!(cut(Task::Short, Asked::default()), Some(Signal::Truncated));
    assert_eq!(cut(Task::Short, by_client()), None);
    // Half a label may be another label, whoever cut it.
    for task in [Task::Choice, Task::Json] {
        assert_eq!(cut(task, by_client()), Some(Signal::Truncated), "{task:?}");
    }
    let document = Asked {
        max_tokens: Some(1),
        json: true,
        ..Asked::default()
    };
    assert_eq!(cut(Task::Short, document), Some(Signal::Truncated));
}

#[test]
fn json_that_is_none_goes_up_unless_the_policy_lets_it() {
    let asked = Asked {
        json: true,
        ..Asked::default()
    };
    let end = |config, text| signal(finished(config, asked, text, FinishReason::Stop));
    assert_eq!(
        end(choice(0.1), "{\"team\": \"billing\""),
        Some(Signal::SchemaFailure)
    );
    assert_eq!(end(choice(0.1), "{\"team\": \"billing\"}"), None);
    let lenient = Signals {
        schema_failure: false,
        ..Signals::default()
    };
    assert_eq!(
        end(
            Config {
                signals: lenient,
                ..choice(0.1)
            },
            "{\"team\""
        ),
        None
    );
}

#[test]
fn refusals_patterns_and_brevity_go_up_as_the_policy_says() {
    let end = |signals, text| {
        let config = Config {
            signals,
            ..choice(0.1)
        };
        signal(finished(config, Asked::default(), text, FinishReason::Stop))
    };
    let refusal = "I'm sorry, but I can't help with that.";
    assert_eq!(end(Signals::default(), refusal), Some(Signal::Refusal));
    assert_eq!(
        end(
            Signals {
                refusal: false,
                ..Signals::default()
            },
            refusal
        ),
        None
    );
    let unsure = Signals {
        patterns: vec![Regex::new("not sure").unwrap()],
        ..Signals::default()
    };
    assert_eq!(
        end(unsure, "I am not sure."),
        Some(Signal::Pattern("not sure".to_owned()))
    );
    let wordy = Signals {
        min_tokens: 2,
        ..Signals::default()
    };
    assert_eq!(end(wordy, "yes"), Some(Signal::TooShort));
}

#[test]
fn a_text_is_looked_at_before_any_of_it_goes_out() {
    let signals = Signals {
        patterns: vec![Regex::new("word3").unwrap()],
        ..Signals::default()
    };
    let config = Config {
        signals,
        ..Config::default()
    };
    let (tokens, verdict) = drive(&mut Attempt::new(config, Asked::default()), &[0.95; 40]);
    assert_eq!(
        (tokens, signal(verdict)),
        (16, Some(Signal::Pattern("word3".to_owned())))
    );
}

#[test]
fn a_tier_that_tells_nothing_about_its_tokens_is_not_trusted() {
    let mut attempt = Attempt::new(choice(0.0), Asked::default());
    attempt.text("billing");
    let signals = Signals {
        min_tokens: 0,
        ..Signals::default()
    };
    assert_eq!(
        signal(attempt.finish(FinishReason::Stop)),
        Some(Signal::TooShort)
    );
    let mut attempt = Attempt::new(
        Config {
            signals,
            ..choice(0.0)
        },
        Asked::default(),
    );
    attempt.text("billing");
    assert_eq!(
        attempt.finish(FinishReason::Stop),
        Verdict::Abort(AbortReason::NoEvidence)
    );
}

#[test]
fn several_answers_go_together_and_the_least_sure_speaks_for_them() {
    let sure = |score| {
        Verdict::Commit(CommitReason::Sure {
            score,
            threshold: 0.5,
        })
    };
    let dropped = Verdict::Abort(AbortReason::NoEvidence);
    assert_eq!(
        Verdict::of_choices([sure(0.9), sure(0.6), sure(0.8)]),
        sure(0.6)
    );
    assert_eq!(
        Verdict::of_choices([sure(0.9), Verdict::Wait]),
        Verdict::Wait
    );
    assert_eq!(
        Verdict::of_choices([Verdict::Wait, dropped.clone(), sure(0.9)]),
        dropped
    );
}

#[test]
fn a_record_tells_what_was_known_at_each_checkpoint_and_survives_json() {
    let mut attempt = Attempt::new(Config::default(), Asked::default());
    drive(&mut attempt, &[0.9; 20]);
    let record = attempt.record();
    let tokens: Vec<u32> = record
        .checkpoints
        .iter()
        .map(|checkpoint| checkpoint.tokens)
        .collect();
    assert_eq!(tokens, [1, 4, 16]);
    let line = serde_json::to_string(&record).unwrap();
    let read: AttemptRecord = serde_json::from_str(&line).unwrap();
    assert_eq!(read.evidence, record.evidence);
    assert_eq!(read.checkpoints.len(), 3);
    assert!((read.score.unwrap() - record.score.unwrap()).abs() < 1e-12);
}

#[test]
fn built_in_thresholds_never_end_a_short_answer_earlier_than_its_own_line_would() {
    // An answer that turns out short is bounded as a text until then.
    assert!(Task::Text.built_in_threshold() <= Task::Short.built_in_threshold());
    assert!(Task::Text.built_in_threshold() <= Task::Reasoning.built_in_threshold());
}

fn tasks() -> impl Strategy<Value = Option<Task>> {
    prop::option::of(prop::sample::select(vec![
        Task::Choice,
        Task::Json,
        Task::Short,
        Task::Text,
        Task::Reasoning,
    ]))
}

proptest! {
    #[test]
    fn a_verdict_is_final(
        task in tasks(),
        threshold in 0.0f64..1.0,
        probabilities in vec(0.05f32..1.0, 1..120),
    ) {
        let config = Config { task, threshold: Some(threshold), ..Config::default() };
        let mut attempt = Attempt::new(config, Asked::default());
        let (_, verdict) = drive(&mut attempt, &probabilities);
        if verdict != Verdict::Wait {
            prop_assert_eq!(&drive(&mut attempt, &probabilities).1, &verdict);
            prop_assert_eq!(&attempt.finish(FinishReason::Length), &verdict);
        }
        let last = attempt.finish(FinishReason::Stop);
        prop_assert_ne!(&last, &Verdict::Wait);
        prop_assert_eq!(attempt.finish(FinishReason::Length), last);
    }

    #[test]
    fn how_tokens_are_grouped_into_events_changes_no_verdict(
        task in tasks(),
        probabilities in vec(0.3f32..1.0, 1..80),
        group in 1usize..20,
    ) {
        let config = Config { task, ..Config::default() };
        let mut singly = Attempt::new(config.clone(), Asked::default());
        drive(&mut singly, &probabilities);
        let mut grouped = Attempt::new(config, Asked::default());
        for (event, tokens) in probabilities.chunks(group).enumerate() {
            tokens.iter().for_each(|probability| grouped.observe(&token(*probability)));
            grouped.text(&format!(" word{event}"));
            grouped.checkpoint();
        }
        prop_assert_eq!(singly.finish(FinishReason::Stop), grouped.finish(FinishReason::Stop));
    }

    #[test]
    fn an_early_abort_agrees_with_the_score_at_the_end(
        task in tasks(),
        threshold in 0.0f64..1.0,
        probabilities in vec(0.05f32..1.0, 1..100),
    ) {
        let config = Config { task, threshold: Some(threshold), ..Config::default() };
        let mut early = Attempt::new(config.clone(), Asked::default());
        let (_, verdict) = drive(&mut early, &probabilities);
        if let Verdict::Abort(AbortReason::Hopeless { .. }) = verdict {
            let mut whole = Attempt::new(config, Asked { choices: 2, ..Asked::default() });
            probabilities.iter().for_each(|probability| whole.observe(&token(*probability)));
            whole.text("word");
            let end = whole.finish(FinishReason::Stop);
            prop_assert!(matches!(end, Verdict::Abort(_)), "{end:?}");
            prop_assert!(whole.score().unwrap() < threshold + 1e-9);
        }
    }
}
