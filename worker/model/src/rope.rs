//! Which angles positions turn by.

use std::f64::consts::TAU;

/// Rotary embedding of the first `dim` dimensions of a head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rope {
    pub(crate) base: f64,
    /// Even; what lies behind it in a head does not turn.
    pub(crate) dim: usize,
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
    /// Slow dimensions divided by `factor`, fast ones kept, those between blended by wavelength.
    Llama3 {
        factor: f64,
        low_frequency_factor: f64,
        high_frequency_factor: f64,
        original_context: f64,
    },
    /// The same, blended along a ramp over the dimensions.
    Yarn(Yarn),
    /// Each pair of dimensions divided by a factor of its own.
    Long {
        factors: Vec<f64>,
        /// Sines and cosines are multiplied by it.
        magnitude: f64,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Yarn {
    pub(crate) factor: f64,
    /// Turns within the original context above which a dimension is kept.
    pub(crate) fast: f64,
    /// Turns below which it is divided.
    pub(crate) slow: f64,
    pub(crate) original_context: f64,
    /// The ramp begins and ends at whole dimensions.
    pub(crate) whole: bool,
    /// Sines and cosines are multiplied by it.
    pub(crate) magnitude: f64,
}

/// Cosines and sines of a batch's positions: a row of half the turning dimensions for each.
#[derive(Debug, Default)]
pub(crate) struct Angles {
    pub(crate) cosines: Vec<f32>,
    pub(crate) sines: Vec<f32>,
}

impl Rope {
    /// As it was trained, not stretched.
    pub(crate) fn plain(base: f64, dim: usize) -> Self {
        let scaling = RopeScaling::None;
        Self { base, dim, scaling }
    }

    /// The angle that one position adds, per pair of dimensions.
    ///
    /// Rounded to f32 as Hugging Face rounds it: at position 8,000 that rounding is visible.
    pub(crate) fn frequencies(&self) -> Vec<f32> {
        (0..self.dim / 2)
            .map(|pair| {
                let exponent = f64::from((2 * pair) as f32 / self.dim as f32);
                let period = f64::from(self.base.powf(exponent) as f32);
                self.scaled(pair, period)
            })
            .collect()
    }

    /// What sines and cosines are multiplied by.
    pub(crate) fn magnitude(&self) -> f32 {
        match &self.scaling {
            RopeScaling::Yarn(Yarn { magnitude, .. }) | RopeScaling::Long { magnitude, .. } => {
                *magnitude as f32
            }
            _ => 1.0,
        }
    }

    fn scaled(&self, pair: usize, period: f64) -> f32 {
        let frequency = f64::from(period.recip() as f32);
        let scaled = match &self.scaling {
            RopeScaling::None => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Llama3 {
                factor,
                low_frequency_factor: low,
                high_frequency_factor: high,
                original_context,
            } => {
                // How often the dimension turns within the original context.
                let turns = original_context * frequency / TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
            RopeScaling::Yarn(yarn) => {
                let kept = yarn.kept(pair, self.base, self.dim);
                (1.0 - kept) * frequency / yarn.factor + kept * frequency
            }
            RopeScaling::Long { factors, .. } => {
                f64::from((factors[pair] as f32) * period as f32).recip()
            }
        };
        scaled as f32
    }
}

impl Yarn {
    /// How much of a dimension's frequency is kept: 1 for fast ones, 0 for slow ones.
    fn kept(&self, pair: usize, base: f64, dim: usize) -> f64 {
        let dim = dim as f64;
        // The dimension that turns so often within the original context.
        let turning =
            |turns: f64| dim * (self.original_context / (turns * TAU)).ln() / (2.0 * base.ln());
        let (mut low, mut high) = (turning(self.fast), turning(self.slow));
        if self.whole {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(dim - 1.0));
        if low == high {
            // As the authors have it: no ramp would be a division by zero.
            high += 0.001;
        }
        1.0 - ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0)
    }
}

impl Angles {
    pub(crate) fn set(&mut self, positions: &[u32], frequencies: &[f32], magnitude: f32) {
        self.cosines.clear();
        self.sines.clear();
        for &position in positions {
            for frequency in frequencies {
                let (sine, cosine) = (position as f32 * frequency).sin_cos();
                self.cosines.push(cosine * magnitude);
                self.sines.push(sine * magnitude);
            }
        }
    }
}
