//! Holds an ask to the limits of its policy.

use tokio::time::Instant;
use weir_policy::table::Owner;

use crate::ask::Ask;
use crate::limits::{Claim, Estimate, Reservation, Standing};
use crate::matching::Matched;
use crate::metrics::LimitLabels;
use crate::refusal::Refusal;
use crate::settle::Unsettled;
use crate::shared::Shared;

/// An ask of a policy with limits.
pub(super) struct Limiting<'a> {
    shared: &'a Shared,
    matched: &'a Matched,
    claim: Claim<'a>,
}

impl<'a> Limiting<'a> {
    /// Nothing where the policy has none. `routers` are ready.
    pub fn of(shared: &'a Shared, matched: &'a Matched, routers: usize) -> Option<Self> {
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
            shared,
            matched,
            claim,
        })
    }

    /// Counts the ask, and reserves the tokens that it may come to. `asks_a_tier` says whether it may come to any.
    pub fn reserve(
        &self,
        unsettled: &Unsettled,
        (ask, asks_a_tier): (&Ask, bool),
    ) -> Result<(), Refusal> {
        let estimate = Estimate::of(ask, &self.matched.route.settings);
        if let Some(most) = self.claim.most_tokens() {
            estimate.fits(ask, most)?;
        }
        let reserved = self.take(asks_a_tier.then_some(estimate));
        self.tell(unsettled);
        if let Some(reservation) = reserved? {
            let _ = unsettled.reservation.set(reservation);
        }
        Ok(())
    }

    /// Counts an ask that comes to no tokens.
    pub fn count_one(&self) -> Result<(), Refusal> {
        self.take(None).map(drop)
    }

    fn take(&self, estimate: Option<Estimate>) -> Result<Option<Reservation>, Refusal> {
        let limits = &self.shared.limits;
        let reserved = limits.reserve(self.claim, estimate, Instant::now());
        reserved.inspect_err(|refusal| self.count(refusal))
    }

    /// The client is told where it stands.
    pub fn tell(&self, unsettled: &Unsettled) {
        let _ = unsettled.standings.set(self.standings());
    }

    pub fn standings(&self) -> Vec<Standing> {
        self.shared.limits.standings(self.claim, Instant::now())
    }

    fn count(&self, refusal: &Refusal) {
        if let Refusal::Limited { measure, whose, .. } = refusal {
            let labels = LimitLabels {
                policy: self.claim.policy.to_owned(),
                whose: whose.word(),
                limit: measure.word(),
            };
            let limited = &self.shared.metrics.limited;
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
