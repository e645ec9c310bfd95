//! One row of logits as the model gave it, with its evidence.

use weir_model::Summary;

use crate::{constraint::Mask, request::Evidence};

#[derive(Debug)]
pub(crate) struct Row<'a> {
    logits: &'a [f32],
    summary: Summary,
}

impl<'a> Row<'a> {
    pub fn new(logits: &'a [f32], summary: Summary) -> Self {
        Self { logits, summary }
    }

    pub fn logits(&self) -> &[f32] {
        self.logits
    }

    pub fn evidence(&self, id: u32) -> Evidence {
        Evidence {
            logprob: self.logprob(id) as f32,
            margin: self.summary.margin(),
            entropy: self.summary.entropy,
            masked_logprob: None,
        }
    }

    /// A token without a logit is impossible.
    pub fn logprob(&self, id: u32) -> f64 {
        match self.logits.get(id as usize) {
            Some(logit) => f64::from(self.summary.logprob(*logit)),
            None => f64::NEG_INFINITY,
        }
    }

    /// The log-probability among the tokens that `mask` allows.
    pub fn masked_logprob(&self, id: u32, mask: &Mask) -> f32 {
        if !mask.allows(id) {
            return f32::NEG_INFINITY;
        }
        let sum = |ids: &mut dyn Iterator<Item = u32>, unit: f64| -> f64 {
            ids.map(|id| (self.logprob(id) - unit).exp()).sum()
        };
        // Where most are allowed, as within a text, the others are fewer to sum up. What is left of
        // the whole is exact enough as long as it is not small.
        let own = self.logprob(id);
        if mask.count() > self.logits.len() / 2 {
            let allowed = 1.0 - sum(&mut mask.forbidden(), 0.0);
            if allowed > 0.1 {
                // Rounding must not make it likelier than certain.
                return ((own - allowed.ln()) as f32).min(0.0);
            }
        }
        -sum(&mut mask.allowed(), own).ln() as f32
    }

    /// The `count` likeliest tokens with their log-probabilities, likeliest first.
    pub fn likeliest(&self, count: usize) -> Vec<(u32, f32)> {
        if count == 0 {
            return Vec::new();
        }
        let mut all: Vec<(u32, f32)> = (0_u32..).zip(self.logits.iter().copied()).collect();
        let count = count.min(all.len());
        if count < all.len() {
            all.select_nth_unstable_by(count - 1, likelier);
            all.truncate(count);
        }
        all.sort_unstable_by(likelier);
        // In a place of their own: that of the whole vocabulary must not be kept for them.
        all.iter()
            .map(|(id, logit)| (*id, self.summary.logprob(*logit)))
            .collect()
    }
}

/// Orders by logit, highest first, then by id.
pub(crate) fn likelier(a: &(u32, f32), b: &(u32, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use weir_model::KernelClass;

    use super::*;

    fn row(logits: &[f32]) -> Row<'_> {
        Row::new(logits, Summary::of(KernelClass::detect(), logits))
    }

    #[test]
    fn alternatives_take_no_more_memory_than_they_need() {
        let logits: Vec<f32> = (0_u8..200).map(f32::from).collect();
        let likeliest = row(&logits).likeliest(3);
        assert_eq!(likeliest[0].0, 199);
        assert!(likeliest.capacity() < 20, "{}", likeliest.capacity());
    }

    #[test]
    fn alternatives_come_likeliest_first_with_their_log_probabilities() {
        let logits = [0.0, 2.0_f32.ln(), 4.0_f32.ln(), 1.0_f32.ln()];
        let row = row(&logits);
        let likeliest = row.likeliest(2);
        assert_eq!(likeliest.iter().map(|a| a.0).collect::<Vec<_>>(), [2, 1]);
        assert!((likeliest[0].1 - 0.5_f32.ln()).abs() < 1e-6);
        assert_eq!(row.likeliest(9).len(), 4);
        assert!(row.likeliest(0).is_empty());
    }

    #[test]
    fn the_masked_log_probability_is_among_those_allowed() {
        let logits = [1.0_f32, 2.0, 3.0, 2.0, 4.0].map(f32::ln);
        let row = row(&logits);
        let among = |ids: &[u32]| row.masked_logprob(1, &Mask::of(5, ids)).exp();
        assert!((among(&[1, 2]) - 0.4).abs() < 1e-6);
        assert!(
            (among(&[0, 1, 2, 3]) - 0.25).abs() < 1e-6,
            "most are allowed"
        );
        assert!((among(&[1]) - 1.0).abs() < 1e-6);
        let sure = [50.0, 0.0, 0.0, 0.0_f32];
        let row = Row::new(&sure, Summary::of(KernelClass::detect(), &sure));
        let unlikely = row.masked_logprob(1, &Mask::of(4, &[1, 2, 3]));
        assert!(
            (unlikely.exp() - 1.0 / 3.0).abs() < 1e-6,
            "the likeliest is not"
        );
    }

    #[test]
    fn evidence_is_of_the_whole_vocabulary() {
        let logits = [0.0, 3.0_f32.ln()];
        let evidence = row(&logits).evidence(0);
        assert!((evidence.logprob - 0.25_f32.ln()).abs() < 1e-6);
        assert!((evidence.margin - 3.0_f32.ln()).abs() < 1e-6);
        let entropy = -(0.25 * 0.25_f32.ln() + 0.75 * 0.75_f32.ln());
        assert!((evidence.entropy - entropy).abs() < 1e-6);
    }
}
