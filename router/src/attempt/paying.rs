//! An attempt that costs money: what it may cost is put aside first, and what follows where a budget has
//! not so much.

use tokio::time::Instant;
use weir_crds::{Money, OnExhausted};
use weir_policy::budget::period::word;
use weir_policy::tier::{Endpoint, Tier};
use weir_policy::validate::Settings;

use super::dropped::Dropped;
use super::{Ended, Pursuit};
use crate::ask::Ask;
use crate::limits::{length_field, prompt_field};
use crate::money::{Aside, Short, most_of, most_of_prompt};
use crate::refusal::{Failure, Refusal};

impl Pursuit<'_> {
    /// Puts aside what the endpoint may take for the ask; waits a little for the next slice where this one
    /// is used up, which does not count against the ask.
    pub(super) async fn reserve(
        &mut self,
        tier: &Tier,
        endpoint: &Endpoint,
    ) -> Result<Aside, Failure> {
        let began = Instant::now();
        let purses = &self.shared.purses;
        let policy = self.decision.state().policy.clone();
        let amount = most_of(self.ask, endpoint);
        let of = (policy.as_str(), self.settings);
        let reserved = purses.reserve(of, amount, self.commit_by).await;
        self.commit_by += began.elapsed();
        match reserved {
            Ok(reservation) => {
                let tightest = purses.tightest(&policy);
                self.decision.state().budget = tightest.map(Into::into);
                Ok(reservation)
            }
            Err(short) => Err(Failure::OverBudget {
                tier: tier.name().to_owned(),
                short,
            }),
        }
    }

    /// Writes down that there was no money for a tier, if that is why it failed.
    pub(super) fn heeded(&mut self, failure: Failure) -> Failure {
        if let Failure::OverBudget { tier, short } = &failure {
            self.decision.pass_over(tier);
            self.decision.state().budget = Some((*short).into());
            let policy = self.decision.state().policy.clone();
            self.shared.metrics.short(&policy, *short);
            if short.on_exhausted == OnExhausted::Local {
                let bound = || (tier.clone(), *short);
                self.frugality.short.get_or_insert_with(bound);
            }
        }
        failure
    }

    /// No tier was asked: why there was none.
    pub(super) fn without_any(&self) -> Refusal {
        let short = self.frugality.short.as_ref();
        short.map_or(Refusal::Defect, |(tier, short)| {
            exhausted(self.ask, self.settings, (tier, *short))
        })
    }

    /// No tier has answered, and there was no money for the last of them: does what the policy says.
    pub(super) async fn without_money(&mut self, (tier, short): (&str, Short), dropped: Dropped) {
        let refusal = exhausted(self.ask, self.settings, (tier, short));
        if short.on_exhausted == OnExhausted::Reject {
            return self.fail(refusal).await;
        }
        if !dropped.is_empty() {
            return self.give(dropped, refusal).await;
        }
        let Some(local) = self.frugality.local.take() else {
            return self.give(dropped, refusal).await;
        };
        self.decision.instead(local.name());
        let config = self.judge(&local, true);
        match self.on_tier(&local, config, false).await {
            Ok(()) | Err(Ended::Unheard) => {}
            Err(Ended::Cut(failure)) => self.fail(self.failed(failure)).await,
            Err(Ended::Failed(failure)) => self.ask_spare(self.failed(failure)).await,
            // What is not held back is not dropped.
            Err(Ended::Dropped { .. }) => self.fail(Refusal::Defect).await,
        }
    }
}

/// Who asks for more than all of a budget is told of it: to come again does not help it. Who may come again is
/// told so, too: what calls in flight have put aside is not spent.
pub(crate) fn exhausted(ask: &Ask, settings: &Settings, (tier, short): (&str, Short)) -> Refusal {
    let mut tiers = settings.tiers.iter();
    let endpoint = tiers.find(|of| of.name() == tier).and_then(Tier::endpoint);
    if let Some(refusal) = endpoint.and_then(|endpoint| hopeless(ask, endpoint, settings)) {
        return refusal;
    }
    let period = short.period;
    match short.may_be_freed {
        true => Refusal::BudgetInHand { period },
        false if short.is_beyond && ask.max_tokens.is_some() => {
            let message = format!(
                "allows an answer that may cost more than one call may have of the policy's budget for a {}: ask for a shorter one",
                word(period)
            );
            Refusal::field(length_field(ask), message)
        }
        false => Refusal::BudgetExhausted { period },
    }
}

/// Nothing where one of the policy's periods may have enough for the ask, or the policy has nothing to spend at
/// all.
fn hopeless(ask: &Ask, endpoint: &Endpoint, settings: &Settings) -> Option<Refusal> {
    let beyond = |amount: Money| {
        let mut budgets = settings.budgets.iter();
        let budget = budgets.find(|of| amount > of.limit && !of.limit.is_zero())?;
        Some(word(budget.period))
    };
    if let Some(period) = beyond(most_of_prompt(ask, endpoint)) {
        let message = format!(
            "may cost more than all of the policy's budget for a {period}, whatever is answered: send a shorter one"
        );
        return Some(Refusal::field(prompt_field(ask), message));
    }
    ask.max_tokens?;
    let period = beyond(most_of(ask, endpoint))?;
    let message = format!(
        "allows an answer that may cost more than all of the policy's budget for a {period}: ask for a shorter one"
    );
    Some(Refusal::field(length_field(ask), message))
}
