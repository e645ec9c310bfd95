//! What a router has of all budgets of one policy.

use std::time::Duration;

use tokio::time::Instant;
use weir_crds::{Money, OnExhausted, Period};
use weir_policy::budget::Moment;
use weir_policy::budget::account::Account;
use weir_policy::budget::estimate::{Call, most};
use weir_policy::budget::ledger::Ledgers;
use weir_policy::tier::Tier;
use weir_policy::validate::Settings;

/// Whoever grants and has let an ask wait in vain is not waited for again until it is heard, or so long; nor
/// are calls in flight, until one gives something back.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// Of one policy.
pub(super) struct Purse {
    /// One for each budget.
    pub accounts: Vec<Account>,
    /// Of budgets that were taken out of the policy: should they come back, they are no fresh ones.
    pub dormant: Vec<Account>,
    /// The policy is there.
    pub is_served: bool,
    /// Nobody waits for a slice before then.
    pub silent_until: Option<Instant>,
    /// Nor for calls in flight.
    pub still_until: Option<Instant>,
    /// Calls in flight.
    pub calls: usize,
}

/// A budget that has too little left for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Short {
    pub period: Period,
    pub on_exhausted: OnExhausted,
    pub left: Money,
    /// The next slice may have enough.
    pub may_come: bool,
}

impl Purse {
    pub fn new(settings: &Settings) -> Self {
        let ordinary = settings.tiers.iter().filter_map(Tier::endpoint);
        let ordinary = ordinary.map(|endpoint| most(endpoint, Call::ordinary()));
        let ordinary = ordinary.max().unwrap_or_default();
        let accounts = settings.budgets.iter();
        Self {
            accounts: accounts
                .map(|budget| Account::new(*budget, ordinary))
                .collect(),
            dormant: Vec::new(),
            is_served: true,
            silent_until: None,
            still_until: None,
            calls: 0,
        }
    }

    /// Follows the budgets of a policy that may have changed. What was spent stays spent.
    pub fn follow(&mut self, settings: &Settings) {
        let mut known = std::mem::take(&mut self.accounts);
        known.append(&mut self.dormant);
        for account in Self::new(settings).accounts {
            let period = account.budget.period;
            let place = known.iter().position(|known| known.budget.period == period);
            let before = place.map(|place| known.swap_remove(place));
            let mut followed = before.unwrap_or_else(|| account.clone());
            followed.budget = account.budget;
            self.accounts.push(followed);
        }
        self.dormant = known;
        self.is_served = true;
    }

    /// Whether something is out that must not be forgotten.
    pub fn is_live(&self, now: Moment) -> bool {
        let mut all = self.accounts.iter().chain(&self.dormant);
        self.is_served || self.calls > 0 || all.any(|account| account.has_slice(now))
    }

    pub fn hear(&mut self, ledgers: &Ledgers, run: &str) {
        for account in &mut self.accounts {
            if let Some(ledger) = ledgers.get(&account.budget.period) {
                account.hear(ledger, run);
            }
        }
    }

    /// What is left is on its way back to whoever granted it: nothing may be spent any more, if there is a
    /// budget at all.
    pub fn closed(&self) -> Option<Short> {
        let account = self.accounts.first()?;
        Some(Short {
            period: account.budget.period,
            on_exhausted: account.budget.on_exhausted,
            left: Money::default(),
            may_come: false,
        })
    }

    /// The first budget that has not so much.
    pub fn short(&self, amount: Money, now: Moment) -> Option<Short> {
        let account = self
            .accounts
            .iter()
            .find(|account| !amount.is_zero() && account.left(now) < amount)?;
        let is_over = |until: Option<Instant>| until.is_none_or(|until| Instant::now() >= until);
        let (hears, frees) = (is_over(self.silent_until), is_over(self.still_until));
        let mut all = self.accounts.iter();
        let may_come = all.all(|account| {
            (hears && account.may_be_granted(amount, now))
                || (frees && account.may_be_freed(amount, now))
        });
        Some(Short {
            period: account.budget.period,
            on_exhausted: account.budget.on_exhausted,
            left: account.left(now),
            may_come,
        })
    }

    /// A call has waited in vain until now: for a while nobody waits for the same.
    pub fn waited(&mut self, amount: Money, now: Moment) {
        let until = Some(Instant::now() + SILENCE);
        match self.may_be_granted(amount, now) {
            true => self.silent_until = until,
            false => self.still_until = until,
        }
    }

    fn may_be_granted(&self, amount: Money, now: Moment) -> bool {
        let mut all = self.accounts.iter();
        all.all(|account| account.may_be_granted(amount, now))
    }
}
