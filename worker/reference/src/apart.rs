//! How far two models are apart along the same tokens.

/// What two rows of logits for each position have in common, and where they part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Apart {
    pub positions: usize,
    /// Positions with the same best token.
    pub agreeing: usize,
    /// None where nothing was compared.
    pub farthest: Option<Farthest>,
    /// The root of the mean square of all differences.
    pub typical: f32,
    /// The standard deviation of the reference's logits, by which a difference is measured.
    pub spread: f32,
    /// The first position with another best token.
    pub first_disagreement: Option<Disagreement>,
}

/// The logits that differ most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Farthest {
    pub position: usize,
    pub token: u32,
    pub ours: f32,
    pub reference: f32,
}

/// A position where the two would write another token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disagreement {
    pub position: usize,
    /// Our best token, and how far it leads the reference's, by our logits.
    pub ours: (u32, f32),
    /// The reference's best token, and how far it leads ours, by its logits.
    pub reference: (u32, f32),
}

/// Two models that are held against each other position by position, so that no logits are kept.
#[derive(Debug, Default)]
pub struct Comparing {
    apart: Apart,
    spread: Spread,
    squares: f64,
    logits: f64,
}

impl Comparing {
    /// The logits of both after the next position.
    pub fn take(&mut self, ours: &[f32], reference: &[f32]) {
        self.apart.take(ours, reference);
        self.spread.take(reference);
        let differences = ours.iter().zip(reference);
        let square =
            |(ours, reference): (&f32, &f32)| f64::from(difference(*ours, *reference)).powi(2);
        self.squares += differences.map(square).sum::<f64>();
        self.logits += ours.len().min(reference.len()) as f64;
    }

    pub fn finish(self) -> Apart {
        Apart {
            typical: (self.squares / self.logits.max(1.0)).sqrt() as f32,
            spread: self.spread.deviation(),
            ..self.apart
        }
    }
}

impl Farthest {
    /// Infinite where one of the two is no number.
    pub fn difference(&self) -> f32 {
        difference(self.ours, self.reference)
    }
}

impl Apart {
    /// Holds one against the other, row by row; what only one of them has is left out.
    pub fn of(ours: &[Vec<f32>], reference: &[Vec<f32>]) -> Self {
        let mut comparing = Comparing::default();
        for (ours, reference) in ours.iter().zip(reference) {
            comparing.take(ours, reference);
        }
        comparing.finish()
    }

    fn take(&mut self, ours: &[f32], reference: &[f32]) {
        let position = self.positions;
        self.positions += 1;
        for (token, (&ours, &reference)) in ours.iter().zip(reference).enumerate() {
            let so_far = self.farthest.map_or(-1.0, |farthest| farthest.difference());
            if difference(ours, reference) > so_far {
                self.farthest = Some(Farthest {
                    position,
                    token: token as u32,
                    ours,
                    reference,
                });
            }
        }
        let (our_best, their_best) = (best(ours), best(reference));
        if our_best == their_best {
            self.agreeing += 1;
        } else if self.first_disagreement.is_none() {
            let lead = |row: &[f32], first: u32, second: u32| {
                let at = |token: u32| row.get(token as usize).copied().unwrap_or(f32::NAN);
                at(first) - at(second)
            };
            self.first_disagreement = Some(Disagreement {
                position,
                ours: (our_best, lead(ours, our_best, their_best)),
                reference: (their_best, lead(reference, their_best, our_best)),
            });
        }
    }

    /// The largest difference, in spreads.
    pub fn share(&self) -> f32 {
        self.in_spreads(self.farthest.map_or(0.0, |farthest| farthest.difference()))
    }

    /// The root of the mean square of all differences, in spreads.
    pub fn typical_share(&self) -> f32 {
        self.in_spreads(self.typical)
    }

    fn in_spreads(&self, difference: f32) -> f32 {
        match difference {
            0.0 => 0.0,
            difference => difference / self.spread,
        }
    }

    /// Whether no logit is apart by more than this many spreads.
    pub fn is_within(&self, tolerance: f32) -> bool {
        self.positions > 0 && self.share() <= tolerance
    }
}

/// The token with the largest logit, the first of those that tie.
pub(crate) fn best(logits: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (token as u32, logit);
        }
    }
    best.0
}

fn difference(ours: f32, reference: f32) -> f32 {
    match (ours - reference).abs() {
        apart if apart.is_nan() => f32::INFINITY,
        apart => apart,
    }
}

/// Of rows that come one by one: their mean, and their squared distances from it.
#[derive(Debug, Default)]
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn take(&mut self, row: &[f32]) {
        let numbers = || row.iter().map(|logit| f64::from(*logit));
        let count = row.len() as f64;
        let mean = numbers().sum::<f64>() / count.max(1.0);
        let squares = numbers().map(|logit| (logit - mean).powi(2)).sum::<f64>();
        // Two sets are one whose mean lies between theirs.
        let (all, between) = (self.count + count, mean - self.mean);
        self.squares += squares + between.powi(2) * self.count * count / all.max(1.0);
        self.mean += between * count / all.max(1.0);
        self.count = all;
    }

    fn deviation(&self) -> f32 {
        (self.squares / self.count.max(1.0)).sqrt() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_logits_and_the_first_other_token_are_found() {
        let ours = [
            vec![0.0, 1.0, 2.0],
            vec![0.0, 3.0, 2.5],
            vec![9.0, 0.0, 0.0],
        ];
        let reference = [
            vec![0.0, 1.5, 2.0],
            vec![0.0, 2.0, 2.25],
            vec![9.0, 0.0, 0.5],
        ];
        let apart = Apart::of(&ours, &reference);
        assert_eq!((apart.positions, apart.agreeing), (3, 2));
        let farthest = apart.farthest.unwrap();
        assert_eq!((farthest.position, farthest.token), (1, 1));
        assert_eq!(farthest.difference(), 1.0);
        let disagreement = apart.first_disagreement.unwrap();
        assert_eq!(disagreement.position, 1);
        assert_eq!(disagreement.ours, (1, 0.5));
        assert_eq!(disagreement.reference, (2, 0.25));
        assert!(apart.is_within(1.0 / apart.spread + 1e-3));
        assert!(!apart.is_within(1.0 / apart.spread - 1e-3));
    }

    #[test]
    fn a_logit_that_is_no_number_is_as_far_as_can_be() {
        let apart = Apart::of(&[vec![f32::NAN, 1.0]], &[vec![0.0, 1.0]]);
        assert_eq!(apart.farthest.unwrap().token, 0);
        assert!(!apart.is_within(1e9));
        let both = Apart::of(&[vec![f32::NAN]], &[vec![f32::NAN]]);
        assert!(!both.is_within(1e9));
    }

    #[test]
    fn the_spread_is_that_of_all_rows_together() {
        let rows = [vec![1.0, 3.0], vec![10.0, 2.0, 4.0], vec![-2.0]];
        // Their mean is 3, and their squared distances from it add up to 80.
        let spread = Apart::of(&rows, &rows).spread;
        assert!((spread - (80.0_f32 / 6.0).sqrt()).abs() < 1e-6, "{spread}");
    }

    #[test]
    fn what_was_not_compared_does_not_agree() {
        assert!(!Apart::of(&[], &[]).is_within(1.0));
    }
}
