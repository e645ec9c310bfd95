//! What evidence is made of equals the sums in f64.

use weir_kernels::Summary;

use crate::numbers::{classes, numbers};

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
    for count in [1, 2, 15, 16, 17, 511, 512, 513, 1536, 40_003] {
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
    for at in [0, 15, 500, 512, 700, 1535] {
        let mut logits = numbers(5, 1536);
        logits[at] = 30.0;
        logits[(at + 3) % 1536] = 29.0;
        assert_summary(&logits);
    }
}

#[test]
fn of_logits_that_tie_the_first_is_best_and_the_margin_is_nothing() {
    let mut logits = numbers(6, 600);
    logits[70] = 9.0;
    logits[580] = 9.0;
    assert_summary(&logits);
    assert_eq!(Summary::of(classes()[0], &logits).margin(), 0.0);
}

#[test]
fn impossible_tokens_weigh_nothing() {
    let mut logits = vec![f32::NEG_INFINITY; 700];
    (logits[600], logits[3]) = (2.0, 1.0);
    assert_summary(&logits);
}

#[test]
fn logits_that_are_no_numbers_show_in_the_sum() {
    for class in classes() {
        let summary = Summary::of(class, &[f32::NAN; 600]);
        assert!(!summary.log_sum_exp.is_finite(), "{class}: {summary:?}");
    }
}
