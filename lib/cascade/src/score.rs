//! From evidence to one number between 0 and 1: the built-in prior of each task.
//!
//! It holds until labels exist to fit a better one. Each formula is the simplest that uses the
//! evidence which tells right from wrong best for its task:
//!
//! | task | score | why |
//! | --- | --- | --- |
//! | choice, short | exp(-sum of surprise) | the probability of this very answer among all the model could have given; the margin adds nothing here, because p ≤ p1/(p1+p2) |
//! | JSON | √(p of the worst value token × p of the worst tenth) | structure is near certain and drowns a mean; one wrong value spoils the document |
//! | text | exp(-worst window) | a mean over a page hides the one sentence that was made up |
//! | reasoning | √(σ(answer margin) × exp(-worst window of the thinking)) | the answer's first token decides, and a lost thread shows before it |
//!
//! Every one of them falls, or stays, when any token becomes less likely.

use crate::evidence::{Evidence, Series};
use crate::task::Task;

/// How sure the model is of its answer, from 0 to 1; `None` where no token has been weighed, or too much of
/// the answer is unknown to weigh the rest.
///
/// An answer of forced tokens only is certain: the model had no say in it.
pub fn score(task: Task, evidence: &Evidence) -> Option<f64> {
    // Of what was thought before it no other task makes anything.
    let is_unweighed = match task {
        Task::Reasoning => evidence.is_empty(),
        Task::Choice | Task::Short | Task::Json | Task::Text => evidence.answer.is_empty(),
    };
    if is_unweighed {
        let has_any = evidence.answer_tokens() > 0 && !evidence.has_unseen();
        return has_any.then_some(1.0);
    }
    if evidence.is_patchy() {
        return None;
    }
    Some(match task {
        Task::Choice | Task::Short => (-evidence.answer.sum).exp(),
        Task::Json => {
            let values = values_or_all(evidence);
            let tenth = values.histogram.quantile(0.9).unwrap_or(0.0);
            (-(f64::from(values.worst) + f64::from(tenth)) / 2.0).exp()
        }
        Task::Text => (-evidence.answer.window.worst().unwrap_or(0.0)).exp(),
        Task::Reasoning => {
            let worst = thinking_or_all(evidence).window.worst().unwrap_or(0.0);
            let answer = evidence.answer_margin().map_or(1.0, two_way);
            (answer * (-worst).exp()).sqrt()
        }
    })
}

/// The highest score that an answer which begins like this can still end with, if every token
/// to come were certain.
pub fn bound(task: Task, evidence: &Evidence) -> f64 {
    match task {
        Task::Choice | Task::Short => (-evidence.answer.sum).exp(),
        // Until a value came, tokens may yet turn out to be structure. Certain values dilute the
        // tenth percentile away; the worst one stays.
        Task::Json => (-f64::from(evidence.values.worst) / 2.0).exp(),
        Task::Text => (-evidence.answer.window.worst_at_least()).exp(),
        Task::Reasoning => {
            // As long as nothing was thought, thinking may still come and be judged instead.
            let worst = evidence.thinking.window.worst_at_least();
            let answer = evidence.answer_margin().map_or(1.0, two_way);
            (answer * (-worst).exp()).sqrt()
        }
    }
}

/// An engine that marks no values gives all tokens of the answer.
fn values_or_all(evidence: &Evidence) -> &Series {
    if evidence.values.is_empty() {
        &evidence.answer
    } else {
        &evidence.values
    }
}

fn thinking_or_all(evidence: &Evidence) -> &Series {
    if evidence.thinking.is_empty() {
        &evidence.answer
    } else {
        &evidence.thinking
    }
}

/// The best token's share of what it and the second best have together.
fn two_way(margin: f32) -> f64 {
    1.0 / (1.0 + f64::from(-margin).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Token;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const TASKS: [Task; 5] = [
        Task::Choice,
        Task::Json,
        Task::Short,
        Task::Text,
        Task::Reasoning,
    ];

    fn observed(tokens: &[Token]) -> Evidence {
        let mut evidence = Evidence::default();
        tokens.iter().for_each(|token| evidence.observe(token));
        evidence
    }

    fn tokens(most: usize) -> impl Strategy<Value = Vec<Token>> {
        let token = (
            -12f32..0.0,
            0f32..12.0,
            0f32..5.0,
            prop::bool::weighted(0.2),
            any::<bool>(),
        );
        vec(token, 1..most).prop_map(|tokens| {
            let tokens = tokens
                .into_iter()
                .map(|(logprob, margin, entropy, forced, value)| Token {
                    logprob,
                    margin,
                    entropy: Some(entropy),
                    forced,
                    value,
                    ..Token::default()
                });
            tokens.collect()
        })
    }

    #[test]
    fn a_choice_scores_as_the_probability_of_its_tokens_together() {
        let half = Token {
            logprob: 0.5f32.ln(),
            ..Token::default()
        };
        let score = score(Task::Choice, &observed(&[half, half])).unwrap();
        assert!((score - 0.25).abs() < 1e-6, "{score}");
    }

    #[test]
    fn one_unsure_value_spoils_a_document_of_sure_structure() {
        let sure = Token {
            logprob: -1e-5,
            ..Token::default()
        };
        let value = Token {
            logprob: -3.0,
            value: true,
            ..Token::default()
        };
        let mut document = vec![sure; 60];
        document.push(value);
        let evidence = observed(&document);
        assert!(score(Task::Json, &evidence).unwrap() < 0.1);
        assert!(
            score(Task::Text, &evidence).unwrap() > 0.9,
            "a mean would not see it"
        );
    }

    #[test]
    fn one_made_up_sentence_in_a_sure_page_decides_the_page() {
        let token = |logprob| Token {
            logprob,
            ..Token::default()
        };
        let mut page = vec![token(-0.05); 400];
        page[200..232].fill(token(-2.0));
        let worst = score(Task::Text, &observed(&page)).unwrap();
        assert!((worst - (-2.0f64).exp()).abs() < 1e-6, "{worst}");
    }

    #[test]
    fn without_a_token_there_is_no_score_and_forced_tokens_are_certain() {
        let forced = Token {
            forced: true,
            logprob: -7.0,
            ..Token::default()
        };
        for task in TASKS {
            assert_eq!(score(task, &Evidence::default()), None);
            assert_eq!(score(task, &observed(&[forced])), Some(1.0));
        }
    }

    #[test]
    fn an_answer_of_which_too_much_is_unknown_has_no_score() {
        let sure = Token {
            logprob: -0.01,
            ..Token::default()
        };
        let forced = Token {
            forced: true,
            ..sure
        };
        for task in TASKS {
            for tokens in [
                vec![Token::unseen(false)],
                vec![Token::unseen(true)],
                vec![forced, Token::unseen(false)],
                vec![sure, sure, Token::unseen(false)],
            ] {
                assert_eq!(score(task, &observed(&tokens)), None, "{task:?} {tokens:?}");
            }
            let thought = [Token::unseen(true), sure];
            assert!(score(task, &observed(&thought)).is_some(), "{task:?}");
        }
    }

    proptest! {
        #[test]
        fn scores_and_bounds_are_between_zero_and_one(tokens in tokens(80)) {
            let evidence = observed(&tokens);
            for task in TASKS {
                prop_assert!((0.0..=1.0).contains(&score(task, &evidence).unwrap()));
                prop_assert!((0.0..=1.0).contains(&bound(task, &evidence)));
            }
        }

        #[test]
        fn a_less_likely_token_never_raises_the_score(tokens in tokens(80), at in any::<prop::sample::Index>(), worse in 0f32..5.0) {
            let mut lowered = tokens.clone();
            lowered[at.index(tokens.len())].logprob -= worse;
            for task in TASKS {
                let (before, after) = (score(task, &observed(&tokens)), score(task, &observed(&lowered)));
                prop_assert!(after.unwrap() <= before.unwrap() + 1e-9, "{task:?}");
            }
        }

        #[test]
        fn no_continuation_ends_above_the_bound(begun in tokens(60), rest in tokens(60), thinks in any::<bool>()) {
            let mut whole = begun;
            // Thinking, where there is any, comes first.
            if thinks {
                whole.iter_mut().for_each(|token| token.thinking = true);
            }
            let bounds = TASKS.map(|task| bound(task, &observed(&whole)));
            whole.extend(rest);
            let evidence = observed(&whole);
            for (task, bound) in TASKS.into_iter().zip(bounds) {
                prop_assert!(score(task, &evidence).unwrap() <= bound + 1e-9, "{task:?}");
            }
        }
    }
}
