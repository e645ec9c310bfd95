//! A score that was fitted on labelled answers, in place of the built-in prior.
//!
//! p = σ(b + β·g(φ)) is the chance that escalating helps, and the score is 1 − p, so that higher keeps. It needs all of
//! its features: where an endpoint leaves some out, the prior is used, and its own threshold.

use crate::evidence::Snapshot;
use crate::linear::{Linear, Unfit};

/// The features in the order of their weights, behind the bias.
pub const FEATURES: [&str; 12] = [
    "q02",
    "q10",
    "q25",
    "q50",
    "worstWindow",
    "tailWindow",
    "mean",
    "entropyMean",
    "entropyQ90",
    "answerMargin",
    "tokens",
    "promptTokens",
];

/// As many weights as there are features, and the bias before them.
pub const WEIGHTS: usize = 1 + FEATURES.len();

/// The weights of the score, and the threshold on its scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    weights: Linear<{ FEATURES.len() }>,
    threshold: f64,
}

impl Fitted {
    /// With these weights, bias first, and a threshold from 0 to 1.
    pub fn new(weights: &[f64], threshold: f64) -> Result<Self, Unfit> {
        let weights = Linear::new(weights)?;
        Ok(Self { weights, threshold })
    }

    /// Answers that score so are kept.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// How little escalating would help; nothing where a feature is not known.
    pub fn score(&self, evidence: &Snapshot, prompt_tokens: u64) -> Option<f64> {
        let sum = self.weights.sum(features(evidence, prompt_tokens)?);
        // 1 - σ(x) = σ(-x)
        Some(1.0 / (1.0 + sum.exp()))
    }
}

fn features(evidence: &Snapshot, prompt_tokens: u64) -> Option<[f64; FEATURES.len()]> {
    let answer = evidence.answer.as_ref()?;
    // Log-probabilities are close to 0 where a model is sure: what differs there differs in size.
    let log = |surprise: f32| (1e-6 + f64::from(surprise)).ln();
    Some([
        log(answer.q02),
        log(answer.q10),
        log(answer.q25),
        log(answer.q50),
        log(answer.worst_window),
        log(answer.tail_window),
        log(answer.mean),
        f64::from(evidence.entropy_mean?),
        f64::from(evidence.entropy_q90?),
        f64::from(evidence.answer_margin?),
        f64::from(evidence.answer_tokens).ln_1p(),
        (prompt_tokens as f64).ln_1p(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Evidence, Token};

    fn fitted(at: usize, weight: f64) -> Fitted {
        let mut weights = [0.0; WEIGHTS];
        weights[at] = weight;
        Fitted::new(&weights, 0.5).unwrap()
    }

    fn evidence(logprob: f32) -> Snapshot {
        let mut evidence = Evidence::default();
        let token = Token {
            logprob,
            margin: 1.0,
            entropy: Some(0.4),
            ..Token::default()
        };
        evidence.observe(&token);
        evidence.snapshot()
    }

    #[test]
    fn weights_that_are_none_are_told_by_what_is_wrong_with_them() {
        assert_eq!(Fitted::new(&[0.0; 3], 0.5), Err(Unfit::Count(3)));
        let mut weights = [0.0; WEIGHTS];
        weights[4] = f64::NAN;
        assert_eq!(Fitted::new(&weights, 0.5), Err(Unfit::NotFinite(4)));
    }

    #[test]
    fn a_bias_alone_is_a_logistic_and_each_weight_meets_its_feature() {
        let score = fitted(0, 2.0).score(&evidence(-0.5), 9).unwrap();
        assert!((score - 1.0 / (1.0 + 2f64.exp())).abs() < 1e-12);
        // The prompt's tokens come last, the entropy's mean in the eighth place of the features.
        let by_prompt = fitted(12, 1.0).score(&evidence(-0.5), 9).unwrap();
        assert!((by_prompt - 1.0 / (1.0 + 10f64)).abs() < 1e-12);
        let by_entropy = fitted(8, 1.0).score(&evidence(-0.5), 9).unwrap();
        assert!((by_entropy - 1.0 / (1.0 + f64::from(0.4f32).exp())).abs() < 1e-12);
    }

    #[test]
    fn a_surer_answer_scores_higher_and_one_without_entropy_not_at_all() {
        let by_mean = fitted(7, 1.0);
        let [sure, unsure] = [-0.01, -2.0].map(|logprob| by_mean.score(&evidence(logprob), 9));
        assert!(sure.unwrap() > unsure.unwrap());
        let untold = Snapshot {
            entropy_mean: None,
            ..evidence(-0.01)
        };
        assert_eq!(by_mean.score(&untold, 9), None);
    }
}
