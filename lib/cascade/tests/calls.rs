//! Answers to asks that offer tools: words, calls, and words before a call.

mod tokens;

use weir_cascade::{
    AbortReason, Asked, Attempt, Config, FinishReason, Signal, Task, Token, Verdict,
};

use tokens::token;

const OFFERED: Asked = Asked {
    json: false,
    tools: true,
    must_call: false,
    options: false,
    thinking: false,
    choices: 1,
    max_tokens: None,
    prompt_tokens: 0,
};

fn attempt(asked: Asked) -> Attempt {
    Attempt::new(Config::default(), asked)
}

/// One of the values of a document or a call.
fn value(probability: f32) -> Token {
    Token {
        value: true,
        ..token(probability)
    }
}

/// Says a word for each probability, until there is a verdict.
fn say(attempt: &mut Attempt, probabilities: &[f32]) -> (usize, Verdict) {
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

/// Calls a tool with values of these probabilities, behind a mark of `mark` that no text shows.
fn call(attempt: &mut Attempt, mark: f32, values: &[f32]) -> Verdict {
    attempt.observe(&token(mark));
    assert_eq!(attempt.checkpoint(), Verdict::Wait, "nothing shows yet");
    for probability in values {
        attempt.observe(&value(*probability));
        attempt.calls();
        attempt.checkpoint();
    }
    attempt.finish(FinishReason::ToolCalls)
}

/// Fluent prose: one word in twenty is a free choice.
fn prose() -> Vec<f32> {
    let word = |place: usize| if place % 20 == 7 { 0.1 } else { 0.95 };
    (0..60).map(word).collect()
}

#[test]
fn prose_is_judged_as_prose_though_tools_were_offered_and_is_held_to_its_end() {
    let mut offered = attempt(OFFERED);
    assert_eq!(say(&mut offered, &prose()), (60, Verdict::Wait));
    let verdict = offered.finish(FinishReason::Stop);
    assert!(matches!(verdict, Verdict::Commit(_)), "{verdict:?}");
    let mut plain = attempt(Asked::default());
    say(&mut plain, &prose());
    plain.finish(FinishReason::Stop);
    assert_eq!(offered.task(), Task::Text);
    assert_eq!(offered.record().threshold, plain.record().threshold);
    assert_eq!(offered.score(), plain.score());
    // As a document the same words would have gone up.
    let mut demanded = attempt(Asked {
        must_call: true,
        ..OFFERED
    });
    say(&mut demanded, &prose());
    let verdict = demanded.finish(FinishReason::Stop);
    assert!(matches!(verdict, Verdict::Abort(_)), "{verdict:?}");
}

#[test]
fn a_few_words_are_a_short_answer_though_tools_were_offered() {
    let mut attempt = attempt(OFFERED);
    say(&mut attempt, &[0.99; 4]);
    let verdict = attempt.finish(FinishReason::Stop);
    assert!(matches!(verdict, Verdict::Commit(_)), "{verdict:?}");
    assert_eq!(attempt.task(), Task::Short);
}

#[test]
fn hopeless_prose_is_abandoned_early_though_tools_were_offered() {
    let mut offered = attempt(OFFERED);
    let (tokens, verdict) = say(&mut offered, &[0.2; 200]);
    assert!(tokens <= 32, "{tokens}");
    let verdict_of = |verdict| matches!(verdict, Verdict::Abort(AbortReason::Hopeless { .. }));
    assert!(verdict_of(verdict));
}

#[test]
fn a_call_is_judged_by_its_values_whatever_the_mark_before_it_was_like() {
    for (values, is_sure) in [(&[0.99, 0.98][..], true), (&[0.99, 0.2][..], false)] {
        let mut attempt = attempt(OFFERED);
        let verdict = call(&mut attempt, 0.01, values);
        assert_eq!(
            matches!(verdict, Verdict::Commit(_)),
            is_sure,
            "{verdict:?}"
        );
        assert_eq!(attempt.task(), Task::Json);
    }
}

#[test]
fn nothing_is_given_up_before_it_shows_that_it_is_no_call() {
    let config = Config {
        threshold: Some(0.9),
        ..Config::default()
    };
    // As words these would be hopeless at once.
    let begun = || {
        let mut attempt = Attempt::new(config.clone(), OFFERED);
        attempt.observe(&token(0.001));
        assert_eq!(attempt.checkpoint(), Verdict::Wait);
        assert_eq!(attempt.record().checkpoints[0].bound, None);
        attempt
    };
    let mut called = begun();
    called.observe(&value(0.99));
    called.calls();
    let verdict = called.finish(FinishReason::ToolCalls);
    assert!(matches!(verdict, Verdict::Commit(_)), "{verdict:?}");
    let mut said = begun();
    said.text("Well");
    let verdict = said.checkpoint();
    assert!(
        matches!(verdict, Verdict::Abort(AbortReason::Hopeless { .. })),
        "{verdict:?}"
    );
    let nothing = begun().finish(FinishReason::Stop);
    assert_eq!(nothing, Verdict::Abort(AbortReason::Signal(Signal::Empty)));
}

#[test]
fn no_call_makes_up_for_hopeless_words_and_free_words_spoil_no_call() {
    let mut free = attempt(OFFERED);
    let (_, verdict) = say(&mut free, &[0.3, 0.2, 0.6]);
    assert_eq!(verdict, Verdict::Wait);
    let verdict = call(&mut free, 0.9, &[0.99]);
    assert!(matches!(verdict, Verdict::Commit(_)), "{verdict:?}");
    // In one event with the call.
    let mut hopeless = attempt(OFFERED);
    for _ in 0..32 {
        hopeless.observe(&token(0.1));
    }
    hopeless.text("Let me see, I would think that it is in the end this.");
    hopeless.calls();
    let verdict = hopeless.checkpoint();
    assert!(
        matches!(verdict, Verdict::Abort(AbortReason::Hopeless { .. })),
        "{verdict:?}"
    );
}

#[test]
fn a_policy_s_own_task_holds_for_calls_too() {
    let config = Config {
        task: Some(Task::Choice),
        ..Config::default()
    };
    let mut attempt = Attempt::new(config, OFFERED);
    attempt.observe(&value(0.99));
    attempt.calls();
    attempt.finish(FinishReason::ToolCalls);
    assert_eq!(attempt.task(), Task::Choice);
}

#[test]
fn a_call_that_was_cut_goes_up_and_prose_that_fills_what_was_asked_does_not() {
    let asked = Asked {
        max_tokens: Some(20),
        ..OFFERED
    };
    let mut said = attempt(asked);
    say(&mut said, &[0.9; 20]);
    let verdict = said.finish(FinishReason::Length);
    assert!(matches!(verdict, Verdict::Commit(_)), "{verdict:?}");
    let mut called = attempt(asked);
    for _ in 0..20 {
        called.observe(&value(0.99));
        called.calls();
    }
    let cut = Verdict::Abort(AbortReason::Signal(Signal::Truncated));
    assert_eq!(called.finish(FinishReason::Length), cut);
}
