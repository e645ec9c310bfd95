//! A router's part: one budget of a policy, the slice of it that this run may spend, and what it does with
//! that. Reserve before a call, settle after it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use weir_crds::{Money, Period};

use super::deal::{CALLS, SHARE, cover, kept, part};
use super::ledger::Ledger;
use super::{Budget, Moment, PurseLoad, Tally};

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
    waiting: Waiting,
    is_closed: bool,
}

/// Calls that wait for the next slice, each by its own number: one that goes takes along what it asked for itself.
#[derive(Clone, Debug, Default)]
struct Waiting {
    usual: BTreeMap<u64, Money>,
    /// All of these.
    sum: Money,
    /// Dearer than usual.
    dear: BTreeMap<u64, Money>,
}

/// What the newest ledger said.
#[derive(Clone, Copy, Debug)]
struct Heard {
    ends: Timestamp,
    /// What the leader had left to grant.
    remaining: Money,
    /// How many share it.
    routers: usize,
    /// The most that one router may have in hand of it, were nothing spent by those that are there.
    part: Money,
}

impl Heard {
    /// The same of a router that has so much in hand and has spent so much. It does not know what the others have
    /// spent: as much as it has, it supposes, but no more than all that is granted.
    fn part(&self, (in_hand, spent): (Money, Money)) -> Money {
        let unspent = self.remaining + in_hand;
        let least = part(unspent, self.routers);
        self.part.less(spent).max(least).min(self.part).min(unspent)
    }
}

/// A slice, and what became of it.
#[derive(Clone, Debug, Default)]
struct Purse {
    begins: Timestamp,
    ends: Timestamp,
    granted: Money,
    returned: Money,
    spent: Money,
    tally: Tally,
    reserved: Money,
    /// The part of it that calls have which are dearer than usual.
    dear_reserved: Money,
}

/// Money that is put aside for one call. Made by [`Account::reserve`], and ended by [`Account::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Of the period whose slice it is out of; nothing where the call costs nothing.
    pub begins: Option<Timestamp>,
    pub amount: Money,
    /// The call is dearer than usual.
    is_dear: bool,
}

impl Purse {
    fn left(&self) -> Money {
        self.in_hand().less(self.reserved)
    }

    fn in_hand(&self) -> Money {
        self.granted.less(self.returned).less(self.spent)
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
            waiting: Waiting::default(),
            is_closed: false,
        }
    }

    /// Follows a budget and a policy that may have changed. What was spent stays spent.
    pub fn follow(&mut self, budget: Budget, ordinary: Money) {
        self.budget = budget;
        self.ordinary = ordinary;
    }

    /// The budget was taken out: what waits for it waits for nothing. Should the budget come back, what was
    /// spent of it is known.
    pub fn rest(&mut self) {
        self.waiting = Waiting::default();
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
            routers: ledger.slices.len(),
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
        self.purse(now).map(Purse::left).unwrap_or_default()
    }

    /// What of that a call may have that costs so much.
    pub fn left_for(&self, amount: Money, now: Moment) -> Money {
        let left = self.left(now);
        match self.most_dear(now) {
            Some(most) if !self.is_usual(amount) => {
                let dear = self.purse(now).map(|purse| purse.dear_reserved);
                left.min(most.less(dear.unwrap_or_default()))
            }
            _ => left,
        }
    }

    /// What calls that are dearer than usual may have together while there are usual ones beside them: these
    /// keep what the leader keeps for them, or a dear call would take with it what was granted to them.
    fn most_dear(&self, now: Moment) -> Option<Money> {
        self.call.height(now.up)?;
        let heard = self.heard.filter(|heard| now.time < heard.ends)?;
        let purse = self.purse(now).map(|purse| (purse.in_hand(), purse.spent));
        let part = heard.part(purse.unwrap_or_default());
        let needs = PurseLoad {
            // The leader may not have heard of all of these.
            waiting: Money::default(),
            ..self.needs(now)
        };
        Some(part.less(kept(&needs, part)))
    }

    /// Whether it has a slice of a period that goes on.
    pub fn has_slice(&self, now: Moment) -> bool {
        self.purse(now).is_some()
    }

    fn purse(&self, now: Moment) -> Option<&Purse> {
        self.purse.as_ref().filter(|purse| now.time < purse.ends)
    }

    /// Whether so much may be there once the leader has been heard again.
    pub fn may_be_granted(&self, amount: Money, now: Moment) -> bool {
        let heard = self.heard.filter(|heard| now.time < heard.ends);
        let (remaining, part) = match heard {
            Some(heard) => (heard.remaining, heard.part),
            None => (self.budget.limit, self.budget.limit),
        };
        let most = remaining + self.left(now);
        let most = match self.is_usual(amount) {
            true => most,
            false => part.min(most).less(kept(&self.needs(now), part)),
        };
        !self.is_closed && amount <= most
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
        let reserved = self.purse(now).map(|purse| purse.reserved);
        let mut most = self.left(now) + reserved.unwrap_or_default();
        if !self.is_usual(amount) {
            most = self.most_dear(now).map_or(most, |dear| dear.min(most));
        }
        !self.is_closed && amount <= most
    }

    /// Whether a call that costs so much has no place in a period that has just begun either: it is more than the
    /// router's part, without what is kept for usual calls.
    pub fn is_beyond(&self, amount: Money, now: Moment) -> bool {
        let limit = self.budget.limit;
        let part = part(limit, self.heard.map_or(1, |heard| heard.routers));
        let most = part.less(kept(&self.needs(now), part));
        !limit.is_zero() && !self.is_usual(amount) && amount > most
    }

    /// Puts `amount` aside for a call; nothing where there is not so much.
    pub fn reserve(&mut self, amount: Money, now: Moment) -> Option<Reserved> {
        let is_dear = !self.is_usual(amount);
        let of = |begins| Reserved {
            begins,
            amount,
            is_dear,
        };
        if amount.is_zero() {
            return Some(of(None));
        }
        if self.is_closed || amount > self.left_for(amount, now) {
            return None;
        }
        self.see(amount, now);
        let purse = self.purse.as_mut()?;
        purse.reserved = purse.reserved + amount;
        if is_dear {
            purse.dear_reserved = purse.dear_reserved + amount;
        }
        Some(of(Some(purse.begins)))
    }

    /// The call is over and cost so much. It counts in the period in which it began.
    pub fn settle(&mut self, reserved: Reserved, cost: Money, now: Moment) {
        self.rate.spend(cost, now.up);
        let purse = self.purse.as_mut();
        let purse = purse.filter(|purse| reserved.begins == Some(purse.begins));
        if let Some(purse) = purse {
            purse.reserved = purse.reserved.less(reserved.amount);
            if reserved.is_dear {
                purse.dear_reserved = purse.dear_reserved.less(reserved.amount);
            }
            purse.spent = purse.spent + cost;
        }
    }

    /// An ask that began then is over and came to so much.
    pub fn count(&mut self, tally: Tally, began: Timestamp) {
        let is_monthly = self.budget.period == Period::Month;
        let purse = self.purse.as_mut().filter(|_| is_monthly);
        if let Some(purse) = purse.filter(|of| of.begins <= began && began < of.ends) {
            purse.tally = purse.tally.plus(tally);
        }
    }

    /// The call of that number, which no other has, waits for the next slice and needs `amount`. To say it twice is to
    /// say it once. Gives whether it was news.
    pub fn wait(&mut self, call: u64, amount: Money, now: Moment) -> bool {
        let waiting = &self.waiting;
        if waiting.usual.contains_key(&call) || waiting.dear.contains_key(&call) {
            return false;
        }
        self.see(amount, now);
        if self.is_usual(amount) {
            self.waiting.sum = self.waiting.sum + amount;
            self.waiting.usual.insert(call, amount);
        } else {
            self.waiting.dear.insert(call, amount);
        }
        true
    }

    /// It waits no longer, if it did.
    pub fn wait_over(&mut self, call: u64) {
        self.waiting.dear.remove(&call);
        let usual = self.waiting.usual.remove(&call);
        self.waiting.sum = self.waiting.sum.less(usual.unwrap_or_default());
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
        let mut load = match self.is_closed {
            true => PurseLoad::default(),
            false => self.needs(now),
        };
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
            load.tally = purse.tally;
            load.reserved = purse.reserved;
        }
        load
    }

    /// What is to be at hand, and for what.
    fn needs(&self, now: Moment) -> PurseLoad {
        let dear = self.waiting.dear.values().copied();
        PurseLoad {
            per_minute: self.rate.per_minute(now.up),
            call: self.call.height(now.up).unwrap_or(self.ordinary),
            waiting: self.waiting.sum,
            dear: dear.clone().min().unwrap_or_default(),
            dear_waiting: dear.sum(),
            ..PurseLoad::default()
        }
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
