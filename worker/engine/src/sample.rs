//! Picks the next token from one row of logits.
//!
//! Invariants: the choice depends on the row, the settings and the draw alone; equal logits are
//! told apart by the lower id. Filters apply in the order temperature, top-k, top-p, min-p.

use crate::{constraint::Mask, row::likelier};

/// How to pick. The defaults pick freely from the whole vocabulary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Zero takes the most likely token, whatever the rest says.
    pub temperature: f32,
    /// Zero means every token.
    pub top_k: usize,
    pub top_p: f32,
    pub min_p: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
        }
    }
}

impl Sampling {
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default()
        }
    }

    /// The token for a `draw` from `[0, 1)`, out of those that `mask` allows. Tokens in `banned` are
    /// never picked unless all are.
    pub(crate) fn pick(
        &self,
        logits: &[f32],
        mask: Option<&Mask>,
        banned: &[u32],
        draw: f64,
    ) -> u32 {
        match mask {
            None => self.pick_of(|| (0_u32..).zip(logits.iter().copied()), banned, draw),
            Some(mask) => {
                let logit = |id: u32| Some((id, *logits.get(id as usize)?));
                self.pick_of(|| mask.allowed().filter_map(logit), banned, draw)
            }
        }
    }

    fn pick_of<I: Iterator<Item = (u32, f32)>>(
        &self,
        all: impl Fn() -> I,
        banned: &[u32],
        draw: f64,
    ) -> u32 {
        let allowed = || all().filter(|(id, _)| !banned.contains(id));
        if self.temperature <= 0.0 {
            let best = allowed()
                .min_by(likelier)
                .or_else(|| all().min_by(likelier));
            return best.map_or(0, |(id, _)| id);
        }
        let mut candidates: Vec<(u32, f32)> = allowed().collect();
        if candidates.is_empty() {
            candidates = all().collect();
        }
        self.narrow(&mut candidates);
        choose(&candidates, draw)
    }

    /// Turns logits into weights relative to the likeliest, and keeps what the filters leave.
    fn narrow(&self, candidates: &mut Vec<(u32, f32)>) {
        if self.top_k > 0 && self.top_k < candidates.len() {
            candidates.select_nth_unstable_by(self.top_k - 1, likelier);
            candidates.truncate(self.top_k);
        }
        let ordered = self.top_k > 0 || self.top_p < 1.0;
        if ordered {
            candidates.sort_unstable_by(likelier);
        }
        let best = candidates.iter().map(|c| c.1).fold(f32::MIN, f32::max);
        for (_, logit) in candidates.iter_mut() {
            *logit = ((*logit - best) / self.temperature).exp();
        }
        if self.top_p < 1.0 {
            let total: f64 = candidates.iter().map(|c| f64::from(c.1)).sum();
            let mut before = 0.0;
            let kept = candidates
                .iter()
                .take_while(|(_, weight)| {
                    let keep = before < f64::from(self.top_p) * total;
                    before += f64::from(*weight);
                    keep
                })
                .count();
            candidates.truncate(kept.max(1));
        }
        if self.min_p > 0.0 {
            // The likeliest has weight 1, so the bound is relative to it as it stands.
            candidates.retain(|(_, weight)| *weight >= self.min_p.min(1.0));
        }
    }
}

fn choose(candidates: &[(u32, f32)], draw: f64) -> u32 {
    let total: f64 = candidates.iter().map(|c| f64::from(c.1)).sum();
    let mut left = draw * total;
    for (id, weight) in candidates {
        left -= f64::from(*weight);
        if left < 0.0 {
            return *id;
        }
    }
    // Rounding can leave a sliver beyond the last weight.
    let last = candidates.iter().rev().find(|c| c.1 > 0.0);
    last.or(candidates.first()).map_or(0, |c| c.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::uniform;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, -1.0];

    fn picked(sampling: Sampling) -> Vec<u32> {
        let mut ids: Vec<u32> = (0..2000)
            .map(|at| sampling.pick(&LOGITS, None, &[], uniform(3, 0, at)))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    #[test]
    fn greedy_takes_the_first_of_the_likeliest() {
        assert_eq!(Sampling::greedy().pick(&LOGITS, None, &[], 0.99), 1);
    }

    #[test]
    fn a_banned_token_is_not_picked() {
        assert_eq!(Sampling::greedy().pick(&LOGITS, None, &[1, 3], 0.0), 2);
        assert_eq!(
            Sampling::greedy().pick(&LOGITS, None, &[0, 1, 2, 3, 4], 0.0),
            1,
            "when every token is banned the ban is void"
        );
    }

    #[test]
    fn each_filter_leaves_what_it_promises() {
        let free = Sampling::default();
        assert_eq!(picked(free), [0, 1, 2, 3, 4]);
        assert_eq!(picked(Sampling { top_k: 2, ..free }), [1, 3]);
        assert_eq!(picked(Sampling { top_k: 1, ..free }), [1]);
        // 1 and 3 hold 0.40 each, 2 holds 0.15: two are not enough for 0.85.
        assert_eq!(
            picked(Sampling {
                top_p: 0.85,
                ..free
            }),
            [1, 2, 3]
        );
        assert_eq!(picked(Sampling { top_p: 0.0, ..free }), [1]);
        // exp(2 - 3) is 0.37 of the likeliest.
        assert_eq!(picked(Sampling { min_p: 0.3, ..free }), [1, 2, 3]);
        assert_eq!(picked(Sampling { min_p: 0.5, ..free }), [1, 3]);
    }

    #[test]
    fn frequencies_follow_the_softmax_at_the_temperature() {
        let sampling = Sampling {
            temperature: 2.0,
            ..Sampling::default()
        };
        let draws = 20_000;
        let mut counts = [0_f64; 5];
        for at in 0..draws {
            counts[sampling.pick(&LOGITS, None, &[], uniform(11, 0, at)) as usize] += 1.0;
        }
        let weights = LOGITS.map(|logit| f64::from(logit / 2.0).exp());
        let total: f64 = weights.iter().sum();
        for (count, weight) in counts.iter().zip(weights) {
            assert!((count / draws as f64 - weight / total).abs() < 0.015);
        }
    }

    proptest! {
        #[test]
        fn a_pick_is_always_a_token_of_the_row(
            logits in prop::collection::vec(-30.0_f32..30.0, 1..50),
            (temperature, top_k, top_p, min_p) in (0.0_f32..3.0, 0_usize..60, 0.0_f32..1.2, 0.0_f32..1.5),
            draw in 0.0_f64..1.0,
        ) {
            let sampling = Sampling { temperature, top_k, top_p, min_p };
            prop_assert!((sampling.pick(&logits, None, &[], draw) as usize) < logits.len());
        }
    }
}
