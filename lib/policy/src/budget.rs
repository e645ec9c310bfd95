//! Money that may be spent at endpoints: a policy's budgets, what the leader has granted of them, and
//! what a router has of that.
//!
//! * [`period`]: the hours, days and months of UTC.
//! * [`ledger`]: what is granted of one budget in one period, as it is kept.
//! * [`mod@deal`]: the leader's part: from a ledger and what routers report to the next ledger.
//! * [`mod@round`]: that for all policies at once.
//! * [`Tally`]: what is counted beside it.
//! * [`room`]: what a book may still grow by.
//! * [`account`]: a router's part: from a slice to reservations and what is spent.
//! * [`estimate`]: the most that one call may cost.
//!
//! All amounts in a ledger and in a report are sums since the period began, so that whoever hears of them
//! twice, late or out of order has the same in the end. Of each slice the leader knows at least as much
//! granted and at most as much returned as its router does. So what all routers may spend is never more
//! than the limit, whoever stops, dies or is not heard of.

pub mod account;
#[cfg(test)]
mod clock;
pub mod deal;
pub mod estimate;
#[cfg(test)]
mod greedy;
pub mod ledger;
pub mod period;
pub mod room;
pub mod round;
mod tally;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use weir_crds::{Money, OnExhausted, Period};

pub use tally::Tally;

/// What all endpoints of a policy together may cost in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub period: Period,
    pub limit: Money,
    pub on_exhausted: OnExhausted,
}

/// A moment: by the clock, which people set, for periods; and since a start, which only goes on, for rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub time: Timestamp,
    pub up: Duration,
}

/// What a router reports of one of a policy's budgets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurseLoad {
    /// When the period of its slice began; nothing while it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins: Option<Timestamp>,
    /// In that period: what it was granted as far as it has heard, what of that it gave back and does not
    /// spend any more, what was spent, and what calls in flight may still cost.
    #[serde(with = "text")]
    pub granted: Money,
    #[serde(with = "text")]
    pub returned: Money,
    #[serde(with = "text")]
    pub spent: Money,
    #[serde(with = "text")]
    pub reserved: Money,
    /// How fast it spends.
    #[serde(with = "text")]
    pub per_minute: Money,
    /// The most that a usual call of the last minutes might have cost.
    #[serde(with = "text")]
    pub call: Money,
    /// What usual calls may cost that wait for the next slice.
    #[serde(with = "text")]
    pub waiting: Money,
    /// The cheapest of the calls that wait and are dearer than usual ones, and all of these together. No
    /// slice is for them: each is granted what it needs, where that is there.
    #[serde(with = "text", default)]
    pub dear: Money,
    #[serde(with = "text", default)]
    pub dear_waiting: Money,
    /// In that period.
    #[serde(default, skip_serializing_if = "Tally::is_zero")]
    pub tally: Tally,
}

impl PurseLoad {
    /// What may still be reserved.
    pub fn left(&self) -> Money {
        self.unspent().less(self.reserved)
    }

    /// What may still be reserved, and what calls in flight may give back.
    pub fn unspent(&self) -> Money {
        self.granted.less(self.returned).less(self.spent)
    }
}

/// Money as text, as everywhere else. No limit has more than twelve digits before its point, so that a larger
/// amount is an error where it is read: whoever says it counts as not understood. None is written.
mod text {
    use rust_decimal::Decimal;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use weir_crds::Money;

    fn most() -> Money {
        Decimal::from(1_000_000_000_000_u64).into()
    }

    pub fn serialize<S: Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&money.amount().min(most().amount()).normalize())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        let text = String::deserialize(deserializer)?;
        let money: Money = text.parse().map_err(D::Error::custom)?;
        match money <= most() {
            true => Ok(money),
            false => Err(D::Error::custom("there is no such amount of money")),
        }
    }
}
