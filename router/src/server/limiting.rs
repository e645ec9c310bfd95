//! Holds an ask to the limits of its policy.

use tokio::time::Instant;
use weir_policy::table::Owner;

use crate::ask::Ask;
use crate::limits::{Claim, Estimate};
use crate::matching::Matched;
use crate::metrics::LimitLabels;
use crate::refusal::Refusal;
use crate::settle::Unsettled;

/// An ask of a policy with limits.
pub(super) struct Limiting<'a> {
    unsettled: &'a Unsettled,
    matched: &'a Matched,
    claim: Claim<'a>,
}

impl<'a> Limiting<'a> {
    /// Nothing where the policy has none. `routers` are ready.
    pub fn of(unsettled: &'a Unsettled, matched: &'a Matched, routers: usize) -> Option<Self> {
        let Owner::Policy(policy) = &matched.route.owner else {
            return None;
        };
        let claim = Claim {
            policy: &policy.name,
            tenant: matched.tenant.as_deref().unwrap_or_default(),
            limits: policy.settings.limits.as_ref()?,
            routers,
        };
        Some(Self {
            unsettled,
            matched,
            claim,
        })
    }

    /// Counts the ask, and reserves the tokens that it may come to. `asks_a_tier` says whether it may come to any.
    pub fn reserve(&self, ask: &Ask, asks_a_tier: bool) -> Result<(), Refusal> {
        let estimate = Estimate::of(ask, &self.matched.route.settings);
        if let Some(most) = self.claim.most_tokens() {
            estimate.fits(ask, most)?;
        }
        let limits = &self.unsettled.shared.limits;
        let estimate = asks_a_tier.then_some(estimate);
        let reserved = limits.reserve(self.claim, estimate, Instant::now());
        self.tell();
        match reserved {
            Ok(reservation) => {
                if let Some(reservation) = reservation {
                    let _ = self.unsettled.reservation.set(reservation);
                }
                Ok(())
            }
            Err(refusal) => {
                self.count(&refusal);
                Err(refusal)
            }
        }
    }

    /// The client is told where it stands.
    pub fn tell(&self) {
        let limits = &self.unsettled.shared.limits;
        let standings = limits.standings(self.claim, Instant::now());
        let _ = self.unsettled.standings.set(standings);
    }

    fn count(&self, refusal: &Refusal) {
        if let Refusal::Limited { measure, whose, .. } = refusal {
            let labels = LimitLabels {
                policy: self.claim.policy.to_owned(),
                whose: whose.word(),
                limit: measure.word(),
            };
            let limited = &self.unsettled.shared.metrics.limited;
            limited.get_or_create(&labels).inc();
        }
    }
}

/// Whose ask it is where places are shared: of a tenant, or of all who use a policy or a deployment without a key.
pub(super) fn sharer(matched: &Matched) -> String {
    match (&matched.tenant, &matched.route.owner) {
        (Some(tenant), _) => tenant.clone(),
        (None, Owner::Policy(policy)) => policy.name.clone(),
        // No policy is called so.
        (None, Owner::Deployment(name)) => format!("/{name}"),
    }
}
