//! Whether to go straight up without trying the small tier, by the prompt alone.
//!
//! Trying it first pays for its answer even where that will not do. Where it is likely enough that it will not, it is
//! passed over; but for a few asks, drawn by a coin, which are tried all the same: of what is never tried nothing
//! more could be learnt.

use serde::{Deserialize, Serialize};

use crate::linear::{Linear, Unfit};
use crate::task::Asked;

/// The features of a prompt in the order of their weights, behind the bias.
pub const SKIP_FEATURES: [&str; 5] = ["promptTokens", "maxTokens", "json", "tools", "choices"];

/// As many weights as there are features, and the bias before them.
pub const SKIP_WEIGHTS: usize = 1 + SKIP_FEATURES.len();

/// Of those that would be passed over, this share is tried.
const EXPLORED: f64 = 0.02;

/// How likely an answer of the small tier will not do: fitted weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Skip {
    weights: Linear<{ SKIP_FEATURES.len() }>,
}

/// What was decided before anything was written, and by what: for the record.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipping {
    /// How likely it is that the small tier's answer will not do.
    pub chance: f64,
    /// Above this it does not pay to try.
    pub line: f64,
    /// What was drawn, from 0 to 1: below 0.02 it is tried all the same.
    pub coin: f64,
    /// It goes straight up.
    pub skips: bool,
}

impl Skip {
    /// With these weights, bias first.
    pub fn new(weights: &[f64]) -> Result<Self, Unfit> {
        let weights = Linear::new(weights)?;
        Ok(Self { weights })
    }

    /// Decides about what is `asked`. `cost_share` is what the small tier's answer costs as a part of the big one's,
    /// `coin` is drawn evenly from 0 to 1 and has nothing to do with the ask.
    pub fn decide(&self, asked: &Asked, cost_share: f64, coin: f64) -> Skipping {
        let features = [
            (asked.prompt_tokens as f64).ln_1p(),
            f64::from(asked.max_tokens.unwrap_or(0)).ln_1p(),
            f64::from(u8::from(asked.json)),
            f64::from(u8::from(asked.tools)),
            f64::from(asked.choices.max(1)).ln(),
        ];
        let chance = 1.0 / (1.0 + (-self.weights.sum(features)).exp());
        // A share that is no number lets nothing be skipped.
        let line = 1.0 - cost_share.clamp(0.0, 1.0);
        Skipping {
            chance,
            line,
            coin,
            skips: chance > line && coin >= EXPLORED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn biased(bias: f64) -> Skip {
        let mut weights = [0.0; SKIP_WEIGHTS];
        weights[0] = bias;
        Skip::new(&weights).unwrap()
    }

    #[test]
    fn it_is_passed_over_where_trying_costs_more_than_it_is_likely_to_save() {
        // 88 % likely not to do.
        let skip = biased(2.0);
        let skips = |cost_share| skip.decide(&Asked::default(), cost_share, 0.5).skips;
        assert!(!skips(0.0), "what costs nothing is tried");
        assert!(!skips(0.1));
        assert!(skips(0.2));
        assert!(skips(7.0));
        assert!(!skips(f64::NAN));
    }

    #[test]
    fn a_coin_lets_one_in_fifty_be_tried_all_the_same() {
        let skip = biased(9.0);
        let skips = |coin| skip.decide(&Asked::default(), 0.5, coin).skips;
        assert_eq!(
            [skips(0.0), skips(0.019), skips(0.02), skips(0.99)],
            [false, false, true, true]
        );
        let tried = (0..10_000).filter(|at| !skips(f64::from(*at) / 10_000.0));
        assert_eq!(tried.count(), 200);
    }

    #[test]
    fn each_weight_meets_its_feature() {
        let asked = Asked {
            prompt_tokens: 99,
            max_tokens: Some(9),
            json: true,
            tools: true,
            choices: 3,
            ..Asked::default()
        };
        let features = [100f64.ln(), 10f64.ln(), 1.0, 1.0, 3f64.ln()];
        for (at, feature) in features.into_iter().enumerate() {
            let mut weights = [0.0; SKIP_WEIGHTS];
            weights[1 + at] = 1.0;
            let skip = Skip::new(&weights).unwrap();
            let chance = skip.decide(&asked, 0.0, 0.5).chance;
            let expected = 1.0 / (1.0 + (-feature).exp());
            assert!((chance - expected).abs() < 1e-12, "{}", SKIP_FEATURES[at]);
        }
        assert_eq!(Skip::new(&[0.0]), Err(Unfit::Count(1)));
    }
}
