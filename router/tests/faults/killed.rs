//! Workers that are killed while they write, two hundred of them.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::judging::Came;
use crate::length::{seed, times};
use crate::question::Dice;
use crate::replica::Replica;
use crate::stage::{Stage, addresses, small};

const KILLED: u64 = 200;
/// At a time.
const REPLICAS: usize = 16;
/// So many dead ones are still listed: nobody knows of a death at once.
const LISTED_DEAD: usize = 2;
/// Between two deaths at most, half as long on average.
const AT_MOST: Duration = Duration::from_millis(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_is_lost_or_repeated_though_two_hundred_workers_are_killed() {
    let policy = |_: &str| json!({ "tiers": [small()], "retries": { "max": 5 } });
    let stage = Stage::start(policy, |_| {}).await;
    let (seed, kills) = (seed(), times() * KILLED);
    let mut dice = Dice::new(seed);
    let mut replicas = stage.replicas(REPLICAS).await;
    let mut resumed = 0;
    let killing = async {
        let mut dead = Vec::new();
        for _ in 0..kills {
            let pause = dice.below(AT_MOST.as_millis() as u64);
            sleep(Duration::from_millis(pause)).await;
            let killed = dice.below(REPLICAS as u64) as usize;
            let killed = replicas.swap_remove(killed);
            dead.push(killed.address);
            resumed += killed.resumed();
            drop(killed);
            replicas.push(Replica::start(&stage.wrongs, dice.below(2) == 0));
            let listed = dead.iter().rev().take(LISTED_DEAD).copied();
            stage.list(addresses(&replicas).chain(listed));
        }
    };
    let millis = kills * AT_MOST.as_millis() as u64 / 2;
    let traffic = stage.traffic();
    let (answers, ()) = tokio::join!(traffic.run(0..millis / 10), killing);
    answers.check(|came| came.is_whole() || came.is_failure(), seed);
    // Some may fail, one in fifty: an ask that meets a death at each of its six tries, or that the damper gives no
    // further one, is right to end in one clear error, and how many do hangs on how much a machine writes between
    // two deaths.
    let failed = answers.count(Came::is_failure);
    assert!(
        50 * failed < answers.0.len(),
        "seed {seed}: {failed} failed"
    );
    resumed += replicas.iter().map(Replica::resumed).sum::<usize>();
    assert!(resumed > kills as usize / 2, "{resumed} were resumed");
    stage.nothing_is_left(&replicas).await;
}
