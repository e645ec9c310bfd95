//! What is counted beside what budgets are of, for whoever wants to know what all of it cost and what was saved.

use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};
use weir_crds::Money;

use super::deal::Router;
use super::ledger::Ledger;
use super::text;

/// Between two times that what routers have counted is taken over.
const COUNTED_EVERY: Duration = Duration::from_secs(30);

/// What answers came to beside what was paid to endpoints. Only months have one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Of our own replicas.
    #[serde(with = "text")]
    pub own: Money,
    /// What answers would have cost without the small tiers.
    #[serde(with = "text", rename = "withoutWeir")]
    pub without_weir: Money,
}

impl Tally {
    pub fn is_zero(&self) -> bool {
        self.own.is_zero() && self.without_weir.is_zero()
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            own: self.own + other.own,
            without_weir: self.without_weir + other.without_weir,
        }
    }

    /// What is saved of what it would have been, in percent, where endpoints cost `frontier`; below nothing where it is
    /// more. Not to the next whole one: nobody saves all.
    pub fn saved_percent(&self, frontier: Money) -> Option<i64> {
        let spent = (frontier + self.own).amount();
        let part = spent.checked_div(self.without_weir.amount())?;
        let saved = Decimal::ONE.checked_sub(part)?;
        let percent = saved.checked_mul(Decimal::ONE_HUNDRED)?;
        percent.floor().to_i64()
    }

    /// The newer of two, whichever that is: sums only grow.
    pub fn newer(self, other: Self) -> Self {
        Self {
            own: self.own.max(other.own),
            without_weir: self.without_weir.max(other.without_weir),
        }
    }
}

impl Ledger {
    /// Takes over what routers have counted. Now and then only, as it changes with every answer and each change is
    /// written; and from a router that ends, which gives back what it has.
    pub(super) fn count(&mut self, routers: &[Router], now: Timestamp) {
        let is_over = |at| now.duration_since(at).unsigned_abs() >= COUNTED_EVERY;
        let is_due = self.tallied.is_none_or(is_over);
        for router in routers {
            let (Some(run), Some(purse)) = (&router.run, &router.purse) else {
                continue;
            };
            let Some(slice) = self.slices.get_mut(run) else {
                continue;
            };
            let tally = slice.tally.newer(purse.tally);
            let is_last = purse.call.is_zero() && !purse.returned.is_zero();
            let is_of_this = purse.begins == Some(self.begins);
            if is_of_this && (is_due || is_last) && slice.tally != tally {
                slice.tally = tally;
                self.tallied = Some(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::PurseLoad;
    use crate::budget::deal::deal;
    use weir_crds::Period;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn dealt(ledger: Option<&Ledger>, purse: Option<PurseLoad>, time: &str) -> Ledger {
        let router = purse.map(|purse| Router {
            pod: "pod".into(),
            run: Some("a".into()),
            purse: Some(purse),
        });
        let routers: Vec<Router> = router.into_iter().collect();
        let budget = (Period::Day, money("100"));
        deal(ledger, budget, &routers, time.parse().unwrap())
    }

    /// Knows of what it was granted, needs nothing once it has returned something.
    fn said(ledger: &Ledger, (own, returned): (&str, &str)) -> PurseLoad {
        PurseLoad {
            begins: Some(ledger.begins),
            granted: ledger.slices["a"].granted,
            returned: money(returned),
            call: money(if returned == "0" { "0.1" } else { "0" }),
            tally: Tally {
                own: money(own),
                without_weir: money("7"),
            },
            ..PurseLoad::default()
        }
    }

    #[test]
    fn what_routers_count_is_taken_over_now_and_then_and_stays_when_they_are_gone() {
        let fresh = PurseLoad {
            call: money("0.1"),
            ..PurseLoad::default()
        };
        let mut ledger = dealt(None, Some(fresh), "2026-11-22T12:00:00Z");
        let mut step = |purse: Option<(&str, &str)>, time: &str| {
            let purse = purse.map(|purse| said(&ledger, purse));
            ledger = dealt(Some(&ledger), purse, time);
            let slices = ledger.slices.values();
            let tally = slices.fold(ledger.tally, |sum, slice| sum.plus(slice.tally));
            (tally.own.to_string(), tally.without_weir.to_string())
        };
        let of = |own: &str| (own.to_owned(), "7".to_owned());
        assert_eq!(step(Some(("1", "0")), "2026-11-22T12:00:00Z"), of("1"));
        assert_eq!(step(Some(("2", "0")), "2026-11-22T12:00:29Z"), of("1"));
        assert_eq!(step(Some(("2", "0")), "2026-11-22T12:00:30Z"), of("2"));
        assert_eq!(step(Some(("1", "0")), "2026-11-22T12:02:00Z"), of("2"));
        assert_eq!(step(Some(("3", "0.1")), "2026-11-22T12:00:31Z"), of("3"));
        assert_eq!(step(None, "2026-11-22T12:00:32Z"), of("3"), "it is gone");
        assert_eq!(step(None, "2026-11-22T12:00:33Z"), of("3"), "and once");
        let next = step(None, "2026-11-23T00:00:00Z");
        assert_eq!(next, ("0".to_owned(), "0".to_owned()));
    }

    #[test]
    fn what_costs_more_than_the_last_tier_would_is_not_called_saved() {
        let saved = |frontier: &str, without_weir: &str| {
            let tally = Tally {
                own: money("1"),
                without_weir: money(without_weir),
            };
            tally.saved_percent(money(frontier))
        };
        assert_eq!(saved("0", "3"), Some(66));
        assert_eq!(saved("0", "100000"), Some(99));
        assert_eq!(saved("10", "10"), Some(-10));
        assert_eq!(saved("1", "0"), None);
    }
}
