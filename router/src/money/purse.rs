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
    /// Of whoever grants.
    pub silence: Silence,
    /// Of calls in flight.
    pub stillness: Silence,
    /// Calls in flight.
    pub calls: usize,
}

/// Nobody waits for so much, or more, before then. Who needs less may find it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silence(Option<(Money, Instant)>);

impl Silence {
    /// A call has waited for `amount` in vain until `now`.
    pub fn begin(&mut self, amount: Money, now: Instant) {
        let before = self.0.filter(|(_, until)| now < *until);
        let least = before.map_or(amount, |(least, _)| least.min(amount));
        self.0 = Some((least, now + SILENCE));
    }

    pub fn is_over(&self, amount: Money, now: Instant) -> bool {
        self.0
            .is_none_or(|(least, until)| amount < least || now >= until)
    }

    pub fn end(&mut self) {
        self.0 = None;
    }
}

/// A budget that has too little left for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Short {
    pub period: Period,
    pub on_exhausted: OnExhausted,
    pub left: Money,
    /// The next slice may have enough.
    pub may_come: bool,
    /// Calls in flight hold so much that may be free once they are over.
    pub may_be_freed: bool,
    /// A period that has just begun has no place for so dear a call either.
    pub is_beyond: bool,
}

impl Purse {
    pub fn new(settings: &Settings) -> Self {
        let ordinary = ordinary(settings);
        let accounts = settings.budgets.iter();
        Self {
            accounts: accounts
                .map(|budget| Account::new(*budget, ordinary))
                .collect(),
            dormant: Vec::new(),
            is_served: true,
            silence: Silence::default(),
            stillness: Silence::default(),
            calls: 0,
        }
    }

    /// Follows the budgets of a policy that may have changed. What was spent stays spent.
    pub fn follow(&mut self, settings: &Settings) {
        let mut known = std::mem::take(&mut self.accounts);
        known.append(&mut self.dormant);
        let ordinary = ordinary(settings);
        for budget in &settings.budgets {
            let place = known
                .iter()
                .position(|known| known.budget.period == budget.period);
            let mut account = match place {
                Some(place) => known.swap_remove(place),
                None => Account::new(*budget, ordinary),
            };
            account.follow(*budget, ordinary);
            self.accounts.push(account);
        }
        known.iter_mut().for_each(Account::rest);
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
            may_be_freed: false,
            is_beyond: false,
        })
    }

    /// The first budget that has not so much.
    pub fn short(&self, amount: Money, now: Moment) -> Option<Short> {
        let account = self
            .accounts
            .iter()
            .find(|account| !amount.is_zero() && account.left_for(amount, now) < amount)?;
        let at = Instant::now();
        let hears = self.silence.is_over(amount, at);
        let frees = self.stillness.is_over(amount, at);
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
            may_be_freed: self.may_be_freed(amount, now),
            is_beyond: account.is_beyond(amount, now),
        })
    }

    /// A call has waited in vain until now: for a while nobody waits for as much.
    pub fn waited(&mut self, amount: Money, now: Moment) {
        let at = Instant::now();
        if self.may_be_granted(amount, now) {
            self.silence.begin(amount, at);
        }
        self.stillness.begin(amount, at);
    }

    fn may_be_freed(&self, amount: Money, now: Moment) -> bool {
        let mut all = self.accounts.iter();
        all.all(|account| account.may_be_freed(amount, now))
    }

    fn may_be_granted(&self, amount: Money, now: Moment) -> bool {
        let mut all = self.accounts.iter();
        all.all(|account| account.may_be_granted(amount, now))
    }
}

/// The most that a call may cost of which nothing is known.
fn ordinary(settings: &Settings) -> Money {
    let endpoints = settings.tiers.iter().filter_map(Tier::endpoint);
    let most = endpoints.map(|endpoint| most(endpoint, Call::ordinary()));
    most.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_less_than_what_was_waited_for_in_vain_waits_all_the_same() {
        let cents = |cents: i64| Money::from(rust_decimal::Decimal::new(cents, 2));
        let now = Instant::now();
        let mut silence = Silence::default();
        assert!(silence.is_over(cents(900), now));
        silence.begin(cents(900), now);
        assert!(!silence.is_over(cents(900), now) && silence.is_over(cents(10), now));
        silence.begin(cents(20), now);
        silence.begin(cents(900), now);
        assert!(!silence.is_over(cents(20), now) && silence.is_over(cents(10), now));
        assert!(silence.is_over(cents(900), now + SILENCE));
    }
}
