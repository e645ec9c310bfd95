//! A router that ends gives back what it did not spend, so that the next one need not do without.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use weir_process::Shutdown;

use super::Purses;
use crate::shared::Shared;

/// Between two looks at what is still in hand.
const LOOK: Duration = Duration::from_millis(50);
/// Several rounds of reports. What nobody has heard of by then counts as spent.
const HEARD: Duration = Duration::from_secs(6);

/// Waits for the end of the process and of what it has in hand, and then until whoever grants has heard
/// what is given back.
pub(super) async fn close(shared: Weak<Shared>, purses: Purses, shutdown: Shutdown) {
    shutdown.draining().await;
    tokio::select! {
        () = give_back(shared, &purses) => {}
        () = shutdown.closing() => purses.close(),
    }
    purses.0.is_over.send_replace(true);
}

async fn give_back(shared: Weak<Shared>, purses: &Purses) {
    let is_busy = || {
        let shared = shared.upgrade();
        let has_asks = |shared: &Shared| shared.asks.available_permits() < shared.args.max_asks;
        shared.is_some_and(|shared| has_asks(&shared)) || purses.calls() > 0
    };
    while is_busy() {
        sleep(LOOK).await;
    }
    purses.close();
    let heard = async {
        while !purses.is_returned() {
            sleep(LOOK).await;
        }
    };
    if timeout(HEARD, heard).await.is_err() {
        tracing::warn!("what is left of the budgets was not given back, and counts as spent");
    }
}

impl Purses {
    /// Nothing more is spent.
    fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        for purse in state.policies.values_mut() {
            purse
                .accounts
                .iter_mut()
                .for_each(|account| account.close());
        }
        drop(state);
        self.0.need.notify_one();
    }

    /// In flight.
    fn calls(&self) -> usize {
        let state = self.state();
        state.policies.values().map(|purse| purse.calls).sum()
    }

    /// Whether nothing more is spent and nothing is left, or all that is given back has been heard.
    pub(super) fn is_returned(&self) -> bool {
        let state = self.state();
        let mut policies = state.policies.iter();
        let are_returned = policies.all(|(policy, purse)| {
            // Nobody grants, and nobody hears, of a policy that is gone.
            if !purse.is_served {
                return true;
            }
            let ledgers = state.heard.get(policy);
            purse.accounts.iter().all(|account| {
                let ledger = ledgers.and_then(|of| of.get(&account.budget.period));
                account.is_returned(ledger, &self.0.run)
            })
        });
        state.is_closed && are_returned
    }

    /// Resolves once there is nothing more to hear or to grant.
    pub(super) async fn over(&self) {
        let mut is_over = self.0.is_over.subscribe();
        // The sender is here.
        let _ = is_over.wait_for(|is_over| *is_over).await;
    }
}
