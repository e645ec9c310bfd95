//! Several processes of a node that want the same model: one downloads, the others wait, and one of
//! them takes over when it dies.
//!
//! The other process is this test's own program, started again for one test that does nothing else.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::sync::watch;
use weir_sources::{Options, Origin, Phase, Progress, fetch};

use crate::{
    server::{Act, Server},
    stage::{LIST, MODEL, Stage, repository, run, weights, weights_page},
};

const HUB: &str = "WEIR_SOURCES_TEST_HUB";
const CACHE: &str = "WEIR_SOURCES_TEST_CACHE";

/// What the other process does; nothing where no other test started it.
#[tokio::test]
async fn another_process() {
    let (Some(hub), Some(cache)) = (variable(HUB), variable(CACHE)) else {
        return;
    };
    let mut options = Options {
        hub,
        ..Options::new(cache)
    };
    options.patience.silence = Duration::from_secs(600);
    run(MODEL, &options).await.unwrap();
}

#[allow(
    clippy::disallowed_methods,
    reason = "a process that a test starts has no other arguments than variables"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn start(server: &Server, stage: &Stage) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::another_process"])
        .env(HUB, server.url())
        .env(CACHE, stage.cache())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_process_that_waits_for_another_shows_it_and_takes_over_when_that_dies() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let body = weights(3_500_000);
    repository(&server, &body);
    server.acts(&weights_page(), &[Act::Silence(2_500_000)]);
    let mut other = start(&server, &stage);
    // Of what came a mebibyte at most is not written yet.
    while server.asked_for(&weights_page()).is_empty() || written(&stage) < 1_400_000 {
        assert_eq!(other.try_wait().unwrap(), None);
        tokio::task::yield_now().await;
    }
    let (tx, mut rx) = watch::channel(Progress::default());
    let (source, options) = (MODEL.parse().unwrap(), stage.hub(&server));
    let watching = async {
        let waits =
            |progress: &Progress| progress.phase == Phase::Waiting && progress.done_bytes > 0;
        let seen = rx.wait_for(waits).await.unwrap().clone();
        assert_eq!(
            server.asked_for(&weights_page()).len(),
            1,
            "both downloaded"
        );
        other.kill().unwrap();
        other.wait().unwrap();
        seen
    };
    let (ended, seen) = tokio::join!(fetch(&source, &options, &tx), watching);
    assert_eq!(seen.total_bytes, Some(3_500_002));
    assert!(seen.to_string().contains("another process"), "{seen}");
    let fetched = ended.unwrap();
    assert_eq!(
        std::fs::read(fetched.path.join("model.safetensors")).unwrap(),
        body
    );
    let asked = server.asked_for(&weights_page());
    assert_eq!(asked.len(), 2);
    assert!(asked[1].header("range").is_some(), "it began anew");
}

/// What the other process has on the disk.
fn written(stage: &Stage) -> u64 {
    let sizes = stage
        .files()
        .into_iter()
        .filter(|name| name.ends_with("safetensors.partial"));
    sizes
        .map(|name| std::fs::metadata(stage.cache().join(name)).map_or(0, |found| found.len()))
        .sum()
}

#[tokio::test]
async fn eight_at_once_download_once() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, &weights(2_000_000));
    let options = stage.hub(&server);
    let all = futures::future::join_all((0..8).map(|_| run(MODEL, &options))).await;
    let origins: Vec<Origin> = all.into_iter().map(|ended| ended.unwrap().origin).collect();
    let downloads = origins
        .iter()
        .filter(|origin| **origin == Origin::Download)
        .count();
    assert_eq!(downloads, 1, "{origins:?}");
    assert_eq!(server.asked_for(&weights_page()).len(), 1);
    assert_eq!(server.asked_for(LIST).len(), 8);
}
