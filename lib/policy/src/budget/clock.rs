//! The clock of a leader or of a router steps, by an hour or a day, and is put right again: no period's limit is
//! passed, and nobody is without money for longer than the step and a period.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use weir_crds::{Money, OnExhausted, Period};

use super::account::Account;
use super::deal::{Router, deal};
use super::ledger::Ledger;
use super::{Budget, Moment};

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;
/// When the clock steps, and how long it is wrong, in minutes.
const STEPS_AT: i64 = 90;
const WRONG_FOR: i64 = 45;

/// Whose clock steps, in minutes.
#[derive(Clone, Copy, Debug, Default)]
struct Steps {
    leader: i64,
    router: i64,
}

/// What came of hours of calls, as many as there is money for.
struct Spent {
    by_period: BTreeMap<Timestamp, Money>,
    /// The longest time between two calls, in minutes.
    longest_pause: i64,
}

fn spent(steps: Steps, minutes: i64) -> Spent {
    let budget = Budget {
        period: Period::Hour,
        limit: "1".parse().unwrap(),
        on_exhausted: OnExhausted::Local,
    };
    let begin: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let call: Money = "0.1".parse().unwrap();
    let mut account = Account::new(budget, call);
    let mut run = "run-1";
    let mut ledger: Option<Ledger> = None;
    let (mut by_period, mut last, mut longest_pause) = (BTreeMap::new(), 0, 0);
    for minute in 0..minutes {
        // What a router knows of the period goes with it: only the ledger remembers.
        if minute == STEPS_AT + WRONG_FOR {
            account = Account::new(budget, call);
            run = "run-2";
        }
        let is_wrong = (STEPS_AT..STEPS_AT + WRONG_FOR).contains(&minute);
        let by_clock = |step: i64| {
            let step = if is_wrong { step } else { 0 };
            begin + SignedDuration::from_mins(minute + step)
        };
        let now = Moment {
            time: by_clock(steps.router),
            up: Duration::from_secs(60 * minute as u64),
        };
        // Several rounds a minute, as a slice is a part of what remains.
        for _ in 0..12 {
            let router = Router {
                pod: "a".into(),
                run: Some(run.into()),
                purse: Some(account.report(now)),
            };
            let limit = (budget.period, budget.limit);
            let next = deal(ledger.as_ref(), limit, &[router], by_clock(steps.leader));
            account.hear(&next, run);
            ledger = Some(next);
            while let Some(reserved) = account.reserve(call, now) {
                let period = reserved.begins.expect("a call that costs something");
                account.settle(reserved, call, now);
                let spent: &mut Money = by_period.entry(period).or_default();
                *spent = *spent + call;
                longest_pause = longest_pause.max(minute - last);
                last = minute;
            }
        }
    }
    Spent {
        by_period,
        longest_pause: longest_pause.max(minutes - last),
    }
}

#[test]
fn no_limit_is_passed_whoevers_clock_steps_and_one_period_more_is_begun_at_most() {
    let periods = spent(Steps::default(), 6 * HOUR).by_period.len();
    assert_eq!(periods, 6);
    for step in [-DAY, -HOUR, HOUR, DAY] {
        for (leader, router) in [(step, step), (step, 0), (0, step)] {
            let steps = Steps { leader, router };
            let spent = spent(steps, 6 * HOUR);
            let limit: Money = "1".parse().unwrap();
            let most = periods + usize::from(leader > 0);
            assert!(spent.by_period.len() <= most, "{steps:?}");
            assert!(
                spent.by_period.values().all(|spent| *spent <= limit),
                "{steps:?}"
            );
        }
    }
}

#[test]
fn nobody_is_without_money_for_longer_than_the_step_and_a_period() {
    assert_eq!(spent(Steps::default(), 6 * HOUR).longest_pause, HOUR);
    for step in [-DAY, -HOUR, HOUR, DAY] {
        for (leader, router) in [(step, step), (step, 0), (0, step)] {
            let steps = Steps { leader, router };
            let pause = spent(steps, 3 * DAY).longest_pause;
            let most = HOUR + step.abs().max(WRONG_FOR);
            assert!(pause <= most, "{steps:?}: {pause} minutes");
        }
    }
}
