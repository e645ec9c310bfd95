//! Phase 5: what a policy and each of its tenants may ask in a minute, in asks and in tokens.
//!
//! - Tokens are reserved before anything is asked of a tier, and corrected by what was used when the ask is
//!   over, however it ends.
//! - Each router has an equal part of every limit. What it remembers ends with it.

mod bucket;
mod estimate;
mod meter;
mod standing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;
use weir_policy::Table;

use crate::refusal::Refusal;
pub(crate) use estimate::{Estimate, length_field, prompt_field, used};
pub(crate) use meter::Whose;
use meter::{Bounds, Meter, Rest, Taken};
pub(crate) use standing::{Measure, Standing, tell};

/// Of all policies.
#[derive(Default)]
pub(crate) struct Limits {
    policies: Mutex<HashMap<String, Meters>>,
}

/// Of one policy.
#[derive(Default)]
struct Meters {
    asks: Meter,
    tokens: Meter,
}

/// Who asks, under which limits.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub policy: &'a str,
    /// Empty for whoever has no name.
    pub tenant: &'a str,
    pub limits: &'a weir_crds::Limits,
    /// How many share them.
    pub routers: usize,
}

/// Tokens that were reserved for an ask.
pub(crate) struct Reservation {
    limits: Weak<Limits>,
    policy: String,
    tenant: String,
    taken: Taken,
    estimate: Estimate,
}

impl Claim<'_> {
    /// The most tokens that one ask may come to.
    pub fn most_tokens(&self) -> Option<u64> {
        let [all, each] = self.written(Measure::Tokens);
        all.into_iter().chain(each).min()
    }

    /// For all tenants together, and for each of them.
    fn written(&self, measure: Measure) -> [Option<u64>; 2] {
        let each = self.limits.per_tenant.as_ref();
        match measure {
            Measure::Asks => [
                self.limits.asks_per_minute.map(u64::from),
                each.and_then(|each| each.asks_per_minute.map(u64::from)),
            ],
            Measure::Tokens => [
                self.limits.tokens_per_minute,
                each.and_then(|each| each.tokens_per_minute),
            ],
        }
    }

    /// This router's part.
    fn bounds(&self, measure: Measure) -> Bounds {
        let routers = self.routers.max(1) as f64;
        let [all, each] = self.written(measure);
        let part = |limit: Option<u64>| limit.map(|limit| limit as f64 / routers);
        Bounds {
            all: part(all),
            each: part(each),
        }
    }

    fn limit(&self, measure: Measure, whose: Whose) -> u64 {
        let [all, each] = self.written(measure);
        let limit = match whose {
            Whose::Policy => all,
            Whose::Tenant => each,
        };
        limit.unwrap_or_default()
    }

    /// What is left here, taken for as much at every other router.
    fn standing(&self, measure: Measure, rest: Rest) -> Standing {
        let limit = self.limit(measure, rest.whose);
        let remaining = (rest.left * self.routers.max(1) as f64 + 1e-6) as u64;
        Standing {
            measure,
            whose: rest.whose,
            limit,
            remaining: remaining.min(limit),
            reset: rest.reset,
        }
    }
}

impl Meters {
    fn of(&mut self, measure: Measure) -> &mut Meter {
        match measure {
            Measure::Asks => &mut self.asks,
            Measure::Tokens => &mut self.tokens,
        }
    }
}

impl Limits {
    /// Counts one ask and reserves its tokens; nothing is reserved for one that asks nothing of a tier. Both or
    /// neither: what is refused has taken nothing.
    pub fn reserve(
        self: &Arc<Self>,
        claim: Claim<'_>,
        estimate: Option<Estimate>,
        now: Instant,
    ) -> Result<Option<Reservation>, Refusal> {
        let mut policies = self.policies();
        let meters = policies.entry(claim.policy.to_owned()).or_default();
        let tokens = estimate.map_or(0, Estimate::tokens) as f64;
        let mut longest: Option<Refusal> = None;
        let wanted = [(Measure::Asks, 1.0), (Measure::Tokens, tokens)];
        // Whoever wants none is not kept by what others owe.
        for (measure, amount) in wanted.into_iter().filter(|(_, amount)| *amount > 0.0) {
            let bounds = claim.bounds(measure);
            let meter = meters.of(measure);
            if let Err(short) = meter.ask(claim.tenant, amount, bounds, now) {
                let refusal = Refusal::Limited {
                    measure,
                    whose: short.whose,
                    limit: claim.limit(measure, short.whose),
                    wait: short.wait,
                };
                longest = match longest {
                    Some(other) if wait(&other) >= short.wait => Some(other),
                    _ => Some(refusal),
                };
            }
        }
        if let Some(refusal) = longest {
            return Err(refusal);
        }
        meters.asks.take(claim.tenant, 1.0);
        Ok(estimate.map(|estimate| Reservation {
            limits: Arc::downgrade(self),
            policy: claim.policy.to_owned(),
            tenant: claim.tenant.to_owned(),
            taken: meters.tokens.take(claim.tenant, tokens),
            estimate,
        }))
    }

    /// Where the client stands now.
    pub fn standings(&self, claim: Claim<'_>, now: Instant) -> Vec<Standing> {
        let mut policies = self.policies();
        let meters = policies.entry(claim.policy.to_owned()).or_default();
        let measures = [Measure::Asks, Measure::Tokens].into_iter();
        let standings = measures.filter_map(|measure| {
            let meter = meters.of(measure);
            let rest = meter.rest(claim.tenant, claim.bounds(measure), now)?;
            Some(claim.standing(measure, rest))
        });
        standings.collect()
    }

    /// Forgets policies that are gone.
    pub fn keep(&self, table: &Table) {
        let mut policies = self.policies();
        policies.retain(|name, _| table.policy(name).is_some());
    }

    fn policies(&self) -> MutexGuard<'_, HashMap<String, Meters>> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    pub fn estimate(&self) -> Estimate {
        self.estimate
    }

    /// The ask is over and came to this many tokens.
    pub fn settle(self, used: u64) {
        let Some(limits) = self.limits.upgrade() else {
            return;
        };
        let mut policies = limits.policies();
        if let Some(meters) = policies.get_mut(&self.policy) {
            meters.tokens.settle(&self.tenant, self.taken, used as f64);
        }
    }
}

fn wait(refusal: &Refusal) -> Duration {
    match refusal {
        Refusal::Limited { wait, .. } => *wait,
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const HUNDRED: Estimate = Estimate {
        prompt: 20,
        output: 80,
    };

    fn limits(limits: Value) -> weir_crds::Limits {
        serde_json::from_value(limits).unwrap()
    }

    fn claim(limits: &weir_crds::Limits) -> Claim<'_> {
        Claim {
            policy: "support",
            tenant: "alice",
            limits,
            routers: 1,
        }
    }

    #[test]
    fn what_is_refused_for_its_tokens_does_not_count_as_an_ask() {
        let (all, now) = (Arc::new(Limits::default()), Instant::now());
        let limits = limits(json!({ "asksPerMinute": 2, "tokensPerMinute": 150 }));
        let reserve = |estimate| all.reserve(claim(&limits), estimate, now);
        let first = reserve(Some(HUNDRED)).unwrap();
        let refused = reserve(Some(HUNDRED)).err().unwrap();
        let expected = Refusal::Limited {
            measure: Measure::Tokens,
            whose: Whose::Policy,
            limit: 150,
            wait: Duration::from_secs(20),
        };
        assert_eq!(refused, expected);
        first.unwrap().settle(30);
        assert!(reserve(Some(HUNDRED)).is_ok());
        let refused = reserve(None).err().unwrap();
        assert_eq!(wait(&refused), Duration::from_secs(30));
    }

    #[test]
    fn a_limit_is_divided_by_the_routers_and_told_as_it_is_written() {
        let (all, now) = (Arc::new(Limits::default()), Instant::now());
        let limits = limits(json!({ "asksPerMinute": 30, "perTenant": { "asksPerMinute": 12 } }));
        let claim = Claim {
            routers: 3,
            ..claim(&limits)
        };
        for remaining in [9, 6, 3, 0] {
            all.reserve(claim, None, now).unwrap();
            let standing = all.standings(claim, now)[0];
            assert_eq!((standing.limit, standing.remaining), (12, remaining));
        }
        let refused = all.reserve(claim, None, now).err().unwrap();
        assert_eq!(wait(&refused), Duration::from_secs(15));
        assert!(
            all.standings(claim, now).len() == 1,
            "tokens are not limited"
        );
    }

    #[test]
    fn a_limit_below_the_number_of_routers_is_kept_all_the_same() {
        let (all, now) = (Arc::new(Limits::default()), Instant::now());
        let limits = limits(json!({ "asksPerMinute": 1 }));
        let claim = Claim {
            routers: 3,
            ..claim(&limits)
        };
        let at = |seconds| all.reserve(claim, None, now + Duration::from_secs(seconds));
        assert!(at(0).is_ok());
        assert!(at(179).is_err());
        assert!(at(180).is_ok());
    }

    #[test]
    fn a_policy_that_is_gone_is_forgotten() {
        let all = Arc::new(Limits::default());
        let limits = limits(json!({ "asksPerMinute": 1 }));
        all.reserve(claim(&limits), None, Instant::now()).unwrap();
        all.keep(&Table::default());
        assert!(all.policies().is_empty());
    }
}
