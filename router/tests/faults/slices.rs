//! A slice that is used up while streams are being written.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;
use weir_crds::{Money, Period};
use weir_policy::budget::ledger::{Ledger, Slice};
use weir_policy::budget::period::Span;
use weir_router::Args;

use crate::judging::Came;
use crate::leader::{charged, purse};
use crate::length::seed;
use crate::stage::{Stage, endpoint, small};

/// For some dozen calls, with what each leaves of what was put aside for it.
const SLICE: &str = "0.02";

/// Whoever asks while nothing is left is told at once.
fn impatient(args: &mut Args) {
    args.slice_wait = Duration::from_millis(10);
}

async fn stage(on_exhausted: &str) -> Stage {
    let policy = |frontier: &str| {
        json!({
            "tiers": [small(), endpoint(frontier)],
            "rules": [{ "name": "all", "when": {}, "then": { "start": "frontier" } }],
            "budget": [{ "period": "Month", "limit": SLICE, "onExhausted": on_exhausted }],
        })
    };
    let stage = Stage::start(policy, impatient).await;
    let mut ledger = Ledger::new(Span::holding(Period::Month, Timestamp::now()));
    let slice = Slice {
        granted: SLICE.parse().unwrap(),
        ..Slice::default()
    };
    let run = stage.load().await["run"].as_str().unwrap().to_owned();
    ledger.slices.insert(run, slice);
    stage.world.send_modify(|world| {
        let ledgers = [("support".to_owned(), [(Period::Month, ledger)].into())];
        Arc::make_mut(world).ledgers = ledgers.into();
    });
    stage
}

/// Two seconds of traffic, of which all goes to the frontier as long as there is money. Gives how many answers were
/// the frontier's.
async fn spent_by(stage: &Stage, is_right: impl Fn(&Came) -> bool) -> usize {
    let slice: Money = SLICE.parse().unwrap();
    let watching = async {
        let mut least = slice;
        for _ in 0..100 {
            let load = purse(&stage.load().await);
            assert!(load.spent + load.reserved <= slice, "{load:?}");
            if !load.reserved.is_zero() {
                least = least.min(load.left());
            }
            sleep(Duration::from_millis(20)).await;
        }
        least
    };
    let traffic = stage.traffic();
    let (answers, least) = tokio::join!(traffic.run(0..200), watching);
    answers.check(is_right, seed());
    let call: Money = "0.003".parse().unwrap();
    assert!(
        least < call,
        "streams went on while nothing was left: {least}"
    );
    let is_settled = |load: &Value| purse(load).reserved.is_zero();
    stage.until("all calls are settled", is_settled).await;
    let spent = purse(&stage.load().await).spent;
    assert_eq!(
        charged(&stage.client, &stage.frontier).await,
        spent,
        "of whole answers all is known"
    );
    answers.count(|came| came.is_by("frontier"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_go_on_when_the_slice_is_used_up_and_the_next_ask_is_answered_by_a_replica() {
    let stage = stage("Local").await;
    let replicas = stage.replicas(2).await;
    let by_frontier = spent_by(&stage, Came::is_whole).await;
    assert!(by_frontier > 10 && by_frontier < 100, "{by_frontier}");
    stage.nothing_is_left(&replicas).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_go_on_when_the_slice_is_used_up_and_the_next_ask_is_refused() {
    let stage = stage("Reject").await;
    let is_right = |came: &Came| came.is_poor() || came.is_by("frontier");
    let by_frontier = spent_by(&stage, is_right).await;
    assert!(by_frontier > 10 && by_frontier < 100, "{by_frontier}");
    stage.nothing_is_left(&[]).await;
}
