//! Which tiers may answer one ask, in which order.
//!
//! A [`Plan`] for a private ask holds [`Inside`] tiers only, by its type: whatever walks it
//! (attempts, retries, fallbacks) cannot reach a tier outside.

use std::sync::Arc;

use crate::tier::{Inside, Tier};

/// Whether an ask may leave the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    Allowed,
    Denied,
}

/// The tiers for one ask.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Nothing of the ask may leave the cluster.
    Private(Vec<Arc<Inside>>),
    Open(Vec<Tier>),
}

impl Plan {
    /// A plan over `tiers` in their order, without those outside where `egress` is denied.
    pub fn over(tiers: impl IntoIterator<Item = Tier>, egress: Egress) -> Self {
        let tiers = tiers.into_iter();
        match egress {
            Egress::Allowed => Plan::Open(tiers.collect()),
            Egress::Denied => Plan::Private(
                tiers
                    .filter_map(|tier| match tier {
                        Tier::Inside(inside) => Some(inside),
                        Tier::Outside(_) => None,
                    })
                    .collect(),
            ),
        }
    }

    /// The first step alone; its answer counts whatever its score.
    pub fn only_first(self) -> Self {
        match self {
            Plan::Private(inside) => Plan::Private(
                inside
                    .first()
                    .map(|inside| inside.unjudged())
                    .into_iter()
                    .collect(),
            ),
            Plan::Open(tiers) => {
                Plan::Open(tiers.first().map(Tier::unjudged).into_iter().collect())
            }
        }
    }

    /// The same without the tiers that `keeps` does not keep.
    #[must_use]
    pub fn keeping(self, keeps: impl Fn(&Tier) -> bool) -> Self {
        match self {
            Plan::Private(mut inside) => {
                inside.retain(|inside| keeps(&Tier::Inside(inside.clone())));
                Plan::Private(inside)
            }
            Plan::Open(mut tiers) => {
                tiers.retain(keeps);
                Plan::Open(tiers)
            }
        }
    }

    /// The steps, the first to be tried first.
    pub fn steps(&self) -> Vec<Tier> {
        match self {
            Plan::Private(inside) => inside.iter().cloned().map(Tier::Inside).collect(),
            Plan::Open(tiers) => tiers.clone(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Plan::Private(inside) => inside.is_empty(),
            Plan::Open(tiers) => tiers.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_private_plan_has_only_tiers_inside() {
        let settings = testing::settings("small in the cluster, frontier outside");
        let names = |plan: &Plan| -> Vec<String> {
            plan.steps().iter().map(|tier| tier.name().into()).collect()
        };
        let open = Plan::over(settings.tiers.clone(), Egress::Allowed);
        assert_eq!(names(&open), ["small", "frontier"]);
        let private = Plan::over(settings.tiers.clone(), Egress::Denied);
        assert_eq!(names(&private), ["small"]);
        assert!(matches!(private, Plan::Private(_)));
        let without = |plan: Plan| names(&plan.keeping(|tier| tier.name() != "small"));
        assert_eq!(without(open), ["frontier"]);
        assert!(without(private).is_empty());
    }
}
