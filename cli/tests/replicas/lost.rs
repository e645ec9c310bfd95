//! Workers are killed while they write: no answer is lost, cut or repeated.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::up::Up;

const FILES: &str = "
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: triage }
spec: { model: { source: 'file:///models/triage' }, replicas: 3 }
---
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: { name: alone }
spec: { models: [alone], tiers: [{ name: small, deployment: { name: triage } }], idleTimeout: 20s }
";
/// A worker is killed so often, so many times.
const EVERY: Duration = Duration::from_millis(600);
const KILLED: usize = 6;
/// Streams at once.
const READERS: usize = 6;
const TOKENS: usize = 300;

#[test]
fn streams_are_the_same_whoever_is_killed_meanwhile() {
    let up = Up::start(FILES);
    for _ in 0..3 {
        up.says("ready triage");
    }
    let read = |ticket| up.read("alone", ticket, TOKENS);
    let expected: Vec<String> = (0..READERS).map(|ticket| read(ticket).text).collect();
    let (is_over, answers, resumed) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    thread::scope(|threads| {
        for (ticket, expected) in expected.iter().enumerate() {
            let (up, is_over, answers, resumed) = (&up, &is_over, &answers, &resumed);
            let read = &read;
            threads.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let answer = read(ticket);
                    assert_eq!(answer.text, *expected);
                    answers.fetch_add(1, Ordering::Relaxed);
                    resumed.fetch_add(up.resumed(&answer) as usize, Ordering::Relaxed);
                }
            });
        }
        let mut killed = 0;
        while killed < KILLED {
            thread::sleep(EVERY);
            let workers = up.workers();
            // One is always left to go on.
            if workers.len() < 2 {
                continue;
            }
            let id = nix::unistd::Pid::from_raw(workers[killed % workers.len()]);
            let _ = nix::sys::signal::kill(id, nix::sys::signal::SIGKILL);
            killed += 1;
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let (answers, resumed) = (answers.into_inner(), resumed.into_inner());
    assert!(answers > READERS, "{answers} answers");
    assert!(resumed > 0, "none of {answers} answers was resumed");
}
