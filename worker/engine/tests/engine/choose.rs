//! Scores of closed answers, against what writing them would have said.

use weir_engine::{Origin, Refused, Scoring, common_prefix};

use crate::harness::Harness;

const TICKET: &str = "Hello, I was charged twice for my subscription this month. Please help!";

fn scoring(harness: &Harness, options: &[&str]) -> Scoring {
    let prompt = harness.chat(TICKET);
    let alone = harness.encode(&prompt);
    let sequences: Vec<Vec<u32>> = options
        .iter()
        .map(|option| harness.encode(&format!("{prompt}{option}")))
        .collect();
    let from = sequences
        .iter()
        .map(|sequence| common_prefix([&alone[..], sequence]))
        .min()
        .unwrap();
    Scoring {
        sequences,
        from,
        ends: harness.tokenizer.ends().into(),
        origin: Origin::default(),
    }
}

#[tokio::test]
async fn a_score_is_the_sum_of_what_writing_the_option_says() {
    let harness = Harness::new();
    let written = harness.write(harness.ask(TICKET)).await;
    let sum: f64 = written
        .tokens
        .iter()
        .map(|token| f64::from(token.evidence.logprob))
        .sum();
    let options = ["delivery", "billing", "general"];
    let scores = harness
        .engine
        .score(scoring(&harness, &options))
        .await
        .unwrap()
        .sums;
    assert!((scores[1] - sum).abs() < 1e-4, "{scores:?} against {sum}");
    assert!(scores[1] > scores[0] && scores[1] > scores[2]);
    harness.until_idle().await;
}

#[tokio::test]
async fn a_score_does_not_depend_on_the_other_options_or_their_order() {
    let harness = Harness::new();
    let options = ["bill", "billing", "billing department", "x"];
    let together = harness
        .engine
        .score(scoring(&harness, &options))
        .await
        .unwrap()
        .sums;
    let reversed = ["x", "billing department", "billing", "bill"];
    let mut backwards = harness
        .engine
        .score(scoring(&harness, &reversed))
        .await
        .unwrap()
        .sums;
    backwards.reverse();
    assert_eq!(together, backwards);
    for (option, score) in options.iter().zip(&together) {
        let pair = harness
            .engine
            .score(scoring(&harness, &[option, "zzz"]))
            .await
            .unwrap()
            .sums;
        assert!((pair[0] - score).abs() < 1e-6, "{option}");
    }
}

#[tokio::test]
async fn an_option_that_begins_another_is_told_apart_by_its_ending() {
    let harness = Harness::new();
    let scores = harness
        .engine
        .score(scoring(&harness, &["bill", "billing"]))
        .await
        .unwrap()
        .sums;
    assert!(scores[1] > scores[0], "{scores:?}");
}

#[tokio::test]
async fn options_that_do_not_fit_are_refused() {
    let harness = Harness::new();
    let long = "billing ".repeat(600);
    let refused = harness
        .engine
        .score(scoring(&harness, &["billing", &long]))
        .await;
    assert!(matches!(
        refused.unwrap_err(),
        Refused::TooLong {
            context_tokens: 512,
            ..
        }
    ));
}
