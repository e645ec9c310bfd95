//! Which angles positions turn by.

use std::f64::consts::TAU;

/// Rotary embedding over the whole of a head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rope {
    pub(crate) base: f64,
    pub(crate) scaling: RopeScaling,
}

/// How a model was stretched beyond the length it was first trained on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RopeScaling {
    None,
    /// All angles divided by `factor`.
    Linear {
        factor: f64,
    },
    /// Slow dimensions divided by `factor`, fast ones kept, those between blended.
    Llama3 {
        factor: f64,
        low_frequency_factor: f64,
        high_frequency_factor: f64,
        original_context: f64,
    },
}

/// Cosines and sines of a batch's positions: a row of `head_dim` / 2 for each.
#[derive(Debug, Default)]
pub(crate) struct Angles {
    pub(crate) cosines: Vec<f32>,
    pub(crate) sines: Vec<f32>,
}

impl Rope {
    /// The angle that one position adds, per pair of dimensions.
    ///
    /// Rounded to f32 as Hugging Face rounds it: at position 8,000 that rounding is visible.
    pub(crate) fn frequencies(&self, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2)
            .map(|pair| {
                let exponent = (2 * pair) as f64 / head_dim as f64;
                let frequency = f64::from(self.base.powf(exponent) as f32).recip();
                self.scaling.apply(f64::from(frequency as f32)) as f32
            })
            .collect()
    }
}

impl RopeScaling {
    fn apply(&self, frequency: f64) -> f64 {
        match *self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 {
                factor,
                low_frequency_factor: low,
                high_frequency_factor: high,
                original_context,
            } => {
                // How often the dimension turns within the original context.
                let turns = original_context * frequency / TAU;
                if turns < low {
                    frequency / factor
                } else if turns > high {
                    frequency
                } else {
                    let smooth = (turns - low) / (high - low);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
        }
    }
}

impl Angles {
    pub(crate) fn set(&mut self, positions: &[u32], frequencies: &[f32]) {
        self.cosines.clear();
        self.sines.clear();
        for &position in positions {
            for frequency in frequencies {
                let (sine, cosine) = (position as f32 * frequency).sin_cos();
                self.cosines.push(cosine);
                self.sines.push(sine);
            }
        }
    }
}
