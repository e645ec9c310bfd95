//! Picks the next token from one row of logits.
//!
//! Invariants: the choice depends on the row, the settings and the draw alone; equal logits are
//! told apart by the lower id. Filters apply in the order temperature, top-k, top-p, min-p, typical,
//! each to what the one before has left.

use std::cmp::Ordering;

use crate::{constraint::Mask, row::likelier};

/// Tokens put in order at a time, for filters that need the first few of a whole vocabulary.
const ORDERED_AT_ONCE: usize = 256;

/// How to pick. The defaults pick freely from the whole vocabulary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Zero takes the most likely token, whatever the rest says.
    pub temperature: f32,
    /// Zero means every token.
    pub top_k: usize,
    pub top_p: f32,
    pub min_p: f32,
    /// The tokens whose surprise is nearest to what is to be expected, up to this probability.
    pub typical_p: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
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
            candidates.sort_unstable_by(likelier);
        }
        let best = candidates.iter().map(|c| c.1).fold(f32::MIN, f32::max);
        for (_, logit) in candidates.iter_mut() {
            *logit = ((*logit - best) / self.temperature).exp();
        }
        if self.top_p < 1.0 {
            let share = f64::from(self.top_p) * total(candidates);
            keep_first(candidates, likelier, |(_, weight)| *weight, share);
        }
        if self.min_p > 0.0 {
            // The likeliest has weight 1, so the bound is relative to it as it stands.
            candidates.retain(|(_, weight)| *weight >= self.min_p.min(1.0));
        }
        if self.typical_p < 1.0 {
            keep_typical(candidates, f64::from(self.typical_p));
        }
    }
}

fn total(candidates: &[(u32, f32)]) -> f64 {
    candidates.iter().map(|c| f64::from(c.1)).sum()
}

/// Keeps the tokens whose surprise, the negative log-probability, is nearest to the entropy: as many
/// as hold `share` of the probability (Meister et al., 2023).
fn keep_typical(candidates: &mut Vec<(u32, f32)>, share: f64) {
    let total = total(candidates);
    let surprise = |weight: f32| -(f64::from(weight) / total).ln();
    let entropy: f64 = candidates
        .iter()
        .filter(|(_, weight)| *weight > 0.0)
        .map(|(_, weight)| f64::from(*weight) / total * surprise(*weight))
        .sum();
    let mut apart: Vec<(u32, f32, f64)> = candidates
        .iter()
        .map(|(id, weight)| (*id, *weight, (surprise(*weight) - entropy).abs()))
        .collect();
    let nearer = |a: &(u32, f32, f64), b: &(u32, f32, f64)| a.2.total_cmp(&b.2).then(a.0.cmp(&b.0));
    keep_first(&mut apart, nearer, |(_, weight, _)| *weight, share * total);
    candidates.clear();
    candidates.extend(apart.into_iter().map(|(id, weight, _)| (id, weight)));
}

/// Keeps as many of the first, in that order, as together reach `share`: at least one. The whole is
/// not put in order for that, since a few of them usually do.
fn keep_first<T>(
    all: &mut Vec<T>,
    order: impl Fn(&T, &T) -> Ordering + Copy,
    weight: impl Fn(&T) -> f32,
    share: f64,
) {
    let (mut ordered, mut at_once, mut held) = (0, ORDERED_AT_ONCE, 0.0);
    while ordered < all.len() {
        let rest = &mut all[ordered..];
        let count = at_once.min(rest.len());
        if count < rest.len() {
            rest.select_nth_unstable_by(count - 1, order);
        }
        rest[..count].sort_unstable_by(order);
        for (index, next) in rest[..count].iter().enumerate() {
            held += f64::from(weight(next));
            if held >= share {
                all.truncate(ordered + index + 1);
                return;
            }
        }
        ordered += count;
        at_once *= 8;
    }
}

fn choose(candidates: &[(u32, f32)], draw: f64) -> u32 {
    let mut left = draw * total(candidates);
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
    use proptest::{collection::vec, prelude::*};

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

    /// What a filter leaves, in the order of ids.
    fn left(sampling: Sampling, logits: &[f32]) -> Vec<u32> {
        let mut candidates: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
        sampling.narrow(&mut candidates);
        let mut ids: Vec<u32> = candidates.into_iter().map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids
    }

    /// The first of `scored`, by score, that together hold `share`; plainly.
    fn first(mut scored: Vec<(f64, u32, f64)>, share: f64) -> Vec<u32> {
        scored.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (mut ids, mut held) = (Vec::new(), 0.0);
        for (_, id, weight) in scored {
            ids.push(id);
            held += weight;
            if held >= share {
                break;
            }
        }
        ids.sort_unstable();
        ids
    }

    fn weights(logits: &[f32], temperature: f32) -> Vec<f64> {
        let best = logits.iter().copied().fold(f32::MIN, f32::max);
        let weight = |logit: &f32| f64::from(((logit - best) / temperature).exp());
        logits.iter().map(weight).collect()
    }

    #[test]
    fn a_seed_picks_the_same_whatever_the_filters_would_have_taken_away() {
        // Filters that take nothing away leave the order of the draw alone.
        let free = Sampling::default();
        let wide = Sampling {
            min_p: 1e-9,
            ..free
        };
        for at in 0..200 {
            let draw = uniform(5, 0, at);
            let picked = free.pick(&LOGITS, None, &[], draw);
            assert_eq!(wide.pick(&LOGITS, None, &[], draw), picked);
        }
    }

    #[test]
    fn what_is_typical_is_neither_the_likeliest_nor_the_least() {
        // One token holds half: the others, an eighth or less each, are nearer to the entropy.
        let weights = [0.5_f32, 0.125, 0.125, 0.125, 0.0625, 0.0625];
        let logits = weights.map(f32::ln);
        let typical = |typical_p| {
            let free = Sampling::default();
            left(Sampling { typical_p, ..free }, &logits)
        };
        // Entropy 2.125 bits; surprises 1, 3 and 4 bits.
        assert_eq!(typical(0.3), [1, 2, 3]);
        assert_eq!(typical(0.4), [0, 1, 2, 3]);
        assert_eq!(typical(0.9), [0, 1, 2, 3, 4]);
        assert_eq!(typical(0.0), [1]);
    }

    proptest! {
        #[test]
        fn filters_leave_what_sorting_everything_leaves(
            logits in vec(-6.0_f32..6.0, 1..3000),
            temperature in 0.3_f32..5.0,
            share in 0.0_f32..0.999,
            top_k in 1_usize..3000,
        ) {
            let free = Sampling { temperature, ..Sampling::default() };
            let weights = weights(&logits, temperature);
            let total: f64 = weights.iter().sum();
            let ids = || 0_u32..logits.len() as u32;
            let by_logit = || ids().map(|id| (-f64::from(logits[id as usize]), id, weights[id as usize]));
            let nucleus = left(Sampling { top_p: share, ..free }, &logits);
            prop_assert_eq!(nucleus, first(by_logit().collect(), f64::from(share) * total));
            let best = left(Sampling { top_k, ..free }, &logits);
            let each = by_logit().map(|(score, id, _)| (score, id, 1.0)).collect();
            prop_assert_eq!(best, first(each, top_k as f64));
            let entropy: f64 = weights.iter().map(|w| -(w / total) * (w / total).ln()).sum();
            let apart = ids().map(|id| {
                let weight = weights[id as usize];
                ((-(weight / total).ln() - entropy).abs(), id, weight)
            });
            let typical = left(Sampling { typical_p: share, ..free }, &logits);
            let expected = first(apart.collect(), f64::from(share) * total);
            // Where two are equally near, rounding may prefer either.
            let both = typical.iter().filter(|id| expected.contains(id)).count();
            prop_assert!(both + 1 >= expected.len() && typical.len().abs_diff(expected.len()) <= 1);
            let floor = left(Sampling { min_p: share, ..free }, &logits);
            let above = ids().filter(|id| weights[*id as usize] >= f64::from(share));
            prop_assert_eq!(floor, above.collect::<Vec<u32>>());
        }

        #[test]
        fn a_pick_is_always_a_token_of_the_row(
            logits in vec(-30.0_f32..30.0, 1..50),
            (temperature, top_k) in (0.0_f32..3.0, 0_usize..60),
            (top_p, min_p, typical_p) in (0.0_f32..1.2, 0.0_f32..1.5, 0.0_f32..1.2),
            draw in 0.0_f64..1.0,
        ) {
            let sampling = Sampling { temperature, top_k, top_p, min_p, typical_p };
            prop_assert!((sampling.pick(&logits, None, &[], draw) as usize) < logits.len());
        }
    }
}
