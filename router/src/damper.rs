//! How often tiers are tried again: a share of how often they are asked at all, so that one that fails
//! everything is not asked for several times as much as before by those who want to help.
//!
//! A tier may be tried again once for five asks of about the last ten seconds, and ten times more in any case,
//! so that one that is seldom asked is tried again as its policy says. Whoever may not goes up a tier.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Tries again for each ask.
const SHARE: f64 = 0.2;
/// Tries again in any case.
const FLOOR: f64 = 10.0;
/// What was so long ago counts a third.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Of all tiers.
#[derive(Default)]
pub(crate) struct Dampers {
    tiers: Mutex<HashMap<Of, Damper>>,
}

/// A policy and its tier; of a deployment that is asked by its own name, no policy.
type Of = (String, String);

/// Of one tier: sums that fade.
#[derive(Clone, Copy, Debug, Default)]
struct Damper {
    asked: f64,
    again: f64,
    at: Option<Instant>,
}

impl Dampers {
    /// Counts an ask that comes to the tier.
    pub fn ask(&self, (policy, tier): (&str, &str), now: Instant) {
        let mut tiers = self.tiers.lock().unwrap_or_else(PoisonError::into_inner);
        let of = (policy.to_owned(), tier.to_owned());
        tiers.entry(of).or_default().ask(now);
    }

    /// Whether the tier may be tried again, which counts if so.
    pub fn try_again(&self, (policy, tier): (&str, &str), now: Instant) -> bool {
        let mut tiers = self.tiers.lock().unwrap_or_else(PoisonError::into_inner);
        let of = (policy.to_owned(), tier.to_owned());
        tiers.entry(of).or_default().try_again(now)
    }

    /// Forgets tiers that nobody asked of late.
    pub fn sweep(&self, now: Instant) {
        let mut tiers = self.tiers.lock().unwrap_or_else(PoisonError::into_inner);
        tiers.retain(|_, damper| damper.is_of_late(now));
    }
}

impl Damper {
    fn ask(&mut self, now: Instant) {
        self.fade(now);
        self.asked += 1.0;
    }

    fn try_again(&mut self, now: Instant) -> bool {
        self.fade(now);
        let may = self.again + 1.0 <= self.asked * SHARE + FLOOR;
        self.again += f64::from(u8::from(may));
        may
    }

    fn fade(&mut self, now: Instant) {
        let since = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let kept = (-since.as_secs_f64() / REMEMBERED.as_secs_f64()).exp();
        self.asked *= kept;
        self.again *= kept;
        self.at = Some(now);
    }

    fn is_of_late(&mut self, now: Instant) -> bool {
        self.fade(now);
        self.asked + self.again >= 0.01
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIER: (&str, &str) = ("support", "small");
    /// As a policy may say.
    const MOST_RETRIES: usize = 5;

    /// How often a tier is asked and tried again that fails everything, at so many asks a second for so long.
    fn storm(asks_per_second: u32, seconds: u32) -> (f64, f64) {
        let (dampers, began) = (Dampers::default(), Instant::now());
        let (mut asked, mut again) = (0.0, 0.0);
        for ask in 0..asks_per_second * seconds {
            let now = began + Duration::from_secs(1) * ask / asks_per_second;
            dampers.ask(TIER, now);
            asked += 1.0;
            let allowed = (0..MOST_RETRIES).take_while(|_| dampers.try_again(TIER, now));
            again += allowed.count() as f64;
        }
        (asked, again)
    }

    #[test]
    fn a_tier_that_fails_everything_is_asked_at_most_a_fifth_more_and_once_more_a_second() {
        for asks_per_second in [10, 100, 1000] {
            let seconds = 60;
            let (asked, again) = storm(asks_per_second, seconds);
            let most = SHARE * asked + FLOOR + f64::from(seconds);
            assert!(again <= most * 1.01, "{asks_per_second} a second: {again}");
            assert!(
                again >= SHARE * asked * 0.8,
                "{asks_per_second} a second: {again}"
            );
        }
    }

    #[test]
    fn a_tier_that_is_seldom_asked_is_tried_again_as_its_policy_says() {
        let (dampers, mut now) = (Dampers::default(), Instant::now());
        for _ in 0..20 {
            dampers.ask(TIER, now);
            for _ in 0..MOST_RETRIES {
                assert!(dampers.try_again(TIER, now));
            }
            now += REMEMBERED;
        }
    }

    #[test]
    fn a_few_that_fail_together_are_all_tried_again_where_many_ask() {
        let (dampers, began) = (Dampers::default(), Instant::now());
        for ask in 0..1000 {
            dampers.ask(TIER, began + Duration::from_millis(10 * ask));
        }
        let now = began + Duration::from_secs(10);
        for _ in 0..100 {
            assert!(dampers.try_again(TIER, now));
        }
        let other = ("support", "frontier");
        let allowed = (0..100).filter(|_| dampers.try_again(other, now));
        assert_eq!(allowed.count(), 10, "each tier has its own");
    }

    #[test]
    fn a_tier_that_nobody_asks_is_forgotten() {
        let (dampers, now) = (Dampers::default(), Instant::now());
        dampers.ask(TIER, now);
        dampers.sweep(now + REMEMBERED);
        assert_eq!(dampers.tiers.lock().unwrap().len(), 1);
        dampers.sweep(now + 10 * REMEMBERED);
        assert!(dampers.tiers.lock().unwrap().is_empty());
    }
}
