//! Purses by themselves: the test grants.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use weir_policy::budget::ledger::{Ledger, Slice};
use weir_policy::budget::period::Span;

use weir_crds::OnExhausted;

use super::purse::SILENCE;
use super::*;

const RUN: &str = "9f3c";

pub(super) fn settings(budget: Value) -> Settings {
    priced(budget, "15")
}

/// Where so many dollars are paid for a million tokens of answers.
fn priced(budget: Value, output: &str) -> Settings {
    let spec = spec(budget, output);
    weir_policy::validate::settings(&serde_json::from_value(spec).unwrap()).unwrap()
}

/// All that a router serves: the policy with these budgets.
fn table(budget: Value) -> Table {
    let policy = json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
        "metadata": { "name": "support", "namespace": "ns", "uid": "u1", "generation": 1 },
        "spec": spec(budget, "15"),
    });
    let policy = serde_json::from_value(policy).unwrap();
    weir_policy::compile([&policy], [], &BTreeMap::new())
}

fn spec(budget: Value, output: &str) -> Value {
    json!({
        "models": ["m"],
        "tiers": [
            { "name": "small", "deployment": { "name": "triage" } },
            { "name": "big", "endpoint": {
                "provider": "OpenAI", "model": "big",
                "price": { "inputPerMillion": "3", "outputPerMillion": output },
            } },
        ],
        "budget": budget,
    })
}

fn both() -> Settings {
    settings(json!([
        { "period": "Hour", "limit": "1" },
        { "period": "Month", "limit": "10", "onExhausted": "Reject" },
    ]))
}

fn money(text: &str) -> Money {
    text.parse().unwrap()
}

pub(super) fn purses() -> Purses {
    Purses::new(RUN.into(), Duration::ZERO)
}

/// Ledgers in which so much is granted, and nothing but `remaining` is left to grant.
pub(super) fn granted(of: &[(Period, &str, &str)], limits: &Settings) -> BTreeMap<String, Ledgers> {
    let ledgers = of.iter().map(|(period, granted, remaining)| {
        let mut budgets = limits.budgets.iter();
        let budget = budgets.find(|budget| budget.period == *period).unwrap();
        let slice = Slice {
            granted: money(granted),
            ..Slice::default()
        };
        let mut ledger = Ledger::new(Span::holding(*period, Timestamp::now()));
        ledger.spent = budget.limit.less(slice.granted).less(money(remaining));
        ledger.slices.insert(RUN.into(), slice);
        (*period, ledger)
    });
    [("support".to_owned(), ledgers.collect())].into()
}

async fn aside(purses: &Purses, settings: &Settings, amount: &str) -> Result<Aside, Short> {
    let until = Instant::now() + Duration::from_secs(60);
    purses
        .reserve(("support", settings), money(amount), until)
        .await
}

/// Puts aside for a call that is made.
async fn reserve(purses: &Purses, settings: &Settings, amount: &str) -> Result<Reservation, Short> {
    aside(purses, settings, amount).await.map(Aside::spend)
}

fn left(purses: &Purses) -> Vec<String> {
    let left = purses.left().into_iter();
    left.map(|(_, _, left)| left.amount().normalize().to_string())
        .collect()
}

#[tokio::test]
async fn a_call_is_paid_from_every_budget_or_from_none() {
    let (settings, purses) = (both(), purses());
    let slices = [(Period::Hour, "0.5", "0"), (Period::Month, "0.3", "0")];
    purses.hear(&granted(&slices, &settings));
    // Heard before the policy was known.
    let short = reserve(&purses, &settings, "0.4").await.err().unwrap();
    assert_eq!(
        (short.period, short.on_exhausted),
        (Period::Month, OnExhausted::Reject)
    );
    assert_eq!(left(&purses), ["0.5", "0.3"]);
    let reservation = reserve(&purses, &settings, "0.2").await.unwrap();
    assert_eq!(left(&purses), ["0.3", "0.1"]);
    assert_eq!(
        purses.tightest("support"),
        Some((Period::Month, money("0.1")))
    );
    reservation.settle(money("0.05"));
    assert_eq!(left(&purses), ["0.45", "0.25"]);
    drop(reserve(&purses, &settings, "0.2").await.unwrap());
    assert_eq!(left(&purses), ["0.25", "0.05"], "nobody said what it cost");
}

#[tokio::test]
async fn a_policy_without_a_budget_pays_from_nothing() {
    let (settings, purses) = (settings(json!([])), purses());
    let reservation = reserve(&purses, &settings, "1000").await.unwrap();
    assert_eq!(purses.short("support", &settings, money("1000")), None);
    reservation.settle(money("1000"));
    assert!(purses.report().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_waited_in_vain_is_followed_by_asks_that_do_not_wait_until_something_is_heard() {
    let settings = settings(json!([{ "period": "Month", "limit": "10" }]));
    let purses = Purses::new(RUN.into(), Duration::from_secs(5));
    let began = Instant::now();
    let waited = async |seconds: u64| {
        let before = Instant::now();
        let short = reserve(&purses, &settings, "1").await.err();
        assert!(short.is_some());
        assert_eq!(
            before.elapsed().as_secs(),
            seconds,
            "after {:?}",
            began.elapsed()
        );
    };
    waited(5).await;
    waited(0).await;
    assert!(
        !purses
            .short("support", &settings, money("1"))
            .unwrap()
            .may_come
    );
    purses.hear(&granted(&[(Period::Month, "0.5", "9.5")], &settings));
    waited(5).await;
    tokio::time::advance(SILENCE).await;
    waited(5).await;
    purses.hear(&granted(&[(Period::Month, "0.6", "0")], &settings));
    waited(0).await;
}

#[tokio::test]
async fn a_call_that_waits_is_told_of_and_gets_the_next_slice() {
    let settings = settings(json!([{ "period": "Month", "limit": "10" }]));
    let purses = Purses::new(RUN.into(), Duration::from_secs(60));
    let granting = async {
        purses.0.need.notified().await;
        let load = purses.report()["support"][&Period::Month].clone();
        assert_eq!(load.dear_waiting, money("1"), "a tenth of the limit");
        purses.hear(&granted(&[(Period::Month, "1", "9")], &settings));
    };
    let (reserved, ()) = tokio::join!(reserve(&purses, &settings, "1"), granting);
    let load = purses.report()["support"][&Period::Month].clone();
    assert_eq!(
        (load.reserved, load.dear_waiting),
        (money("1"), Money::default())
    );
    drop(reserved.unwrap());
}

#[test]
fn however_many_put_money_aside_at_once_it_is_never_more_than_the_slice() {
    let (settings, purses) = (both(), purses());
    let slices = [(Period::Hour, "0.55", "0"), (Period::Month, "5", "0")];
    purses.hear(&granted(&slices, &settings));
    let count = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (purses, settings, count) = (&purses, &settings, &count);
            scope.spawn(move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_time().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..10 {
                        if let Ok(reserved) = reserve(purses, settings, "0.1").await {
                            count.fetch_add(1, Ordering::SeqCst);
                            std::mem::forget(reserved);
                        }
                    }
                });
            });
        }
    });
    assert_eq!(count.load(Ordering::SeqCst), 5);
    assert_eq!(left(&purses)[0], "0.05");
}

#[tokio::test]
async fn what_was_spent_stays_spent_when_the_policy_changes() {
    let (settings, purses) = (both(), purses());
    let slices = [(Period::Hour, "0.5", "0"), (Period::Month, "3", "0")];
    purses.hear(&granted(&slices, &settings));
    let reserved = reserve(&purses, &settings, "0.4").await.unwrap();
    reserved.settle(money("0.4"));
    {
        let mut state = purses.state();
        let purse = state.policies.get_mut("support").unwrap();
        purse.follow(&self::settings(
            json!([{ "period": "Month", "limit": "5" }]),
        ));
        purse.follow(&both());
    }
    assert_eq!(left(&purses), ["0.1", "2.6"]);
}

#[tokio::test]
async fn a_policy_whose_price_changes_has_another_usual_call() {
    let budget = || json!([{ "period": "Month", "limit": "10" }]);
    let (cheap, purses) = (settings(budget()), purses());
    assert!(purses.short("support", &cheap, money("1")).is_some());
    let call = || purses.report()["support"][&Period::Month].call;
    // Two thousand tokens of a prompt, and 4,096 of an answer.
    assert_eq!(call(), money("0.07344"));
    let dear = priced(budget(), "150");
    purses
        .state()
        .policies
        .get_mut("support")
        .unwrap()
        .follow(&dear);
    assert_eq!(call(), money("0.6264"));
}

#[tokio::test]
async fn a_budget_that_is_taken_out_while_a_call_waits_is_not_asked_for_it_when_it_is_back() {
    let settings = both();
    let purses = Purses::new(RUN.into(), Duration::from_secs(60));
    let changed = async {
        purses.0.need.notified().await;
        let mut state = purses.state();
        let purse = state.policies.get_mut("support").unwrap();
        purse.follow(&self::settings(json!([])));
        drop(state);
        purses.hear(&granted(&[(Period::Hour, "0.1", "0")], &settings));
    };
    let (reserved, ()) = tokio::join!(reserve(&purses, &settings, "0.05"), changed);
    assert!(reserved.is_ok(), "there is no budget any more");
    purses
        .state()
        .policies
        .get_mut("support")
        .unwrap()
        .follow(&settings);
    let report = purses.report()["support"].clone();
    assert!(
        report.values().all(|load| load.waiting.is_zero()),
        "{report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_goes_on_when_the_budget_that_kept_it_is_taken_out() {
    let budget = json!([{ "period": "Month", "limit": "10" }]);
    let (settings, began) = (settings(budget.clone()), Instant::now());
    let purses = Purses::new(RUN.into(), Duration::from_secs(60));
    purses.keep(&table(budget));
    let taken_out = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        purses.keep(&table(json!([])));
    };
    let (reserved, ()) = tokio::join!(reserve(&purses, &settings, "0.05"), taken_out);
    assert!(reserved.is_ok());
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}

#[tokio::test]
async fn a_call_that_still_waits_when_its_budget_is_back_asks_for_its_money_again() {
    let settings = both();
    let purses = Purses::new(RUN.into(), Duration::from_secs(60));
    let grant = |amount| {
        let slices = [(Period::Hour, amount, "0.9"), (Period::Month, amount, "9")];
        purses.hear(&granted(&slices, &settings));
    };
    let changed = async {
        purses.0.need.notified().await;
        {
            let mut state = purses.state();
            let purse = state.policies.get_mut("support").unwrap();
            purse.follow(&self::settings(json!([])));
            purse.follow(&settings);
        }
        let waiting = || purses.report()["support"][&Period::Month].waiting;
        assert!(waiting().is_zero());
        grant("0.01");
        purses.0.need.notified().await;
        assert_eq!(waiting(), money("0.05"));
        grant("0.1");
    };
    let (reserved, ()) = tokio::join!(reserve(&purses, &settings, "0.05"), changed);
    assert!(reserved.is_ok());
}

#[tokio::test]
async fn what_is_put_aside_for_a_call_that_is_never_made_is_free_again() {
    let (settings, purses) = (both(), purses());
    let slices = [(Period::Hour, "0.5", "0"), (Period::Month, "0.5", "0")];
    purses.hear(&granted(&slices, &settings));
    let put_aside = aside(&purses, &settings, "0.4").await.unwrap();
    assert_eq!(left(&purses), ["0.1", "0.1"]);
    drop(put_aside);
    assert_eq!(left(&purses), ["0.5", "0.5"]);
    assert_eq!(purses.state().policies["support"].calls, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_gets_what_a_call_in_flight_gives_back() {
    let settings = settings(json!([{ "period": "Month", "limit": "10" }]));
    let purses = Purses::new(RUN.into(), Duration::from_secs(5));
    purses.hear(&granted(&[(Period::Month, "1", "0")], &settings));
    let first = reserve(&purses, &settings, "0.8").await.unwrap();
    let began = Instant::now();
    let settled = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        first.settle(money("0.1"));
    };
    let (second, ()) = tokio::join!(reserve(&purses, &settings, "0.8"), settled);
    assert!(second.is_ok());
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    let short = reserve(&purses, &settings, "0.95").await.err().unwrap();
    assert!(!short.may_come, "no call in flight has so much");
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn whoever_waited_in_vain_for_calls_in_flight_keeps_nobody_from_waiting_for_a_slice() {
    let settings = settings(json!([{ "period": "Month", "limit": "10" }]));
    let purses = Purses::new(RUN.into(), Duration::from_secs(5));
    purses.hear(&granted(&[(Period::Month, "3", "0.4")], &settings));
    let first = reserve(&purses, &settings, "3").await.unwrap();
    let waited = async |amount: &str, seconds: u64| {
        let before = Instant::now();
        let short = reserve(&purses, &settings, amount).await.err();
        assert!(short.is_some());
        assert_eq!(before.elapsed().as_secs(), seconds, "{amount}");
    };
    // More than can be granted: only the first may give back so much.
    waited("2.5", 5).await;
    waited("2.5", 0).await;
    waited("0.3", 5).await;
    waited("0.3", 0).await;
    drop(aside(&purses, &settings, "0").await.unwrap());
    waited("2.5", 5).await;
    drop(first);
}
