//! Clocks that step while clients ask: the router's, or the leader's.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir_crds::Money;

use crate::judging::Came;
use crate::leader::charged;
use crate::length::seed;
use crate::program::{Cluster, Program};
use crate::stage::{endpoint, small};
use crate::traffic::Traffic;

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;
/// Each is put right again before the next.
const STEPS: [i64; 4] = [HOUR, -HOUR, DAY, -DAY];
/// At each step, and at each return.
const ASKS: usize = 50;

/// A clock that a program reads in place of the machine's.
pub struct Clock {
    seconds: PathBuf,
    library: PathBuf,
    _folder: TempDir,
}

impl Clock {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (seconds, library) = (folder.path().join("moved"), folder.path().join("moved.so"));
        fs::write(&seconds, 0_i64.to_ne_bytes()).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/moved.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .status();
        assert!(built.unwrap().success(), "cc builds {}", source.display());
        Self {
            seconds,
            library,
            _folder: folder,
        }
    }

    /// So that `program` reads it.
    pub fn set_for(&self, program: &mut Command) {
        program
            .env("LD_PRELOAD", &self.library)
            .env("MOVED", &self.seconds);
    }

    /// It is so much later by it at once, than it is.
    fn step(&self, seconds: i64) {
        let file = OpenOptions::new().write(true).open(&self.seconds).unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

/// Whatever the clocks say, the small model may answer.
fn spec(frontier: &str, limit: &str) -> Value {
    json!({
        "tiers": [small(), endpoint(frontier)],
        "rules": [{ "name": "all", "when": {}, "then": { "start": "frontier" } }],
        "budget": [{ "period": "Hour", "limit": limit, "onExhausted": "Local" }],
    })
}

/// Asks through all steps, each made by `step`.
async fn through(traffic: &Traffic, step: impl Fn(i64)) {
    let times = STEPS.into_iter().flat_map(|step| [step, 0]);
    for (to, first) in times.zip((0..).step_by(ASKS)) {
        step(to);
        let answers = traffic.run((first..).take(ASKS)).await;
        answers.check(Came::is_whole, seed());
    }
}

/// The frontier answers again.
async fn recovers(cluster: &Cluster, traffic: &Traffic) {
    let number = AtomicU64::new(100_000);
    cluster
        .until("the frontier is asked", async || {
            let came = traffic.ask(number.fetch_add(1, Ordering::SeqCst)).await;
            assert!(came.is_whole(), "{came:?}");
            came.is_by("frontier")
        })
        .await;
}

/// It lives by a clock that is so much ahead: what is said of its answers would say nothing otherwise.
async fn is_ahead(cluster: &Cluster, router: &Program, seconds: i64) {
    cluster
        .until("its clock has stepped", async || {
            let said = cluster.client.get(format!("{}/readyz", router.admin));
            let said = said.send().await.unwrap().headers()["date"].clone();
            let said = rfc2822::parse(said.to_str().unwrap()).unwrap().timestamp();
            let ahead = said.as_second() - Timestamp::now().as_second();
            (ahead - seconds).abs() < 60
        })
        .await;
}

/// How many hours have begun since, by the machine's clock: a limit each.
fn hours(since: Timestamp) -> u64 {
    let hour = |time: Timestamp| time.as_second().div_euclid(HOUR);
    1 + u64::try_from(hour(Timestamp::now()) - hour(since)).unwrap()
}

async fn is_within(cluster: &Cluster, (limit, periods): (&str, u64)) {
    let limit: Money = limit.parse().unwrap();
    let most = (0..periods).fold(Money::default(), |sum, _| sum + limit);
    let charged = charged(&cluster.client, &cluster.frontier).await;
    assert!(charged <= most, "{charged} of {periods} times {limit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_routers_clock_steps_and_every_ask_is_answered_and_no_limit_is_passed() {
    for (limit, may_be_used_up) in [("0.02", true), ("100", false)] {
        let (cluster, clock) = (Cluster::start(|to| spec(to, limit)).await, Clock::new());
        let _replicas = cluster.replicas(2).await;
        let router = cluster.router_by(Some(&clock)).await;
        let story = async {
            let traffic = cluster.traffic(&router);
            recovers(&cluster, &traffic).await;
            for seconds in [DAY, 0] {
                clock.step(seconds);
                is_ahead(&cluster, &router, seconds).await;
            }
            let began = Timestamp::now();
            through(&traffic, |seconds| clock.step(seconds)).await;
            if !may_be_used_up {
                recovers(&cluster, &traffic).await;
            }
            is_within(&cluster, (limit, hours(began))).await;
        };
        tokio::select! {
            () = story => {}
            () = cluster.lead() => unreachable!("it leads for ever"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leaders_clock_steps_and_every_ask_is_answered_and_each_period_begun_has_one_limit() {
    for (limit, may_be_used_up) in [("0.02", true), ("100", false)] {
        let cluster = Cluster::start(|to| spec(to, limit)).await;
        let _replicas = cluster.replicas(2).await;
        let router = cluster.router().await;
        let story = async {
            let traffic = cluster.traffic(&router);
            recovers(&cluster, &traffic).await;
            let began = Timestamp::now();
            through(&traffic, |seconds| cluster.step(seconds)).await;
            // The next hour and the next day's same hour began early.
            is_within(&cluster, (limit, hours(began) + 2)).await;
            if !may_be_used_up {
                recovers(&cluster, &traffic).await;
            }
        };
        tokio::select! {
            () = story => {}
            () = cluster.lead() => unreachable!("it leads for ever"),
        }
    }
}
