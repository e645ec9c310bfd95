//! What budgets leave of a plan.

use weir_crds::OnExhausted;
use weir_policy::tier::Tier;
use weir_policy::validate::Settings;
use weir_policy::{Egress, Plan};

use super::{Purses, Short, most_of};
use crate::ask::Ask;
use crate::attempt::{Frugality, exhausted};
use crate::decision::Decision;
use crate::plan::can_serve;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::wire::Wire;

/// A plan within the policy's budgets.
#[derive(Debug)]
struct Within {
    plan: Plan,
    /// The tiers that there is no money for.
    passed_over: Vec<(String, Short)>,
    local: Option<Tier>,
}

/// Takes out of `plan` the tiers that a budget has nothing left for, where the policy would rather have a
/// small answer, and writes down which. Those of a policy that would rather refuse stay: it does when one
/// of them is needed. A tier that was pinned is what its client wants, or nothing. Where there are `spare` ones a plan
/// may be left without any.
pub(crate) fn within(
    shared: &Shared,
    decision: &Decision,
    settings: &Settings,
    (plan, spare, ask): (Plan, &Plan, &Ask),
) -> Result<(Plan, Frugality), Refusal> {
    if settings.budgets.is_empty() {
        return Ok((plan, Frugality::default()));
    }
    let (policy, is_pinned) = {
        let state = decision.state();
        (state.policy.clone(), state.routed.by == "pin")
    };
    let of = (policy.as_str(), settings);
    let within = bound(&shared.purses, of, plan, (ask, is_pinned));
    for (tier, short) in &within.passed_over {
        decision.pass_over(tier);
        decision.state().budget = Some((*short).into());
        shared.metrics.short(&policy, *short);
    }
    if let (true, Some(local)) = (within.plan.is_empty(), &within.local) {
        decision.instead(local.name());
    }
    settled(within, spare, (ask, settings))
}

/// Who is asked: where there is no money for anybody, the local tier; where that is not there either, nobody but
/// those to spare.
fn settled(
    within: Within,
    spare: &Plan,
    (ask, settings): (&Ask, &Settings),
) -> Result<(Plan, Frugality), Refusal> {
    let Within {
        plan,
        passed_over,
        local,
    } = within;
    let short = passed_over.into_iter().next();
    match (short, local) {
        (Some((tier, short)), None) if plan.is_empty() && spare.is_empty() => {
            Err(exhausted(ask, settings, (&tier, short)))
        }
        (short @ Some(_), Some(local)) if plan.is_empty() => {
            let egress = match plan {
                Plan::Private(_) => Egress::Denied,
                Plan::Open(_) => Egress::Allowed,
            };
            let frugality = Frugality { short, local: None };
            Ok((Plan::over([local], egress), frugality))
        }
        (short, local) => Ok((plan, Frugality { short, local })),
    }
}

fn bound(
    purses: &Purses,
    (policy, settings): (&str, &Settings),
    plan: Plan,
    (ask, is_pinned): (&Ask, bool),
) -> Within {
    let short_of = |tier: &Tier| {
        let amount = most_of(ask, tier.endpoint()?);
        let short = purses.short(policy, settings, amount)?;
        // What may come is waited for where it is needed.
        (!short.may_come && short.on_exhausted == OnExhausted::Local).then_some(short)
    };
    let steps = plan.steps();
    let passed_over = steps.iter().filter_map(|tier| {
        let short = short_of(tier)?;
        Some((tier.name().to_owned(), short))
    });
    let passed_over: Vec<(String, Short)> = passed_over.collect();
    let keeps = |tier: &Tier| !passed_over.iter().any(|(name, _)| name == tier.name());
    Within {
        local: local(settings, ask).filter(|_| !is_pinned),
        plan: plan.keeping(keeps),
        passed_over,
    }
}

/// The last of the policy's deployments that can serve the ask. Vectors of another model have nothing in
/// common with those that the client has.
fn local(settings: &Settings, ask: &Ask) -> Option<Tier> {
    if ask.wire == Wire::Embeddings {
        return None;
    }
    let tiers = settings.tiers.iter().rev();
    let mut tiers = tiers.filter(|tier| tier.endpoint().is_none() && can_serve(tier, ask).is_ok());
    tiers.next().cloned()
}

#[cfg(test)]
mod tests;
