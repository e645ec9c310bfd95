//! What an account may reserve, reports and gives back.

use super::*;
use crate::budget::ledger::Slice;
use crate::budget::period::Span;
use weir_crds::OnExhausted;

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
        ..Slice::default()
    };
    let ends = begins + Duration::from_secs(86_400);
    Ledger {
        slices: [(RUN.to_owned(), slice)].into(),
        ..Ledger::new(Span { begins, ends })
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
    // All but what four usual calls need.
    assert!(account.may_be_granted(money("9.6"), noon()));
    assert!(!account.may_be_granted(money("9.7"), noon()));
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
    assert!(account.may_be_granted(money("9.6"), tomorrow));
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
    let call = account.reserve(money("0.08"), noon()).unwrap();
    account.settle(call, money("0.04"), noon());
    let load = |seconds| account.clone().report(at("2026-11-22T12:00:00Z", seconds));
    assert_eq!(load(0).per_minute, money("0.02"));
    assert_eq!(load(120).per_minute, money("0.0074"));
    assert_eq!(load(3600).per_minute, Money::default());
    assert_eq!(load(299).call, money("0.08"));
    assert_eq!(load(600).call, ordinary);
}

#[test]
fn what_asks_came_to_is_counted_by_the_month_in_which_they_began() {
    let tally = Tally {
        own: money("0.25"),
        without_weir: money("2"),
    };
    let counted = |period| {
        let mut account = account("1");
        account.budget.period = period;
        for began in [
            "2026-11-21T23:59:59Z",
            "2026-11-22T00:00:00Z",
            "2026-11-23T00:00:00Z",
        ] {
            account.count(tally, began.parse().unwrap());
        }
        account.report(noon()).tally
    };
    assert_eq!(counted(Period::Month), tally, "one of the three");
    assert_eq!(counted(Period::Day), Tally::default());
}

#[test]
fn what_is_not_needed_is_given_back_and_all_of_it_at_the_end() {
    let mut account = account("5");
    let call = account.reserve(money("0.5"), noon()).unwrap();
    let load = account.report(noon());
    assert_eq!(load.returned, money("4.1"), "but for four usual calls");
    assert_eq!(load.left(), money("0.4"));
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

#[test]
fn a_call_that_is_dearer_than_usual_is_asked_for_by_itself_and_not_remembered() {
    let mut account = account("1");
    // Four are two percent of the limit, or less: ten cents are what a call costs here.
    account.wait(1, money("0.1"), noon());
    account.wait(2, money("3"), noon());
    account.wait(3, money("2"), noon());
    let load = account.report(noon());
    assert_eq!((load.call, load.waiting), (money("0.1"), money("0.1")));
    assert_eq!((load.dear, load.dear_waiting), (money("2"), money("5")));
    assert_eq!(
        load.returned,
        Money::default(),
        "they may be here any moment"
    );
    for call in [3, 1, 2] {
        account.wait_over(call);
    }
    let load = account.report(noon());
    assert_eq!(load.call, money("0.1"));
    assert_eq!((load.waiting, load.dear_waiting), Default::default());
}

#[test]
fn a_call_dearer_than_the_part_of_a_router_is_not_waited_for() {
    let mut account = account("1");
    let mut ledger = ledger("2026-11-22", "1");
    ledger.slices.insert("another run".into(), Slice::default());
    account.hear(&ledger, RUN);
    assert!(account.may_be_granted(money("4.6"), noon()));
    assert!(!account.may_be_granted(money("4.7"), noon()));
    assert!(!account.is_beyond(money("4.6"), noon()));
    assert!(account.is_beyond(money("4.7"), noon()));
    // What was spent of this period does not say so.
    ledger.spent = money("9");
    account.hear(&ledger, RUN);
    assert!(!account.is_beyond(money("4.6"), noon()));
}

#[test]
fn dear_calls_take_nothing_from_usual_ones_that_are_beside_them() {
    let mut account = account("9");
    let usual = account.reserve(money("0.1"), noon()).unwrap();
    account.settle(usual, Money::default(), noon());
    let dear = account.reserve(money("8"), noon()).unwrap();
    // A part of ten, and four usual calls.
    assert_eq!(account.left_for(money("1"), noon()), money("1"));
    let mut more = ledger("2026-11-22", "10");
    account.hear(&more, RUN);
    assert_eq!(account.left_for(money("2"), noon()), money("1.6"));
    assert_eq!(account.reserve(money("2"), noon()), None);
    assert!(account.may_be_freed(money("2"), noon()));
    assert!(!account.may_be_freed(money("9.7"), noon()));
    let second = account.reserve(money("1.6"), noon()).unwrap();
    for _ in 0..4 {
        assert!(account.reserve(money("0.1"), noon()).is_some());
    }
    account.settle(dear, Money::default(), noon());
    account.settle(second, Money::default(), noon());
    more.spent = money("9");
    account.hear(&more, RUN);
    assert_eq!(account.left_for(money("2"), noon()), money("0.6"));
}

#[test]
fn a_budget_that_is_taken_out_while_calls_wait_waits_for_nothing_when_it_is_back() {
    let mut account = account("1");
    account.wait(1, money("0.1"), noon());
    account.wait(2, money("3"), noon());
    account.rest();
    let load = account.report(noon());
    assert_eq!((load.waiting, load.dear_waiting), Default::default());
}

#[test]
fn a_call_that_began_to_wait_before_its_budget_was_taken_out_takes_nothing_from_those_that_wait_now()
 {
    let mut account = account("1");
    account.wait(1, money("0.1"), noon());
    account.wait(2, money("3"), noon());
    account.rest();
    account.wait(3, money("0.1"), noon());
    account.wait(4, money("3"), noon());
    account.wait_over(1);
    account.wait_over(2);
    let load = account.report(noon());
    assert_eq!(
        (load.waiting, load.dear_waiting),
        (money("0.1"), money("3"))
    );
}

#[test]
fn a_call_that_waits_is_counted_once_and_as_what_it_was() {
    let mut account = account("1");
    account.wait(1, money("0.3"), noon());
    account.wait(1, money("0.3"), noon());
    account.wait(2, money("0.1"), noon());
    // What was dear is usual from here on.
    account.follow(account.budget, money("0.3"));
    account.wait(1, money("0.3"), noon());
    let load = account.report(noon());
    assert_eq!(
        (load.waiting, load.dear_waiting),
        (money("0.1"), money("0.3"))
    );
    account.wait_over(1);
    let load = account.report(noon());
    assert_eq!(
        (load.waiting, load.dear_waiting),
        (money("0.1"), Money::default())
    );
}

#[test]
fn what_a_call_costs_of_which_nothing_is_known_follows_the_policy() {
    let mut account = account("1");
    account.follow(account.budget, money("0.3"));
    assert_eq!(account.report(noon()).call, money("0.3"));
    account.wait(1, money("0.3"), noon());
    assert!(account.report(noon()).dear.is_zero(), "it is usual now");
}

#[test]
fn an_absurd_ledger_grants_nothing_more_than_can_be_counted() {
    let mut account = account("1");
    let mut absurd = ledger("2026-11-22", "0");
    absurd.spent = Decimal::MAX.into();
    let slice = Slice {
        granted: Decimal::MAX.into(),
        ..Slice::default()
    };
    absurd.slices.insert("another run".into(), slice);
    account.hear(&absurd, RUN);
    assert_eq!(account.left(noon()), money("1"));
    assert!(!account.may_be_granted(money("1.1"), noon()));
}
