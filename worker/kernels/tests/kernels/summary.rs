//! What evidence is made of equals the sums in f64.

use proptest::prelude::*;
use weir_kernels::{Finish, Summary, finish_rows};

use crate::numbers::{assert_close, bits, classes, cpu, numbers};

fn assert_summary(logits: &[f32]) {
    let wide: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    let largest = wide.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mass: f64 = wide.iter().map(|logit| (logit - largest).exp()).sum();
    let log_sum_exp = largest + mass.ln();
    let entropy: f64 = wide
        .iter()
        .map(|logit| logit - log_sum_exp)
        .filter(|logprob| logprob.is_finite())
        .map(|logprob| -logprob * logprob.exp())
        .sum();
    let best = logits
        .iter()
        .position(|logit| f64::from(*logit) == largest)
        .unwrap();
    let others = logits
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != best);
    let second = others
        .map(|(_, logit)| *logit)
        .fold(f32::NEG_INFINITY, f32::max);
    for class in classes() {
        let summary = Summary::of(class, logits);
        assert_eq!(summary.best as usize, best, "{class}");
        assert_eq!(f64::from(summary.best_logit), largest, "{class}");
        assert_eq!(summary.second_logit, second, "{class}");
        let near = |ours: f32, expected: f64| (f64::from(ours) - expected).abs() < 1e-4;
        assert!(
            near(summary.log_sum_exp, log_sum_exp),
            "{class}: {summary:?} {log_sum_exp}"
        );
        assert!(
            near(summary.entropy, entropy),
            "{class}: {summary:?} {entropy}"
        );
        assert_eq!(summary.margin(), summary.best_logit - second);
        assert_eq!(summary.logprob(0.5), 0.5 - summary.log_sum_exp);
    }
}

#[test]
fn a_row_of_any_length_is_summed_up_as_in_f64() {
    for count in [
        1, 2, 15, 16, 17, 511, 512, 513, 1536, 8191, 8192, 8193, 40_003,
    ] {
        for (seed, spread) in [(1, 0.0), (2, 1.0), (3, 12.0), (4, 60.0)] {
            let logits: Vec<f32> = numbers(seed, count)
                .iter()
                .map(|value| value * spread)
                .collect();
            assert_summary(&logits);
        }
    }
}

#[test]
fn the_largest_may_lie_anywhere() {
    for at in [0, 15, 500, 512, 700, 1535, 8191, 8192, 8700, 17_000] {
        for apart in [3, 16, 600, 8192] {
            let mut logits = numbers(5, 17_001);
            logits[at] = 30.0;
            logits[(at + apart) % 17_001] = 29.0;
            assert_summary(&logits);
        }
    }
}

#[test]
fn of_logits_that_tie_the_first_is_best_and_the_margin_is_nothing() {
    for (first, other) in [(70, 580), (70, 86), (70, 71), (580, 16_500), (9000, 9001)] {
        let mut logits = numbers(6, 17_000);
        logits[first] = 9.0;
        logits[other] = 9.0;
        assert_summary(&logits);
        assert_eq!(Summary::of(classes()[0], &logits).margin(), 0.0);
    }
}

#[test]
fn impossible_tokens_weigh_nothing() {
    let mut logits = vec![f32::NEG_INFINITY; 700];
    (logits[600], logits[3]) = (2.0, 1.0);
    assert_summary(&logits);
    for possible in [600, 9000, 16_999] {
        let mut logits = vec![f32::NEG_INFINITY; 17_000];
        (logits[possible], logits[possible - 10]) = (2.0, 1.0);
        assert_summary(&logits);
    }
}

#[test]
fn logits_that_are_no_numbers_show_in_the_sum() {
    for class in classes() {
        let summary = Summary::of(class, &[f32::NAN; 600]);
        assert!(!summary.log_sum_exp.is_finite(), "{class}: {summary:?}");
    }
}

#[test]
fn logits_are_divided_and_then_capped() {
    let product: Vec<f32> = numbers(7, 3 * 9001)
        .iter()
        .map(|value| value * 200.0)
        .collect();
    for (divisor, cap) in [
        (1.0, None),
        (8.0, None),
        (1.0, Some(30.0)),
        (0.3, Some(30.0)),
    ] {
        let expected: Vec<f64> = product
            .iter()
            .map(|logit| f64::from(*logit) / f64::from(divisor))
            .map(|logit| {
                cap.map_or(logit, |cap: f32| {
                    f64::from(cap) * (logit / f64::from(cap)).tanh()
                })
            })
            .collect();
        for class in classes() {
            let mut logits = product.clone();
            let finish = Finish { divisor, cap };
            finish_rows(&cpu(class, 2), (&mut logits, 9001), finish, &mut Vec::new());
            assert_close(
                &logits,
                &expected,
                1e-4,
                &format!("{class} {divisor} {cap:?}"),
            );
        }
    }
}

fn same(a: Summary, b: Summary) -> bool {
    let floats = |s: Summary| bits(&[s.best_logit, s.second_logit, s.log_sum_exp, s.entropy]);
    a.best == b.best && floats(a) == floats(b)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_row_and_its_summary_are_the_same_alone_and_among_others_on_any_number_of_threads(
        (rows, vocabulary) in (1..7usize, prop_oneof![1..40usize, 8100..8300usize, 30_000..41_000usize]),
        (threads, seed) in (1..6usize, 0..1000u32),
        (divisor, cap) in (prop_oneof![Just(1.0f32), 0.1..20.0f32], prop::option::of(1.0..60.0f32)),
    ) {
        let finish = Finish { divisor, cap };
        let product: Vec<f32> =
            numbers(seed, rows * vocabulary).iter().map(|value| value * 40.0).collect();
        for class in classes() {
            let mut logits = product.clone();
            let mut summaries = Vec::new();
            finish_rows(&cpu(class, threads), (&mut logits, vocabulary), finish, &mut summaries);
            prop_assert_eq!(summaries.len(), rows);
            for (row, summary) in summaries.into_iter().enumerate() {
                let ours = &logits[row * vocabulary..][..vocabulary];
                prop_assert!(same(summary, Summary::of(class, ours)), "{} row {}", class, row);
                let mut alone = product[row * vocabulary..][..vocabulary].to_vec();
                let mut of_it = Vec::new();
                finish_rows(&cpu(class, 1), (&mut alone, vocabulary), finish, &mut of_it);
                prop_assert_eq!(bits(&alone), bits(ours), "{} row {}", class, row);
                prop_assert!(same(summary, of_it[0]), "{} row {}", class, row);
            }
        }
    }
}
