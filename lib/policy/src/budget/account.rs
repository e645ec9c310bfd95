//! A router's part: one budget of a policy, the slice of it that this run may spend, and what it does with
//! that. Reserve before a call, settle after it.

use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use weir_crds::Money;

use super::deal::cover;
use super::ledger::Ledger;
use super::{Budget, Moment, PurseLoad};

/// Over how long the rate of spending is averaged: a few calls must not look like a stream of them.
const AVERAGED: Duration = Duration::from_secs(120);
/// How long a dear call is remembered at least, and half as long again on average.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Rates are reported in hundredths of a cent: what goes on falling must come to an end.
const PLACES: u32 = 4;

/// One budget as one run of a router has it.
#[derive(Clone, Debug)]
pub struct Account {
    pub budget: Budget,
    purse: Option<Purse>,
    /// What the leader had left to grant, and until when.
    remaining: Option<(Money, Timestamp)>,
    rate: Rate,
    call: Peak,
    /// What a call costs at most as long as nobody has seen any.
    ordinary: Money,
    waiting: Money,
    is_closed: bool,
}

/// A slice, and what became of it.
#[derive(Clone, Debug, Default)]
struct Purse {
    begins: Timestamp,
    ends: Timestamp,
    granted: Money,
    returned: Money,
    spent: Money,
    reserved: Money,
}

/// Money that is put aside for one call. Made by [`Account::reserve`], and ended by [`Account::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Of the period whose slice it is out of; nothing where the call costs nothing.
    pub begins: Option<Timestamp>,
    pub amount: Money,
}

impl Purse {
    fn left(&self) -> Money {
        self.granted
            .less(self.returned)
            .less(self.spent)
            .less(self.reserved)
    }
}

impl Account {
    /// Without a slice. `ordinary` is what a call may cost where nothing is known of calls.
    pub fn new(budget: Budget, ordinary: Money) -> Self {
        Self {
            budget,
            purse: None,
            remaining: None,
            rate: Rate::default(),
            call: Peak::default(),
            ordinary,
            waiting: Money::default(),
            is_closed: false,
        }
    }

    /// Takes over what the leader granted to `run`. An older ledger changes nothing.
    pub fn hear(&mut self, ledger: &Ledger, run: &str) {
        let newest = self.remaining.map(|(_, ends)| ends);
        if newest.is_some_and(|ends| ledger.ends < ends) {
            return;
        }
        let remaining = self.budget.limit.less(ledger.committed());
        self.remaining = Some((remaining, ledger.ends));
        let Some(slice) = ledger.slices.get(run).filter(|of| !of.granted.is_zero()) else {
            return;
        };
        match &mut self.purse {
            Some(purse) if purse.begins > ledger.begins => {}
            Some(purse) if purse.begins == ledger.begins => {
                purse.granted = purse.granted.max(slice.granted);
            }
            purse => {
                *purse = Some(Purse {
                    begins: ledger.begins,
                    ends: ledger.ends,
                    granted: slice.granted,
                    ..Purse::default()
                });
            }
        }
    }

    /// What may be reserved now.
    pub fn left(&self, now: Moment) -> Money {
        let purse = self.purse.as_ref().filter(|purse| now.time < purse.ends);
        purse.map(Purse::left).unwrap_or_default()
    }

    /// Whether it has a slice of a period that goes on.
    pub fn has_slice(&self, now: Moment) -> bool {
        let purse = self.purse.as_ref();
        purse.is_some_and(|purse| now.time < purse.ends)
    }

    /// Whether so much may be there once the leader has been heard again.
    pub fn may_be_granted(&self, amount: Money, now: Moment) -> bool {
        let remaining = match self.remaining {
            Some((remaining, ends)) if now.time < ends => remaining,
            _ => self.budget.limit,
        };
        !self.is_closed && amount <= remaining + self.left(now)
    }

    /// Whether so much may be there once calls in flight are settled.
    pub fn may_be_freed(&self, amount: Money, now: Moment) -> bool {
        let purse = self.purse.as_ref().filter(|purse| now.time < purse.ends);
        let reserved = purse.map(|purse| purse.reserved).unwrap_or_default();
        !self.is_closed && amount <= self.left(now) + reserved
    }

    /// Puts `amount` aside for a call; nothing where there is not so much.
    pub fn reserve(&mut self, amount: Money, now: Moment) -> Option<Reserved> {
        if amount.is_zero() {
            let begins = None;
            return Some(Reserved { begins, amount });
        }
        if self.is_closed || amount > self.left(now) {
            return None;
        }
        self.call.see(amount, now.up);
        let purse = self.purse.as_mut()?;
        purse.reserved = purse.reserved + amount;
        let begins = Some(purse.begins);
        Some(Reserved { begins, amount })
    }

    /// The call is over and cost so much. It counts in the period in which it began.
    pub fn settle(&mut self, reserved: Reserved, cost: Money, now: Moment) {
        self.rate.spend(cost, now.up);
        let purse = self.purse.as_mut();
        let purse = purse.filter(|purse| reserved.begins == Some(purse.begins));
        if let Some(purse) = purse {
            purse.reserved = purse.reserved.less(reserved.amount);
            purse.spent = purse.spent + cost;
        }
    }

    /// A call that needs `amount` begins to wait for the next slice.
    pub fn wait(&mut self, amount: Money, now: Moment) {
        self.call.see(amount, now.up);
        self.waiting = self.waiting + amount;
    }

    /// It waits no longer.
    pub fn wait_over(&mut self, amount: Money) {
        self.waiting = self.waiting.less(amount);
    }

    /// Nothing more is needed: what is left goes back with the next report.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether nothing of the slice is left, and `ledger` has what was given back, or is of another period.
    pub fn is_returned(&self, ledger: Option<&Ledger>, run: &str) -> bool {
        let Some(purse) = &self.purse else {
            return true;
        };
        let slice = ledger.filter(|ledger| ledger.begins == purse.begins);
        let slice = slice.and_then(|ledger| ledger.slices.get(run));
        purse.left().is_zero()
            && (purse.returned.is_zero()
                || slice.is_none_or(|slice| slice.returned >= purse.returned))
    }

    /// What the leader is told. What is not needed is given back first: twice of what is to be at hand,
    /// or all of it once the account is closed.
    pub fn report(&mut self, now: Moment) -> PurseLoad {
        let mut load = PurseLoad::default();
        if !self.is_closed {
            load.per_minute = self.rate.per_minute(now.up);
            load.call = self.call.height(now.up).unwrap_or(self.ordinary);
            load.waiting = self.waiting;
        }
        let needed = cover(&load);
        // A slice whose period is over is of no use to anybody.
        let purse = self.purse.as_mut().filter(|purse| now.time < purse.ends);
        if let Some(purse) = purse {
            let left = purse.left();
            if left > needed + needed {
                purse.returned = purse.returned + left.less(needed);
            }
            load.begins = Some(purse.begins);
            load.granted = purse.granted;
            load.returned = purse.returned;
            load.spent = purse.spent;
            load.reserved = purse.reserved;
        }
        load
    }
}

/// A sum that fades: what was spent [`AVERAGED`] ago counts a third.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    sum: f64,
    at: Duration,
}

impl Rate {
    fn spend(&mut self, amount: Money, up: Duration) {
        self.sum = self.faded(up) + f64::try_from(amount.amount()).unwrap_or_default();
        self.at = self.at.max(up);
    }

    fn faded(&self, up: Duration) -> f64 {
        let passed = up.saturating_sub(self.at).as_secs_f64();
        self.sum * (-passed / AVERAGED.as_secs_f64()).exp()
    }

    fn per_minute(&self, up: Duration) -> Money {
        let per_minute = self.faded(up) * 60.0 / AVERAGED.as_secs_f64();
        let amount = Decimal::from_f64(per_minute).unwrap_or_default();
        Money::from(amount.round_dp(PLACES).normalize())
    }
}

/// The highest of the last while, and of the one before it.
#[derive(Clone, Copy, Debug, Default)]
struct Peak {
    last: Option<Money>,
    before: Option<Money>,
    began: Duration,
}

impl Peak {
    fn see(&mut self, amount: Money, up: Duration) {
        *self = self.at(up);
        self.last = self.last.max(Some(amount));
    }

    fn height(&self, up: Duration) -> Option<Money> {
        let now = self.at(up);
        now.last.max(now.before)
    }

    fn at(mut self, up: Duration) -> Self {
        let passed = up.saturating_sub(self.began);
        if passed >= REMEMBERED {
            let before = self.last.filter(|_| passed < 2 * REMEMBERED);
            self = Self {
                last: None,
                before,
                began: up,
            };
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::ledger::Slice;
    use weir_crds::{OnExhausted, Period};

    const RUN: &str = "9f3c";

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn at(time: &str, up_seconds: u64) -> Moment {
        Moment {
            time: time.parse().unwrap(),
            up: Duration::from_secs(up_seconds),
        }
    }

    fn noon() -> Moment {
        at("2026-11-22T12:00:00Z", 0)
    }

    fn ledger(day: &str, granted: &str) -> Ledger {
        let begins: Timestamp = format!("{day}T00:00:00Z").parse().unwrap();
        let slice = Slice {
            pod: "a".into(),
            granted: money(granted),
            returned: Money::default(),
        };
        Ledger {
            begins,
            ends: begins + Duration::from_secs(86_400),
            spent: Money::default(),
            slices: [(RUN.to_owned(), slice)].into(),
        }
    }

    fn account(granted: &str) -> Account {
        let budget = Budget {
            period: Period::Day,
            limit: money("10"),
            on_exhausted: OnExhausted::Local,
        };
        let mut account = Account::new(budget, money("0.1"));
        account.hear(&ledger("2026-11-22", granted), RUN);
        account
    }

    #[test]
    fn without_a_slice_nothing_is_reserved_but_what_costs_nothing() {
        let mut account = account("0");
        assert_eq!(account.reserve(money("0.01"), noon()), None);
        assert!(account.reserve(Money::default(), noon()).is_some());
        assert!(account.may_be_granted(money("10"), noon()));
        assert!(!account.may_be_granted(money("10.1"), noon()));
    }

    #[test]
    fn what_is_reserved_is_not_reserved_again_and_what_was_not_spent_is() {
        let mut account = account("1");
        let first = account.reserve(money("0.6"), noon()).unwrap();
        assert_eq!(account.reserve(money("0.5"), noon()), None);
        account.settle(first, money("0.1"), noon());
        assert_eq!(account.left(noon()), money("0.9"));
        let second = account.reserve(money("0.9"), noon()).unwrap();
        account.settle(second, money("1.2"), noon());
        assert_eq!(
            account.left(noon()),
            Money::default(),
            "never below nothing"
        );
    }

    #[test]
    fn a_ledger_that_is_heard_twice_or_late_grants_nothing_more() {
        let mut account = account("1");
        account.hear(&ledger("2026-11-22", "1"), RUN);
        account.hear(&ledger("2026-11-22", "0.5"), RUN);
        account.hear(&ledger("2026-11-21", "7"), RUN);
        assert_eq!(account.left(noon()), money("1"));
        account.hear(&ledger("2026-11-22", "1.5"), "another run");
        assert_eq!(account.left(noon()), money("1"));
    }

    #[test]
    fn a_call_counts_in_the_period_in_which_it_began() {
        let mut account = account("1");
        let call = account.reserve(money("1"), noon()).unwrap();
        let tomorrow = at("2026-11-23T00:00:00Z", 60);
        assert_eq!(
            account.left(tomorrow),
            Money::default(),
            "its period is over"
        );
        assert!(account.may_be_granted(money("10"), tomorrow));
        account.hear(&ledger("2026-11-23", "2"), RUN);
        account.settle(call, money("1"), tomorrow);
        assert_eq!(account.left(tomorrow), money("2"));
        assert_eq!(account.report(tomorrow).per_minute, money("0.5"));
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_period_back() {
        let mut account = account("1");
        account.hear(&ledger("2026-11-23", "2"), RUN);
        let call = account.reserve(money("2"), noon()).unwrap();
        account.settle(call, money("2"), noon());
        account.hear(&ledger("2026-11-22", "1"), RUN);
        assert_eq!(account.left(noon()), Money::default());
    }

    #[test]
    fn the_rate_and_the_dearest_call_fade_by_time_that_only_goes_on() {
        let mut account = account("10");
        let ordinary = account.clone().report(noon()).call;
        assert_eq!(ordinary, money("0.1"));
        let call = account.reserve(money("0.5"), noon()).unwrap();
        account.settle(call, money("0.4"), noon());
        let load = |seconds| account.clone().report(at("2026-11-22T12:00:00Z", seconds));
        assert_eq!(load(0).per_minute, money("0.2"));
        assert_eq!(load(120).per_minute, money("0.0736"));
        assert_eq!(load(3600).per_minute, Money::default());
        assert_eq!(load(299).call, money("0.5"));
        assert_eq!(load(600).call, money("0.1"));
    }

    #[test]
    fn what_is_not_needed_is_given_back_and_all_of_it_at_the_end() {
        let mut account = account("5");
        let call = account.reserve(money("0.5"), noon()).unwrap();
        let load = account.report(noon());
        assert_eq!(load.returned, money("2.5"), "but for four such calls");
        assert_eq!(load.left(), money("2"));
        account.settle(call, money("0.25"), noon());
        account.close();
        assert!(!account.is_returned(None, RUN));
        let load = account.report(noon());
        assert_eq!(
            (load.left(), load.call),
            (Money::default(), Money::default())
        );
        assert_eq!(load.returned, money("4.75"));
        assert!(!account.may_be_granted(money("0.01"), noon()));
        let mut told = ledger("2026-11-22", "5");
        assert!(!account.is_returned(Some(&told), RUN));
        told.slices.get_mut(RUN).unwrap().returned = money("4.75");
        assert!(account.is_returned(Some(&told), RUN));
    }

    #[test]
    fn what_calls_in_flight_may_give_back_is_told_apart_from_what_may_be_granted() {
        let mut account = account("1");
        let reserved = account.reserve(money("0.7"), noon()).unwrap();
        assert!(!account.may_be_granted(money("9.5"), noon()));
        assert!(account.may_be_freed(money("1"), noon()));
        assert!(!account.may_be_freed(money("1.1"), noon()));
        account.settle(reserved, money("0.7"), noon());
        assert!(!account.may_be_freed(money("0.4"), noon()));
    }
}
