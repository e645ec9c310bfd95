//! Answers to asks that offer tools: words, calls, and words before a call.

mod tokens;

use proptest::collection::vec;
use proptest::prelude::*;
use weir_cascade::{
    AbortReason, Asked, Attempt, CommitReason, Config, FinishReason, Signal, Task, Token, Verdict,
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
    // One window, and as much as the head of a call may take.
    assert!(tokens <= 48, "{tokens}");
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
fn a_call_whose_name_was_a_guess_is_given_up_before_its_arguments_are_written() {
    let named = |probability| {
        let mut attempt = attempt(OFFERED);
        attempt.observe(&token(0.01));
        attempt.observe(&value(probability));
        attempt.calls();
        attempt
    };
    let guessed = named(0.1).checkpoint();
    assert!(
        matches!(guessed, Verdict::Abort(AbortReason::Hopeless { .. })),
        "{guessed:?}"
    );
    let mut sure = named(0.97);
    assert_eq!(sure.checkpoint(), Verdict::Wait);
    sure.observe(&value(0.99));
    let verdict = sure.finish(FinishReason::ToolCalls);
    assert!(matches!(verdict, Verdict::Commit(_)), "{verdict:?}");
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
    let (tokens, verdict) = say(&mut said, &[0.99; 40]);
    assert_eq!(tokens, 16, "longer than what stands before a call");
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
    // In one event with the call, and longer hopeless than the head of one.
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

/// With the line where hardly any token before a call may be free.
fn strict() -> Attempt {
    let config = Config {
        threshold: Some(0.9),
        ..Config::default()
    };
    Attempt::new(config, OFFERED)
}

#[test]
fn a_sure_call_behind_sure_words_goes_whatever_its_mark_was_like_and_however_many_the_words_are() {
    for words in 0..70 {
        let mut attempt = strict();
        let said = say(&mut attempt, &vec![0.99; words]);
        assert_eq!(said, (words, Verdict::Wait));
        // A mark of some tokens, of which no text shows anything.
        for probability in [0.01, 0.5, 0.3, 0.6, 0.4, 0.9] {
            attempt.observe(&token(probability));
            assert_eq!(attempt.checkpoint(), Verdict::Wait, "after {words} words");
        }
        for _ in 0..4 {
            attempt.observe(&value(0.99));
            attempt.calls();
            assert_eq!(attempt.checkpoint(), Verdict::Wait, "after {words} words");
        }
        let verdict = attempt.finish(FinishReason::ToolCalls);
        assert!(
            matches!(verdict, Verdict::Commit(_)),
            "{words}: {verdict:?}"
        );
    }
}

#[test]
fn of_a_call_that_an_endpoint_tells_nothing_of_the_words_before_it_say_nothing() {
    let words: Vec<f32> = (0..60)
        .map(|at| if at == 30 { 0.05 } else { 0.95 })
        .collect();
    let mut attempt = attempt(OFFERED);
    assert_eq!(say(&mut attempt, &words), (60, Verdict::Wait));
    assert!(attempt.score().is_some());
    // Too few for the whole to count as unknown.
    for _ in 0..3 {
        attempt.observe(&Token::unseen(false));
    }
    attempt.calls();
    assert_eq!(attempt.score(), None);
    let verdict = attempt.finish(FinishReason::ToolCalls);
    assert_eq!(verdict, Verdict::Commit(CommitReason::Plausible));
}

/// One token of an answer, as a tier sends it.
#[derive(Clone, Copy, Debug)]
enum Sent {
    Word(f32),
    /// Of what stands before a call.
    Head(f32),
    Value(f32),
}

fn send(attempt: &mut Attempt, event: &[Sent]) {
    let mut text = String::new();
    for sent in event {
        match sent {
            Sent::Word(probability) => {
                attempt.observe(&token(*probability));
                text.push_str(&format!(" word{}", attempt.evidence().tokens()));
            }
            Sent::Head(probability) => attempt.observe(&token(*probability)),
            Sent::Value(probability) => attempt.observe(&value(*probability)),
        }
    }
    attempt.text(&text);
    if event.iter().any(|sent| matches!(sent, Sent::Value(_))) {
        attempt.calls();
    }
    attempt.checkpoint();
}

fn sent(kind: fn(f32) -> Sent, most: usize, least: f32) -> impl Strategy<Value = Vec<Sent>> {
    vec((least..1.0).prop_map(kind), 0..most)
}

proptest! {
    #[test]
    fn how_words_and_a_call_are_grouped_into_events_changes_no_verdict(
        words in sent(Sent::Word, 60, 0.6),
        head in sent(Sent::Head, 30, 0.01),
        values in sent(Sent::Value, 8, 0.8),
        group in 2usize..30,
    ) {
        let reason = match values.is_empty() {
            true => FinishReason::Stop,
            false => FinishReason::ToolCalls,
        };
        let answer = [words, head, values].concat();
        let judged = |group| {
            let mut attempt = strict();
            answer.chunks(group).for_each(|event| send(&mut attempt, event));
            attempt.finish(reason)
        };
        prop_assert_eq!(judged(1), judged(group));
    }
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
