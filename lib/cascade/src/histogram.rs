//! Quantiles of non-negative numbers in 32 counters.

/// Counters between 0 and infinity.
const BINS: usize = 32;
/// Below this a token is as good as certain: 1e-4 nats is a probability of 99.99 %.
const LOWEST_EDGE: f32 = 1e-4;
/// Thirty steps of this lead from the lowest edge to 20 nats, about one chance in 500 million:
/// worse tokens are told apart by nobody.
const STEP: f64 = 1.502_16;

/// Where one bin ends and the next begins.
const EDGES: [f32; BINS - 1] = edges();

const fn edges() -> [f32; BINS - 1] {
    let mut edges = [0.0; BINS - 1];
    let mut edge = LOWEST_EDGE as f64;
    let mut bin = 0;
    while bin < edges.len() {
        edges[bin] = edge as f32;
        edge *= STEP;
        bin += 1;
    }
    edges
}

/// Counts numbers in log-spaced bins. The order of arrival does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Histogram {
    counts: [u32; BINS],
    total: u32,
    highest: f32,
}

impl Histogram {
    pub fn add(&mut self, value: f32) {
        self.counts[bin(value)] += 1;
        self.total += 1;
        self.highest = self.highest.max(value);
    }

    /// A number that at least the share `q` of the numbers does not exceed, and that is in the
    /// same bin as the smallest such: at most half as large again, and never above the largest.
    pub fn quantile(&self, q: f64) -> Option<f32> {
        let rank = (q.clamp(0.0, 1.0) * f64::from(self.total)).ceil().max(1.0);
        let mut below = 0.0;
        for (bin, count) in self.counts.iter().enumerate() {
            below += f64::from(*count);
            if below >= rank {
                let edge = EDGES.get(bin).copied().unwrap_or(f32::INFINITY);
                return Some(edge.min(self.highest));
            }
        }
        None
    }
}

fn bin(value: f32) -> usize {
    EDGES.partition_point(|edge| *edge <= value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn the_edges_span_what_can_be_told_apart() {
        assert_eq!(EDGES[0], 1e-4);
        assert!((EDGES[BINS - 2] - 20.0).abs() < 0.1, "{}", EDGES[BINS - 2]);
    }

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn a_quantile_lies_in_the_bin_of_the_true_one(values in vec(0f32..40.0, 1..200), q in 0f64..=1.0) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            let mut sorted = values;
            sorted.sort_by(f32::total_cmp);
            let rank = ((q * sorted.len() as f64).ceil() as usize).max(1);
            let (truth, told) = (sorted[rank - 1], histogram.quantile(q).unwrap());
            prop_assert!(told >= truth, "{told} is more optimistic than {truth}");
            prop_assert!(told <= *sorted.last().unwrap());
            let end = EDGES.get(bin(truth)).copied().unwrap_or(f32::INFINITY);
            prop_assert!(told <= end, "{told} is past {end}, the end of the bin of {truth}");
        }

        #[test]
        fn order_does_not_matter(values in vec(0f32..40.0, 0..100)) {
            let mut forwards = Histogram::default();
            let mut backwards = Histogram::default();
            values.iter().for_each(|value| forwards.add(*value));
            values.iter().rev().for_each(|value| backwards.add(*value));
            prop_assert_eq!(forwards, backwards);
        }

        #[test]
        fn a_higher_share_has_no_lower_quantile(values in vec(0f32..40.0, 1..100), a in 0f64..=1.0, b in 0f64..=1.0) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            prop_assert!(histogram.quantile(a.min(b)) <= histogram.quantile(a.max(b)));
        }
    }
}
