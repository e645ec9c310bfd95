//! A router's part: one budget of a policy, the slice of it that this run may spend, and what it does with
//! that. Reserve before a call, settle after it.

use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use weir_crds::Money;

use super::deal::{CALLS, SHARE, cover, part};
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
    heard: Option<Heard>,
    rate: Rate,
    call: Peak,
    /// What a call costs at most as long as nobody has seen any.
    ordinary: Money,
    waiting: Money,
    /// Of calls that are dearer than usual, each that waits.
    dear: Vec<Money>,
    is_closed: bool,
}

/// What the newest ledger said.
#[derive(Clone, Copy, Debug)]
struct Heard {
    ends: Timestamp,
    /// What the leader had left to grant.
    remaining: Money,
    /// The most that one router may have in hand of it.
    part: Money,
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
            heard: None,
            rate: Rate::default(),
            call: Peak::default(),
            ordinary,
            waiting: Money::default(),
            dear: Vec::new(),
            is_closed: false,
        }
    }

    /// Takes over what the leader granted to `run`. An older ledger changes nothing.
    pub fn hear(&mut self, ledger: &Ledger, run: &str) {
        if self.heard.is_some_and(|heard| ledger.ends < heard.ends) {
            return;
        }
        let limit = self.budget.limit;
        self.heard = Some(Heard {
            ends: ledger.ends,
            remaining: limit.less(ledger.committed()),
            part: part(limit.less(ledger.spent), ledger.slices.len()),
        });
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
        let heard = self.heard.filter(|heard| now.time < heard.ends);
        let (remaining, part) = match heard {
            Some(heard) => (heard.remaining, heard.part),
            None => (self.budget.limit, self.budget.limit),
        };
        let is_within = self.is_usual(amount) || amount <= part;
        !self.is_closed && is_within && amount <= remaining + self.left(now)
    }

    /// Whether slices are for calls that cost so much at most: what a call costs of which nothing is known,
    /// or so much that [`CALLS`] of them are [`SHARE`] of the limit. What one client asks for beyond that
    /// says nothing of what the router needs.
    fn is_usual(&self, amount: Money) -> bool {
        let of_limit = self.budget.limit.times(SHARE / Decimal::from(CALLS));
        amount <= self.ordinary.max(of_limit)
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
        self.see(amount, now);
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
        self.see(amount, now);
        match self.is_usual(amount) {
            true => self.waiting = self.waiting + amount,
            false => self.dear.push(amount),
        }
    }

    /// It waits no longer.
    pub fn wait_over(&mut self, amount: Money) {
        match self.dear.iter().position(|dear| *dear == amount) {
            Some(place) => drop(self.dear.swap_remove(place)),
            None => self.waiting = self.waiting.less(amount),
        }
    }

    fn see(&mut self, amount: Money, now: Moment) {
        if self.is_usual(amount) {
            self.call.see(amount, now.up);
        }
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
            load.dear = self.dear.iter().min().copied().unwrap_or_default();
            load.dear_waiting = self.dear.iter().copied().sum();
        }
        let needed = cover(&load) + load.dear_waiting;
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
mod tests;
