//! Fitted weights of a logistic, before it is one: what the scores and chances that are learnt have in common.

/// A bias, and a weight for each feature.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Linear<const FEATURES: usize> {
    bias: f64,
    weights: [f64; FEATURES],
}

/// Why numbers are no weights.
#[derive(Clone, Debug, PartialEq)]
pub enum Unfit {
    /// There should be one for each feature, and the bias before them.
    Count(usize),
    /// The one at this place is no number.
    NotFinite(usize),
}

impl<const FEATURES: usize> Linear<FEATURES> {
    /// With these numbers, bias first.
    pub fn new(numbers: &[f64]) -> Result<Self, Unfit> {
        if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
            return Err(Unfit::NotFinite(at));
        }
        let unfit = || Unfit::Count(numbers.len());
        let (bias, weights) = numbers.split_first().ok_or_else(unfit)?;
        Ok(Self {
            bias: *bias,
            weights: weights.try_into().map_err(|_| unfit())?,
        })
    }

    /// The bias and all features by their weights.
    pub fn sum(&self, features: [f64; FEATURES]) -> f64 {
        let weighted = self.weights.iter().zip(features);
        let weighted = weighted.map(|(weight, feature)| weight * feature);
        self.bias + weighted.sum::<f64>()
    }
}
