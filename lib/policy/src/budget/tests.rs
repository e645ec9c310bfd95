//! Whatever order routers ask, spend, stop, die and hear in, and whatever clocks do: nobody spends more than the limit.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use weir_crds::{Money, OnExhausted, Period};

use super::account::{Account, Reserved};
use super::deal::{Router, deal};
use super::ledger::Ledger;
use super::{Budget, Moment};

const ROUTERS: usize = 3;

/// One thing that happens. Routers by number, amounts in cents.
#[derive(Clone, Debug)]
enum Happens {
    Call(usize, u32),
    /// A call is over and cost this part of what was reserved, in percent.
    Ends(usize, u32),
    /// The leader hears of those routers, and deals.
    Deals(u8),
    /// A router hears the newest ledger, or one so many before it.
    Hears(usize, usize),
    /// The leader stops hearing of a router's newest state: reports are as old as its last.
    Dies(usize),
    Stops(usize),
    /// The clock, in seconds; backwards as well.
    Clock(i64),
}

fn happens() -> impl Strategy<Value = Happens> {
    let router = 0..ROUTERS;
    prop_oneof![
        8 => (router.clone(), 1..80_u32).prop_map(|(of, cents)| Happens::Call(of, cents)),
        6 => (router.clone(), 0..=100_u32).prop_map(|(of, part)| Happens::Ends(of, part)),
        8 => any::<u8>().prop_map(Happens::Deals),
        8 => (router.clone(), 0..3_usize).prop_map(|(of, old)| Happens::Hears(of, old)),
        1 => router.clone().prop_map(Happens::Dies),
        1 => router.prop_map(Happens::Stops),
        2 => (-1000..4000_i64).prop_map(Happens::Clock),
    ]
}

struct Run {
    name: String,
    account: Account,
    calls: Vec<Reserved>,
    last: Option<super::PurseLoad>,
}

struct Play {
    budget: Budget,
    now: Timestamp,
    up: Duration,
    runs: Vec<Run>,
    count: usize,
    ledgers: Vec<Ledger>,
    /// All that anybody spent or may have spent, by when its period began.
    spent: BTreeMap<Timestamp, Money>,
}

impl Play {
    fn new(limit: Money) -> Self {
        let budget = Budget {
            period: Period::Hour,
            limit,
            on_exhausted: OnExhausted::Local,
        };
        let mut play = Self {
            budget,
            now: "2026-11-22T12:00:00Z".parse().unwrap(),
            up: Duration::ZERO,
            runs: Vec::new(),
            count: 0,
            ledgers: Vec::new(),
            spent: BTreeMap::new(),
        };
        for _ in 0..ROUTERS {
            let run = play.fresh();
            play.runs.push(run);
        }
        play
    }

    fn fresh(&mut self) -> Run {
        self.count += 1;
        Run {
            name: format!("run-{}", self.count),
            account: Account::new(self.budget, "0.2".parse().unwrap()),
            calls: Vec::new(),
            last: None,
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            time: self.now,
            up: self.up,
        }
    }

    fn happen(&mut self, what: &Happens) {
        self.up += Duration::from_secs(1);
        let now = self.moment();
        match *what {
            Happens::Call(of, cents) => {
                let amount: Money = rust_decimal::Decimal::new(cents.into(), 2).into();
                let run = &mut self.runs[of];
                if let Some(reserved) = run.account.reserve(amount, now) {
                    run.calls.push(reserved);
                    // It may cost as much at once: what is in flight counts.
                    let spent = self.spent.entry(reserved.begins.unwrap()).or_default();
                    *spent = *spent + amount;
                }
            }
            Happens::Ends(of, part) => {
                let run = &mut self.runs[of];
                let Some(reserved) = run.calls.pop() else {
                    return;
                };
                let part = rust_decimal::Decimal::new(part.into(), 2);
                let cost = reserved.amount.times(part);
                run.account.settle(reserved, cost, now);
                let spent = self.spent.get_mut(&reserved.begins.unwrap()).unwrap();
                *spent = spent.less(reserved.amount.less(cost));
            }
            Happens::Deals(heard) => {
                for (index, run) in self.runs.iter_mut().enumerate() {
                    if heard & (1 << index) != 0 {
                        run.last = Some(run.account.report(now));
                    }
                }
                let routers: Vec<Router> = self.routers();
                let limit = (self.budget.period, self.budget.limit);
                let next = deal(self.ledgers.last(), limit, &routers, self.now);
                let again = deal(self.ledgers.last(), limit, &routers, self.now);
                assert_eq!(next, again, "the same inputs give the same ledger");
                assert!(next.committed() <= self.budget.limit, "{next:?}");
                self.ledgers.push(next);
            }
            Happens::Hears(of, old) => {
                let newest = self.ledgers.len().checked_sub(1 + old);
                if let Some(ledger) = newest.map(|at| &self.ledgers[at]) {
                    let run = &mut self.runs[of];
                    run.account.hear(ledger, &run.name);
                }
            }
            Happens::Dies(of) => self.runs[of] = self.fresh(),
            Happens::Stops(of) => {
                for reserved in std::mem::take(&mut self.runs[of].calls) {
                    let run = &mut self.runs[of];
                    run.account.settle(reserved, reserved.amount, now);
                }
                self.runs[of].account.close();
                self.happen(&Happens::Deals(1 << of));
                self.runs[of] = self.fresh();
            }
            Happens::Clock(seconds) => {
                self.now += jiff::SignedDuration::from_secs(seconds);
            }
        }
    }

    fn routers(&self) -> Vec<Router> {
        let routers = self.runs.iter().enumerate();
        routers
            .map(|(index, run)| Router {
                pod: format!("pod-{index}"),
                run: run.last.is_some().then(|| run.name.clone()),
                purse: run.last.clone(),
            })
            .collect()
    }
}

proptest! {
    #[test]
    fn nobody_spends_more_than_the_limit(
        cents in 1..600_u32,
        story in proptest::collection::vec(happens(), 1..160),
    ) {
        let limit: Money = rust_decimal::Decimal::new(cents.into(), 2).into();
        let mut play = Play::new(limit);
        for what in &story {
            play.happen(what);
            for (begins, spent) in &play.spent {
                prop_assert!(*spent <= limit, "{spent} of {limit} in {begins} after {what:?}");
            }
        }
    }
}

#[test]
fn routers_that_ask_in_turn_spend_all_of_a_small_budget_and_not_a_cent_more() {
    let limit: Money = "1".parse().unwrap();
    let mut play = Play::new(limit);
    for round in 0..60 {
        play.happen(&Happens::Deals(0b111));
        for of in 0..ROUTERS {
            play.happen(&Happens::Hears(of, 0));
        }
        play.happen(&Happens::Call(round % ROUTERS, 10));
        play.happen(&Happens::Ends(round % ROUTERS, 100));
    }
    let spent: Vec<Money> = play.spent.into_values().collect();
    assert_eq!(spent, [limit]);
}
