//! An attempt that costs money: what it may cost is put aside first, and what follows where a budget has
//! not so much.

use tokio::time::Instant;
use weir_crds::OnExhausted;
use weir_policy::budget::period::word;
use weir_policy::tier::{Endpoint, Tier};

use super::dropped::Dropped;
use super::{Ended, Pursuit};
use crate::ask::Ask;
use crate::limits::length_field;
use crate::money::{Aside, Short, most_of};
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
                self.frugality.short.get_or_insert(*short);
            }
        }
        failure
    }

    /// No tier was asked: why there was none.
    pub(super) fn without_any(&self) -> Refusal {
        let short = self.frugality.short;
        short.map_or(Refusal::Defect, |short| exhausted(self.ask, short))
    }

    /// No tier has answered, and there was no money for the last of them: does what the policy says.
    pub(super) async fn without_money(&mut self, short: Short, dropped: Dropped) {
        let refusal = exhausted(self.ask, short);
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

/// Where the client itself asks for an answer that no budget has enough for, it is told so: to come again does
/// not help it.
pub(crate) fn exhausted(ask: &Ask, short: Short) -> Refusal {
    let period = short.period;
    if !short.is_hopeless || ask.max_tokens.is_none() {
        return Refusal::BudgetExhausted { period };
    }
    let message = format!(
        "allows an answer that may cost more than all of the policy's budget for a {}: ask for a shorter one",
        word(period)
    );
    Refusal::field(length_field(ask), message)
}
