//! A client asks one router for answers that may cost anything: the others are granted what they need all
//! the same, the other clients of its router have what usual calls need, and all of that router is free again
//! as soon as it is over.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use rust_decimal::Decimal;
use weir_crds::{Money, OnExhausted, Period};

use super::account::{Account, Reserved};
use super::deal::{Router, deal, part};
use super::ledger::Ledger;
use super::{Budget, Moment};

/// Seconds between two rounds, and how long a call waits for a slice.
const ROUND: u64 = 2;
const PATIENCE: u64 = 5;
/// What an honest call may cost, and does, in cents.
const CALL: u32 = 10;
const COST: u32 = 1;

/// Seconds until it is known how fast honest clients spend.
const WARM: u64 = 120;

/// What the greedy client asks for: an answer that may cost so much, in cents, and takes so many seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    cents: u32,
    seconds: u64,
}

fn wish() -> impl Strategy<Value = Wish> {
    (1..20_000_u32, 4..120_u64).prop_map(|(cents, seconds)| Wish { cents, seconds })
}

/// One of those that are dearer than usual here: four usual calls are two percent of the limit.
fn dear_wish() -> impl Strategy<Value = Wish> {
    (51..20_000_u32, 1..120_u64).prop_map(|(cents, seconds)| Wish { cents, seconds })
}

fn honest() -> Wish {
    Wish {
        cents: CALL,
        seconds: 3,
    }
}

fn cents(cents: u32) -> Money {
    Decimal::new(cents.into(), 2).into()
}

struct Run {
    name: String,
    account: Account,
    calls: Vec<(u64, Reserved)>,
    /// By number, with the second until which it waits.
    waiting: Vec<(u64, u64, Wish)>,
    asked: u64,
}

struct Play {
    runs: Vec<Run>,
    ledger: Option<Ledger>,
    limit: Money,
    second: u64,
}

impl Play {
    fn of(routers: usize) -> Self {
        let limit = cents(10_000);
        let budget = Budget {
            period: Period::Day,
            limit,
            on_exhausted: OnExhausted::Local,
        };
        let runs = (0..routers).map(|of| Run {
            name: format!("run-{of}"),
            account: Account::new(budget, cents(CALL)),
            calls: Vec::new(),
            waiting: Vec::new(),
            asked: 0,
        });
        Self {
            runs: runs.collect(),
            ledger: None,
            limit,
            second: 0,
        }
    }

    fn now(&self) -> Moment {
        let noon: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let up = Duration::from_secs(self.second);
        Moment {
            time: noon + up,
            up,
        }
    }

    /// A second goes by, in which run 0 is asked for `wish` and every other one for an honest call. Gives
    /// how many honest calls have waited in vain.
    fn second(&mut self, wish: &Wish) -> usize {
        self.go_on(|of| vec![if of == 0 { wish.clone() } else { honest() }])
    }

    /// The same, but run 0 is asked for an honest call as well.
    fn second_beside(&mut self, wish: &Wish) -> usize {
        self.go_on(|of| match of {
            0 => vec![wish.clone(), honest()],
            _ => vec![honest()],
        })
    }

    fn go_on(&mut self, asked: impl Fn(usize) -> Vec<Wish>) -> usize {
        self.second += 1;
        let now = self.now();
        for (of, run) in self.runs.iter_mut().enumerate() {
            for wish in asked(of) {
                run.asked += 1;
                run.account.wait(run.asked, cents(wish.cents), now);
                let until = self.second + PATIENCE;
                run.waiting.push((run.asked, until, wish));
            }
        }
        if self.second.is_multiple_of(ROUND) {
            self.round();
        }
        let vain = self.runs.iter_mut().map(|run| run.go_on(now));
        vain.sum()
    }

    fn round(&mut self) {
        let now = self.now();
        let routers = self.runs.iter_mut().map(|run| Router {
            pod: format!("pod-{}", run.name),
            run: Some(run.name.clone()),
            purse: Some(run.account.report(now)),
        });
        let routers: Vec<Router> = routers.collect();
        let limit = (Period::Day, self.limit);
        let next = deal(self.ledger.as_ref(), limit, &routers, now.time);
        assert!(next.committed() <= self.limit, "{next:?}");
        for run in &mut self.runs {
            run.account.hear(&next, &run.name);
        }
        self.ledger = Some(next);
    }

    /// What run 0 has, has not given back, and has not spent.
    fn greedy(&self) -> Money {
        let ledger = self.ledger.as_ref();
        let slice = ledger.and_then(|ledger| ledger.slices.get("run-0"));
        let held = slice.map(|slice| slice.held()).unwrap_or_default();
        held.less(self.runs[0].account.clone().report(self.now()).spent)
    }
}

impl Run {
    /// Ends the calls that are over, and begins those that there is money for. Gives how many honest ones have
    /// waited in vain.
    fn go_on(&mut self, now: Moment) -> usize {
        let second = now.up.as_secs();
        for (ends, reserved) in std::mem::take(&mut self.calls) {
            match ends <= second {
                true => self.account.settle(reserved, cents(COST), now),
                false => self.calls.push((ends, reserved)),
            }
        }
        let mut in_vain = 0;
        for (call, until, wish) in std::mem::take(&mut self.waiting) {
            let amount = cents(wish.cents);
            if let Some(reserved) = self.account.reserve(amount, now) {
                self.account.wait_over(call);
                self.calls.push((second + wish.seconds, reserved));
            } else if until <= second {
                self.account.wait_over(call);
                in_vain += usize::from(wish == honest());
            } else {
                self.waiting.push((call, until, wish));
            }
        }
        in_vain
    }
}

proptest! {
    #[test]
    fn whatever_one_client_asks_of_a_router_the_others_have_their_parts(
        routers in 2..6_usize,
        wishes in proptest::collection::vec(wish(), 1..240),
    ) {
        let mut play = Play::of(routers);
        let most = part(play.limit, routers);
        for wish in &wishes {
            prop_assert_eq!(play.second(wish), 0, "after {} seconds", play.second);
            let greedy = play.greedy();
            prop_assert!(greedy <= most, "{greedy} after {} seconds", play.second);
        }
    }
}

proptest! {
    #[test]
    fn whatever_one_client_asks_of_a_router_its_other_clients_are_served(
        routers in 1..6_usize,
        wishes in proptest::collection::vec(dear_wish(), 1..240),
    ) {
        let mut play = Play::of(routers);
        // How fast they spend is known.
        for _ in 0..WARM {
            play.second(&honest());
        }
        for wish in &wishes {
            let in_vain = play.second_beside(wish);
            prop_assert_eq!(in_vain, 0, "after {} seconds", play.second);
        }
    }
}

#[test]
fn what_a_dear_call_was_granted_is_handed_back_after_it() {
    let mut play = Play::of(3);
    let dear = Wish {
        cents: 3000,
        seconds: 10,
    };
    let usual = Wish {
        cents: CALL,
        seconds: 1,
    };
    play.second(&dear);
    play.second(&usual);
    assert!(play.greedy() >= cents(3000), "it is made");
    let most = (2..20).map(|_| {
        play.second(&usual);
        play.greedy()
    });
    let last = most.last().unwrap();
    assert!(last <= cents(200), "{last} after it");
}

#[test]
fn a_lone_router_may_have_all_but_what_usual_calls_need_in_hand_for_one_call() {
    let mut play = Play::of(1);
    play.second(&Wish {
        cents: 10_000 - 4 * CALL,
        seconds: 10,
    });
    play.round();
    let now = play.now();
    play.runs[0].go_on(now);
    assert_eq!(play.runs[0].calls.len(), 1);
}
