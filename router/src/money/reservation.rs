//! Money that is put aside for one call.

use weir_crds::{Money, Period};
use weir_policy::budget::account::Reserved;

use super::Purses;

/// Put aside until the call is over. Dropped without another word it counts as spent: nobody knows better.
pub(crate) struct Reservation {
    amount: Money,
    /// Nothing for a policy without a budget, and once it is settled.
    of: Option<Of>,
}

struct Of {
    purses: Purses,
    policy: String,
    parts: Vec<(Period, Reserved)>,
}

/// Put aside for a call that is not made yet. Dropped, all of it is free again.
pub(crate) struct Aside(Option<Reservation>);

impl Aside {
    pub(super) fn new(reservation: Reservation) -> Self {
        Self(Some(reservation))
    }

    /// The call is about to be made.
    pub fn spend(mut self) -> Reservation {
        self.0.take().unwrap_or_else(Reservation::of_nothing)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(reservation) = self.0.take() {
            reservation.settle(Money::default());
        }
    }
}

impl Reservation {
    pub(super) fn new(
        purses: Purses,
        policy: &str,
        amount: Money,
        parts: Vec<(Period, Reserved)>,
    ) -> Self {
        let policy = policy.to_owned();
        let of = Of {
            purses,
            policy,
            parts,
        };
        Self {
            amount,
            of: Some(of),
        }
    }

    /// For a policy without a budget.
    pub(super) fn of_nothing() -> Self {
        Self {
            amount: Money::default(),
            of: None,
        }
    }

    /// The call cost so much.
    pub fn settle(mut self, cost: Money) {
        self.end(cost);
    }

    fn end(&mut self, cost: Money) {
        let Some(of) = self.of.take() else {
            return;
        };
        let now = of.purses.now();
        let mut state = of.purses.state();
        let Some(purse) = state.policies.get_mut(&of.policy) else {
            return;
        };
        purse.calls = purse.calls.saturating_sub(1);
        purse.stillness.end();
        for (period, reserved) in of.parts {
            // The budget may have been taken out meanwhile.
            let mut accounts = purse.accounts.iter_mut().chain(&mut purse.dormant);
            let account = accounts.find(|account| account.budget.period == period);
            if let Some(account) = account {
                account.settle(reserved, cost, now);
            }
        }
        drop(state);
        // Whoever waits may have some of it.
        of.purses.0.news.send_replace(());
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.end(self.amount);
    }
}
