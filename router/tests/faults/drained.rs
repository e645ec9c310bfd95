//! Replicas that leave with streams in hand, one after the other.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::judging::Came;
use crate::length::{seed, times};
use crate::question::Dice;
use crate::replica::Replica;
use crate::stage::{Stage, addresses, small};

const DRAINED: u64 = 8;
/// Less than most answers take: the rest goes on elsewhere.
const GRACE: Duration = Duration::from_millis(500);
const PACE: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_of_what_replicas_have_in_hand_when_they_leave() {
    let policy = |_: &str| json!({ "tiers": [small()], "retries": { "max": 5 } });
    let stage = Stage::start(policy, |_| {}).await;
    let (seed, drains) = (seed(), times() * DRAINED);
    let mut dice = Dice::new(seed);
    let mut replicas = stage.replicas(4).await;
    replicas.iter().for_each(|replica| replica.slow(PACE));
    let draining = async {
        for _ in 0..drains {
            let next = Replica::start(&stage.wrongs, false);
            next.slow(PACE);
            replicas.push(next);
            stage.list(addresses(&replicas));
            sleep(Duration::from_millis(200 + dice.below(200))).await;
            let leaving = replicas.remove(0);
            // It is listed a little longer than it takes asks.
            let delisted = async {
                sleep(Duration::from_millis(dice.below(200))).await;
                stage.list(addresses(&replicas));
            };
            tokio::join!(leaving.drain(GRACE), delisted);
            sleep(Duration::from_millis(50)).await;
            assert_eq!(leaving.running(), 0, "all of them were told");
        }
    };
    let traffic = stage.traffic();
    let (answers, ()) = tokio::join!(traffic.run(0..85 * drains), draining);
    answers.check(Came::is_whole, seed);
    assert!(replicas.iter().any(|replica| replica.resumed() > 0));
    stage.nothing_is_left(&replicas).await;
}
