//! Budgets: what is put aside, spent and given back, over real sockets. The test is the leader.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use weir_crds::{Money, Period};
use weir_policy::budget::Tally;
use weir_policy::budget::ledger::{Book, Ledger, Slice};
use weir_policy::budget::period::Span;
use weir_router::{Args, World};

use crate::rig::{Rig, Setup, header, json_of, streamed};
use crate::worker::{Play, Scripted, sure};

/// Unsure, and written to its end by whoever is asked to.
fn doubtful() -> Vec<Play> {
    vec![Play::Say("hard", -0.1), Play::Say("ware", -3.0), Play::End]
}

pub fn within(on_exhausted: &str) -> Value {
    json!({ "budget": [{ "period": "Month", "limit": "100", "onExhausted": on_exhausted }] })
}

pub async fn rig(policy: Value, args: fn(&mut Args)) -> Rig {
    Rig::start(Setup {
        policy,
        workers: vec![Scripted::start([doubtful()]).await],
        args,
        ..Setup::default()
    })
    .await
}

/// Nobody grants anything in so short a time.
pub fn impatient(args: &mut Args) {
    args.slice_wait = Duration::from_millis(50);
}

/// Only what was granted ends such a wait.
pub fn patient(args: &mut Args) {
    args.slice_wait = Duration::from_secs(3600);
}

pub fn money(value: &Value) -> Money {
    value.as_str().unwrap().parse().unwrap()
}

pub fn purse(load: &Value) -> Value {
    load["purses"]["support"]["Month"].clone()
}

/// So much is the router's, and the rest of the limit somebody else's but for `remaining`.
pub async fn grant(rig: &Rig, granted: Money, remaining: Money) {
    let run = rig.load().await["run"].as_str().unwrap().to_owned();
    let mut ledger = Ledger::new(Span::holding(Period::Month, Timestamp::now()));
    let limit: Money = "100".parse().unwrap();
    ledger.spent = limit.less(granted).less(remaining);
    let slice = Slice {
        granted,
        ..Slice::default()
    };
    ledger.slices.insert(run, slice);
    write(&rig.world, ledger);
    rig.until("the grant is heard", |load| {
        money(&purse(load)["granted"]) == granted
    })
    .await;
}

fn write(world: &watch::Sender<Arc<World>>, ledger: Ledger) {
    let ledgers = [("support".to_owned(), [(Period::Month, ledger)].into())];
    world.send_modify(|world| {
        Arc::make_mut(world).ledgers = ledgers.into();
    });
}

/// The most that [`call`] costs, and a quarter more.
async fn one_call(rig: &Rig) -> Money {
    call(rig).await;
    let call = money(&purse(&rig.load().await)["call"]);
    call.times("1.25".parse::<Money>().unwrap().amount())
}

pub async fn call(rig: &Rig) -> reqwest::Response {
    rig.ask(json!({ "max_tokens": 1000 })).await
}

async fn record(rig: &Rig, response: reqwest::Response) -> Value {
    let id = header(&response, "x-weir-decision");
    response.text().await.unwrap();
    rig.until_counted("weir_router_asks_running 0").await;
    let path = format!("/v1/decisions/{id}");
    json_of(rig.get(&path, HeaderMap::new()).await).await
}

/// Nothing is in flight, and so much was spent.
async fn until_spent(rig: &Rig, is_it: impl Fn(Money) -> bool) {
    rig.until("what was put aside is settled", |load| {
        let purse = purse(load);
        money(&purse["reserved"]).is_zero() && is_it(money(&purse["spent"]))
    })
    .await;
}

#[tokio::test]
async fn without_a_slice_no_endpoint_is_called_and_the_small_answer_is_flagged() {
    for on_all_unsure in ["Best", "Error"] {
        let mut policy = within("Local");
        policy["onAllUnsure"] = json!(on_all_unsure);
        let rig = rig(policy, impatient).await;
        // The first waits a little, the second is told at once.
        for _ in 0..2 {
            let response = call(&rig).await;
            assert_eq!(header(&response, "x-weir-tier"), "small");
            assert_eq!(header(&response, "x-weir-unsure"), "true");
            let record = record(&rig, response).await;
            assert_eq!(
                record["passedOver"],
                json!([{ "tier": "frontier", "reason": "budget" }])
            );
            assert_eq!(
                record["budget"],
                json!({ "period": "Month", "left": "0", "bound": true })
            );
        }
        assert!(rig.sent_to_frontier().await.is_empty());
        let counted = r#"weir_router_budget_short_total{policy="support",period="month"} 2"#;
        rig.until_counted(counted).await;
    }
}

#[tokio::test]
async fn an_exhausted_budget_refuses_on_both_wires_where_the_policy_says_so() {
    let rig = rig(within("Reject"), impatient).await;
    let response = call(&rig).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&response, "x-should-retry"), "false");
    assert_eq!(header(&response, "retry-after"), "");
    let error = json_of(response).await["error"].clone();
    assert_eq!(error["code"], "insufficient_quota");
    assert_eq!(
        error["message"],
        "the policy's budget for this month is exhausted"
    );
    let body = json!({
        "model": "assistant", "max_tokens": 10,
        "messages": [{ "role": "user", "content": "hi" }],
    });
    let request = rig.client.post(format!("{}/v1/messages", rig.url));
    let response = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    assert_eq!(header(&response, "x-should-retry"), "false");
    assert_eq!(json_of(response).await["error"]["type"], "billing_error");
    assert!(rig.sent_to_frontier().await.is_empty());
}

#[tokio::test]
async fn what_a_small_tier_is_sure_of_costs_nothing_and_is_answered_whatever_the_budget() {
    let rig = Rig::start(Setup {
        policy: within("Reject"),
        workers: vec![Scripted::start([sure()]).await],
        args: impatient,
        ..Setup::default()
    })
    .await;
    let response = call(&rig).await;
    assert_eq!(header(&response, "x-weir-tier"), "small");
    let record = record(&rig, response).await;
    // Seven tokens in and two out, at 3 and 15 dollars a million.
    assert_eq!(
        money(&record["counterfactualCost"]),
        "0.000051".parse().unwrap()
    );
    assert_eq!(record["budget"], Value::Null);
    rig.until_counted(r#"weir_router_counterfactual_dollars_total{policy="support"} 0.000051"#)
        .await;
}

#[tokio::test]
async fn a_call_is_settled_at_its_usage_and_what_was_put_aside_beyond_is_free_again() {
    let rig = rig(within("Local"), impatient).await;
    let call_cost = one_call(&rig).await;
    grant(&rig, call_cost, Money::default()).await;
    let mut tally = Tally::default();
    for calls in 1..=3 {
        let response = call(&rig).await;
        assert_eq!(header(&response, "x-weir-tier"), "frontier", "call {calls}");
        let record = record(&rig, response).await;
        let attempt = &record["attempts"][1];
        assert_eq!(record["counterfactualCost"], attempt["cost"]);
        assert_eq!(record["budget"]["bound"], false);
        let cost = money(&attempt["cost"]);
        until_spent(&rig, |spent| spent == cost.times(calls.into())).await;
        tally.own = tally.own + money(&record["attempts"][0]["cost"]);
        tally.without_weir = tally.without_weir + cost;
    }
    assert!(!tally.own.is_zero(), "replicas have a price here");
    let counted = serde_json::to_value(tally).unwrap();
    rig.until("what it came to is counted", |load| {
        purse(load)["tally"] == counted
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_broke_off_has_cost_all_that_was_put_aside() {
    let mut policy = within("Local");
    policy["onAllUnsure"] = json!("Error");
    let rig = rig(policy, impatient).await;
    let call_cost = one_call(&rig).await;
    grant(&rig, call_cost, Money::default()).await;
    rig.frontier_fault("cut-after=1").await;
    let response = call(&rig).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let quarter_more = "1.25".parse::<Money>().unwrap().amount();
    until_spent(&rig, |spent| spent.times(quarter_more) == call_cost).await;
    let response = call(&rig).await;
    assert_eq!(
        header(&response, "x-weir-tier"),
        "small",
        "too little is left"
    );
}

#[tokio::test]
async fn a_call_that_an_endpoint_takes_no_money_for_gives_everything_back() {
    let rig = rig(within("Local"), impatient).await;
    let call_cost = one_call(&rig).await;
    grant(&rig, call_cost, Money::default()).await;
    for fault in ["status=429", "status=400"] {
        rig.frontier_fault(fault).await;
        assert_eq!(header(&call(&rig).await, "x-weir-tier"), "small", "{fault}");
        rig.no_frontier_faults().await;
        until_spent(&rig, Money::is_zero).await;
    }
    assert!(!rig.sent_to_frontier().await.is_empty());
}

#[tokio::test]
async fn a_slice_that_runs_out_during_a_stream_cuts_nothing() {
    let rig = rig(within("Local"), impatient).await;
    let call_cost = one_call(&rig).await;
    grant(&rig, call_cost, Money::default()).await;
    rig.frontier_fault("drip=2ms").await;
    let stream = rig.ask(json!({ "max_tokens": 1000, "stream": true })).await;
    assert_eq!(header(&stream, "x-weir-tier"), "frontier");
    let load = purse(&rig.load().await);
    assert!(!money(&load["reserved"]).is_zero(), "{load}");
    assert_eq!(header(&call(&rig).await, "x-weir-tier"), "small");
    // Even what was there for it is taken away.
    let none = Ledger::new(Span::holding(Period::Month, Timestamp::now()));
    write(&rig.world, none);
    let streamed = streamed(stream).await;
    assert!(streamed.is_done && !streamed.text.is_empty());
}

#[tokio::test]
async fn asks_at_once_never_put_aside_more_than_the_slice() {
    let rig = rig(within("Local"), impatient).await;
    let call_cost = one_call(&rig).await;
    let slice = call_cost.times(3.into());
    grant(&rig, slice, Money::default()).await;
    rig.frontier_fault("stall=300ms").await;
    let asks = (0..20).map(|_| call(&rig));
    let watched = async {
        let mut most = Money::default();
        for _ in 0..20 {
            let load = purse(&rig.load().await);
            let bound = money(&load["reserved"]) + money(&load["spent"]);
            assert!(bound <= slice, "{load}");
            most = most.max(bound);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        most
    };
    let (answers, most) = tokio::join!(join_all(asks), watched);
    assert!(most > call_cost, "the test wants some of them at once");
    let tiers = answers.iter().map(|answer| header(answer, "x-weir-tier"));
    let count = tiers.fold(
        BTreeMap::new(),
        |mut count: BTreeMap<String, usize>, tier| {
            *count.entry(tier).or_default() += 1;
            count
        },
    );
    assert_eq!(count["frontier"] + count["small"], 20, "{count:?}");
    assert!(count["frontier"] < 20);
    assert_eq!(rig.sent_to_frontier().await.len(), count["frontier"]);
    until_spent(&rig, |spent| !spent.is_zero() && spent <= slice).await;
}

#[tokio::test]
async fn an_ask_waits_for_the_next_slice_and_not_for_one_that_cannot_come() {
    let rig = rig(within("Reject"), patient).await;
    let (response, ()) = tokio::join!(call(&rig), async {
        rig.until("the ask waits", |load| {
            !money(&purse(load)["waiting"]).is_zero()
        })
        .await;
        grant(&rig, "1".parse().unwrap(), Money::default()).await;
    });
    assert_eq!(header(&response, "x-weir-tier"), "frontier");
    let load = purse(&rig.load().await);
    assert!(money(&load["waiting"]).is_zero(), "{load}");
    // More than the slice, and nothing remains.
    let dear = rig.ask(json!({ "max_tokens": 1_000_000 })).await;
    assert_eq!(dear.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn where_an_ask_begins_at_an_endpoint_a_deployment_answers_but_not_for_a_pin() {
    let mut policy = within("Local");
    policy["rules"] = json!([{ "name": "all", "when": {}, "then": { "start": "frontier" } }]);
    policy["auth"] = json!({ "keysSecretRef": { "name": "keys" } });
    policy["pin"] = json!({ "tenants": ["alice"] });
    let rig = Rig::start(Setup {
        policy,
        workers: vec![Scripted::start([doubtful()]).await],
        args: impatient,
        secrets: &[("keys", "alice", "plain:open-sesame")],
        ..Setup::default()
    })
    .await;
    let mut headers = HeaderMap::new();
    let key = HeaderValue::from_static("Bearer open-sesame");
    headers.insert("authorization", key);
    for planned_with in ["a slice that might come", "none to come"] {
        let response = rig.ask_with(json!({}), headers.clone()).await;
        assert_eq!(header(&response, "x-weir-tier"), "small", "{planned_with}");
        assert_eq!(header(&response, "x-weir-unsure"), "true", "{planned_with}");
    }
    headers.insert("x-weir-tier", HeaderValue::from_static("frontier"));
    let response = rig.ask_with(json!({}), headers).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        json_of(response).await["error"]["code"],
        "insufficient_quota"
    );
    assert!(rig.sent_to_frontier().await.is_empty());
}

#[tokio::test]
async fn a_router_that_ends_gives_back_what_is_left() {
    let rig = rig(within("Local"), impatient).await;
    grant(&rig, "0.5".parse().unwrap(), "1".parse().unwrap()).await;
    assert_eq!(header(&call(&rig).await, "x-weir-tier"), "frontier");
    rig.begin_end();
    let (client, admin, world) = (rig.client.clone(), rig.admin.clone(), rig.world.clone());
    // The admin port answers while the process ends.
    let leader = async move {
        let (run, said) = loop {
            let load = client.get(format!("{admin}/load")).send().await.unwrap();
            let load = json_of(load).await["router"].clone();
            if said_so(&purse(&load)) {
                break (load["run"].as_str().unwrap().to_owned(), purse(&load));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let mut ledger = Ledger::new(Span::holding(Period::Month, Timestamp::now()));
        let slice = Slice {
            granted: money(&said["granted"]),
            returned: money(&said["returned"]),
            ..Slice::default()
        };
        assert_eq!(slice.held(), money(&said["spent"]));
        ledger.slices.insert(run, slice);
        write(&world, ledger);
    };
    tokio::join!(rig.ended(), leader);
}

fn said_so(purse: &Value) -> bool {
    let left = money(&purse["granted"])
        .less(money(&purse["returned"]))
        .less(money(&purse["spent"]));
    !money(&purse["returned"]).is_zero() && left.is_zero()
}

/// Of the tests below: the first router's, and what its disk held when it died.
fn ledgers() -> (PathBuf, PathBuf) {
    let folder = std::env::temp_dir().join(format!("weir-money-{}", std::process::id()));
    (folder.join("budgets.json"), folder.join("after.json"))
}

fn day(limit: &str) -> Value {
    json!({ "budget": [{ "period": "Month", "limit": limit }] })
}

fn committed(path: &PathBuf) -> Money {
    let entries = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    Book::read(&entries).policies["support"][&Period::Month].committed()
}

#[tokio::test]
async fn a_router_that_grants_itself_spends_no_more_than_the_limit_though_it_is_killed() {
    let (first, after) = ledgers();
    let spend = async |rig: &Rig| {
        let mut calls = 0;
        while header(&call(rig).await, "x-weir-tier") == "frontier" {
            calls += 1;
            assert!(calls < 1000);
        }
        calls
    };
    let own: fn(&mut Args) = |args| {
        impatient(args);
        args.slice_wait = Duration::from_secs(5);
        args.ledger_file = Some(ledgers().0);
    };
    let limit: Money = "0.02".parse().unwrap();
    let dying = rig(day("0.02"), own).await;
    assert_eq!(header(&call(&dying).await, "x-weir-tier"), "frontier");
    let granted = committed(&first);
    assert!(!granted.is_zero() && granted <= limit, "{granted}");
    std::fs::copy(&first, &after).unwrap();
    assert!(spend(&dying).await < 1000);
    assert!(committed(&first) <= limit);
    let own: fn(&mut Args) = |args| {
        args.slice_wait = Duration::from_secs(5);
        args.ledger_file = Some(ledgers().1);
    };
    let next = rig(day("0.02"), own).await;
    rig_has_taken_over(&next, &after, granted).await;
    spend(&next).await;
    assert!(committed(&after) <= limit);
    let spent = money(&purse(&next.load().await)["spent"]);
    assert!(
        spent + granted <= limit,
        "{spent} beside {granted} of {limit}"
    );
    next.begin_end();
    next.ended().await;
    let _ = std::fs::remove_dir_all(first.parent().unwrap());
}

/// What the one before had counts as spent.
async fn rig_has_taken_over(rig: &Rig, ledger: &PathBuf, granted: Money) {
    call(rig).await;
    let entries = serde_json::from_slice(&std::fs::read(ledger).unwrap()).unwrap();
    let book = Book::read(&entries);
    assert_eq!(book.policies["support"][&Period::Month].spent, granted);
}

#[tokio::test]
async fn nobody_waits_for_money_for_an_endpoint_that_wants_to_be_left_alone() {
    let rig = rig(within("Local"), patient).await;
    let call_cost = {
        let load = rig.load().await;
        money(&purse(&load)["call"])
    };
    grant(&rig, call_cost, "50".parse().unwrap()).await;
    rig.frontier_fault("throttle=60s").await;
    rig.ask(json!({ "max_tokens": 10 })).await;
    // There is a slice to wait for, but nothing to pay.
    let response = rig.ask(json!({ "max_tokens": 1_000_000 }));
    let response = tokio::time::timeout(Duration::from_secs(60), response).await;
    let attempts = header(&response.expect("no wait"), "x-weir-attempts");
    assert!(attempts.contains("frontier;overloaded"), "{attempts}");
}

#[tokio::test]
async fn an_answer_in_the_place_of_another_is_marked_however_sure_it_is_and_is_not_kept() {
    let mut policy = within("Local");
    policy["cache"] = json!({ "exact": "10m" });
    policy["rules"] = json!([{ "name": "all", "when": {}, "then": { "start": "frontier" } }]);
    let rig = Rig::start(Setup {
        policy,
        workers: vec![Scripted::start([sure()]).await],
        args: impatient,
        ..Setup::default()
    })
    .await;
    for stream in [false, true, false] {
        let response = rig.ask(json!({ "stream": stream })).await;
        assert_eq!(header(&response, "x-weir-tier"), "small");
        assert_eq!(header(&response, "x-weir-local"), "true");
        assert_eq!(header(&response, "x-weir-unsure"), "");
        assert_eq!(header(&response, "x-weir-cache"), "miss");
        response.text().await.unwrap();
    }
    grant(&rig, "1".parse().unwrap(), Money::default()).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(header(&response, "x-weir-tier"), "frontier");
    assert_eq!(header(&response, "x-weir-local"), "");
}
