//! The API server away, until all that was granted is spent and somewhat longer: some seconds, as the budget is small.
//! Nothing in a router looks at how long it is away.

use std::time::Duration;

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use weir_crds::Money;

use crate::judging::Came;
use crate::leader::charged;
use crate::length::{seed, times};
use crate::program::Cluster;
use crate::stage::{endpoint, small};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_api_server_what_is_there_serves_and_slices_are_spent_and_no_more() {
    let cluster = Cluster::start(|frontier| {
        json!({
            "tiers": [small(), endpoint(frontier)],
            "rules": [{ "name": "all", "when": {}, "then": { "start": "frontier" } }],
            "budget": [{ "period": "Month", "limit": "0.6", "onExhausted": "Local" }],
        })
    })
    .await;
    let replicas = cluster.replicas(3).await;
    let router = cluster.router().await;
    let story = async {
        let traffic = cluster.traffic(&router);
        let served = async |numbers: std::ops::Range<u64>| {
            let answers = traffic.run(numbers).await;
            answers.check(Came::is_whole, seed());
            answers.count(|came| came.is_by("frontier"))
        };
        cluster
            .until("there is money", async || {
                traffic.ask(1).await.is_by("frontier")
            })
            .await;
        assert!(served(0..50).await > 0);
        cluster.api.lock().await.go_away();
        let granted = cluster.ledger().await.committed();
        let mut numbers = (50..).step_by(50).map(|first| first..first + 50);
        while served(numbers.next().unwrap()).await > 0 {}
        // From now on all is as it will be after hours.
        for batch in numbers.take(2 * times() as usize) {
            assert_eq!(served(batch).await, 0, "the slice is used up");
        }
        let spent = charged(&cluster.client, &cluster.frontier).await;
        let call: Money = "0.003".parse().unwrap();
        assert!(
            spent <= granted && granted <= spent + call,
            "{spent} of {granted}"
        );
        cluster.kill(router).await;

        // Another router starts meanwhile: it knows the world as the one before it did, and has nothing to spend.
        let router = cluster.router().await;
        let traffic = cluster.traffic(&router);
        let answers = traffic.run(0..100).await;
        answers.check(|came| came.is_by("small"), seed());

        cluster.api.lock().await.come_back();
        cluster
            .until("it may spend again", async || {
                traffic.ask(1).await.is_by("frontier")
            })
            .await;
        let answers = traffic.run(0..100).await;
        answers.check(Came::is_whole, seed());
        let spent = charged(&cluster.client, &cluster.frontier).await;
        assert!(spent <= cluster.ledger().await.committed());
    };
    tokio::select! {
        () = story => {}
        () = cluster.lead() => unreachable!("it leads for ever"),
    }
    sleep(Duration::from_millis(500)).await;
    assert!(replicas.iter().all(|replica| replica.running() == 0));
    let wrongs = cluster.wrongs.lock().unwrap();
    assert!(wrongs.is_empty(), "{wrongs:?}");
}

/// Its port is open from the start, and a model that it does not know yet would be one that does not exist.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_a_router_that_knows_nothing_yet_is_answered_once_it_does() {
    let cluster = Cluster::start(|_| json!({ "tiers": [small()] })).await;
    let _replicas = cluster.replicas(1).await;
    let router = cluster.router().await;
    assert!(cluster.traffic(&router).ask(1).await.is_whole());
    let kept = cluster.world_file();
    cluster
        .until("its world is kept", async || kept.exists())
        .await;
    cluster.kill(router).await;
    cluster.api.lock().await.go_away();

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let router = cluster.router_at(address).await;
    cluster
        .until("it listens", async || {
            TcpStream::connect(address).await.is_ok()
        })
        .await;
    let came = cluster.traffic(&router).ask(2).await;
    assert!(came.is_whole(), "{came:?}");
}
