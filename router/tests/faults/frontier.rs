//! A frontier that fails, throttles, stalls and cuts, in turn, under a budget.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use weir_crds::Money;

use crate::judging::Came;
use crate::leader::{charged, lead, ledger, purse};
use crate::length::{seed, times};
use crate::stage::{Stage, endpoint};

/// Of each, for so many requests and so long: a circuit that opens meanwhile has time to close.
const FAULTS: [&str; 11] = [
    "status=500",
    "throttle=1s",
    "stall=3s",
    "cut-after=3",
    "error-after=4",
    "hang-after=5",
    "half-event-after=2",
    "reset-after-bytes=400",
    "garbage-after=6",
    "wrong-usage=missing",
    "wrong-usage=negative",
];
const REQUESTS: usize = 4;
/// Of which a slice, 2 %, is for two seconds: a leader that is late on a busy machine lets nobody wait too long.
const LIMIT: &str = "20";
/// A minute.
const LOOKS: usize = 600;
const EACH: Duration = Duration::from_millis(700);

/// The codes of failures and of overload, on both wires.
const CODES: [&str; 10] = [
    "broken",
    "lost",
    "connect",
    "silent",
    "too_slow",
    "overloaded",
    "circuit_open",
    "overloaded_error",
    "timeout_error",
    "api_error",
];

fn is_clear(came: &Came) -> bool {
    match came {
        Came::Refused { code, .. } | Came::Broken { code, .. } => CODES.contains(&code.as_str()),
        came => came.is_by("frontier"),
    }
}

/// Every fault was met, and afterwards all is well.
async fn recovered(stage: &Stage) {
    let traffic = stage.traffic();
    let mut looks = 0;
    while !traffic.ask(0).await.is_whole() || stage.frontier_fault("status=500", 0).await > 0 {
        looks += 1;
        assert!(looks < LOOKS, "it never came back");
        sleep(Duration::from_millis(100)).await;
    }
    traffic.run(0..50).await.check(Came::is_whole, seed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_an_endpoint_does_answers_are_whole_or_one_error_and_all_of_it_is_counted() {
    let limit: Money = LIMIT.parse().unwrap();
    let policy = |frontier: &str| {
        let mut tier = endpoint(frontier);
        // So that one that hangs does not for long.
        tier["endpoint"]["timeouts"] = json!({ "connect": "1s", "firstByte": "1s", "idle": "1s" });
        json!({
            "tiers": [tier], "retries": { "max": 1 },
            "budget": [{ "period": "Month", "limit": LIMIT, "onExhausted": "Reject" }],
        })
    };
    let stage = Stage::start(policy, |_| {}).await;
    let failing = async {
        for _ in 0..times() {
            for fault in FAULTS {
                stage.frontier_fault(fault, REQUESTS).await;
                sleep(EACH).await;
                let load = purse(&stage.load().await);
                assert!(load.spent + load.reserved <= load.granted, "{load:?}");
                assert!(ledger(&stage).committed() <= limit);
            }
        }
    };
    let traffic = stage.traffic();
    let asks = times() * FAULTS.len() as u64 * 70;
    let story = async { tokio::join!(traffic.run(0..asks), failing).0 };
    let ended = async {
        let answers = story.await;
        recovered(&stage).await;
        let is_settled = |load: &Value| purse(load).reserved.is_zero();
        stage.until("all calls are settled", is_settled).await;
        answers
    };
    let answers = tokio::select! {
        answers = ended => answers,
        () = lead(&stage) => unreachable!("it leads for ever"),
    };
    answers.check(is_clear, seed());
    let whole = answers.count(Came::is_whole);
    let asked = answers.0.len();
    assert!(whole > 0 && whole < asked, "{whole} of {asked} were whole");
    // What broke off may have cost more than it did, and nothing costs less.
    let (charged, spent) = (
        charged(&stage.client, &stage.frontier).await,
        purse(&stage.load().await).spent,
    );
    assert!(
        !charged.is_zero() && charged <= spent && spent <= limit,
        "{charged} of {spent}"
    );
    stage.nothing_is_left(&[]).await;
}
