//! A router that is killed with calls in flight, and one that follows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use weir_crds::Money;

use crate::judging::Came;
use crate::leader::charged;
use crate::length::seed;
use crate::program::Cluster;
use crate::stage::endpoint;

const LIMIT: &str = "0.15";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_is_killed_cuts_what_it_wrote_and_what_it_had_is_not_spent_again() {
    let cluster = Cluster::start(|frontier| {
        json!({
            "tiers": [endpoint(frontier)],
            "budget": [{ "period": "Month", "limit": LIMIT, "onExhausted": "Reject" }],
        })
    })
    .await;
    let limit: Money = LIMIT.parse().unwrap();
    let router = cluster.router().await;
    let story = async {
        let traffic = cluster.traffic(&router);
        cluster
            .until("there is money", async || traffic.ask(1).await.is_whole())
            .await;
        let killed = async {
            sleep(Duration::from_millis(1000)).await;
            cluster.kill(router).await;
        };
        let (answers, ()) = tokio::join!(traffic.run(0..150), killed);
        // Cut, and not ended: an SDK raises an error that says so.
        let is_right = |came: &Came| came.is_whole() || *came == Came::Cut || came.is_poor();
        answers.check(is_right, seed());
        let whole = answers.count(Came::is_whole);
        assert!(whole > 0, "some were whole before");
        let before = charged(&cluster.client, &cluster.frontier).await;
        cluster
            .until("it is known to be gone", async || {
                cluster.ledger().await.slices.is_empty()
            })
            .await;
        let lost = cluster.ledger().await.spent;
        assert!(before <= lost, "{before} were charged and {lost} count");

        let router = cluster.router().await;
        let traffic = cluster.traffic(&router);
        let first = AtomicU64::new(1000);
        cluster
            .until("all of the budget is spent", async || {
                assert!(cluster.ledger().await.committed() <= limit);
                let first = first.fetch_add(100, Ordering::SeqCst);
                let answers = traffic.run(first..first + 100).await;
                answers.check(|came| came.is_whole() || came.is_poor(), seed());
                answers.count(Came::is_whole) == 0
            })
            .await;
        let spent = charged(&cluster.client, &cluster.frontier).await;
        assert!(before < spent, "the next one has the rest");
        assert!(
            spent.less(before) + lost <= limit,
            "{spent} of {limit}, {before} before, {lost} lost"
        );
    };
    tokio::select! {
        () = story => {}
        () = cluster.lead() => unreachable!("it leads for ever"),
    }
}
