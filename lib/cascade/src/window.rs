//! Means over the last few numbers, and the worst such mean so far.

/// A stretch of this many tokens is about a sentence: long enough that one odd word does not
/// decide, short enough that one bad sentence in a good page shows.
pub(crate) const LENGTH: usize = 32;

/// The last [`LENGTH`] numbers with their sum, and the highest mean of any full window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Window {
    ring: [f32; LENGTH],
    seen: u32,
    sum: f64,
    worst: Option<f64>,
}

impl Window {
    pub fn add(&mut self, value: f32) {
        let slot = self.seen as usize % LENGTH;
        // Slots not yet filled are zero, so nothing leaves the sum before the ring is full.
        self.sum += f64::from(value) - f64::from(self.ring[slot]);
        self.ring[slot] = value;
        self.seen += 1;
        if self.seen as usize >= LENGTH {
            let mean = self.sum / LENGTH as f64;
            self.worst = Some(self.worst.map_or(mean, |worst| worst.max(mean)));
        }
    }

    /// The highest mean of [`LENGTH`] neighbours; of all numbers where there are fewer.
    pub fn worst(&self) -> Option<f64> {
        self.worst.or_else(|| self.tail())
    }

    /// What [`worst`](Self::worst) cannot fall below, whatever follows.
    pub fn worst_at_least(&self) -> f64 {
        // While the window is filling, zeros may still follow and thin out its mean.
        self.worst.unwrap_or(self.sum / LENGTH as f64)
    }

    /// The mean of the last [`LENGTH`] numbers, or of all where there are fewer.
    pub fn tail(&self) -> Option<f64> {
        let count = (self.seen as usize).min(LENGTH);
        (count > 0).then(|| self.sum / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn filled(values: &[f32]) -> Window {
        let mut window = Window::default();
        values.iter().for_each(|value| window.add(*value));
        window
    }

    fn mean(values: &[f32]) -> f64 {
        values.iter().copied().map(f64::from).sum::<f64>() / values.len() as f64
    }

    proptest! {
        #[test]
        fn the_worst_window_is_the_worst_of_all_windows(values in vec(0f32..40.0, 1..150)) {
            let naive = values.windows(LENGTH.min(values.len())).map(mean).fold(0.0, f64::max);
            let window = filled(&values);
            prop_assert!((window.worst().unwrap() - naive).abs() < 1e-9);
            let tail = mean(&values[values.len().saturating_sub(LENGTH)..]);
            prop_assert!((window.tail().unwrap() - tail).abs() < 1e-9);
        }

        #[test]
        fn nothing_that_follows_gets_below_the_least(
            values in vec(0f32..40.0, 0..80),
            more in vec(0f32..40.0, 1..80),
        ) {
            let least = filled(&values).worst_at_least();
            let whole = filled(&[values, more].concat());
            prop_assert!(whole.worst().unwrap() >= least - 1e-9);
        }
    }
}
