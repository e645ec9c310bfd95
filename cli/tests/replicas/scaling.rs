//! Replicas come and go by demand, to zero and back, and no ask is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::up::Up;

/// Four places for each replica, so that a few asks are more than one can take.
const SCALED: &str = "
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: triage }
spec:
  model: { source: 'file:///models/triage' }
  scaling: { min: 0, max: 2, concurrency: 4, utilization: '1', downAfter: 2s, zeroAfter: 3s }
";
const LOST: &str = "
---
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: lost }
spec: { model: { source: 'file:///nowhere/lost' } }
";
const READERS: usize = 12;
/// Those of them that go on while a replica goes: by themselves they need one, and it goes from under them.
const LATE_READERS: usize = 2;
const TOKENS: usize = 200;

#[test]
fn replicas_come_with_the_asks_and_go_with_them_and_no_ask_is_lost() {
    let up = Up::start(SCALED);
    up.says("ready triage");
    up.says("scaled triage from 1 to 0: ToZero");
    up.has_workers_soon(0);
    assert!(
        up.readiness().contains("200 OK"),
        "it sleeps by its own right"
    );
    let read = |reader| up.read("triage", reader, TOKENS);
    let expected: Vec<String> = (0..READERS).map(|reader| read(reader).text).collect();
    assert!(!expected[0].is_empty());
    up.says("scaled triage from 0 to 1: FromZero");

    let (is_over, is_quiet) = (AtomicBool::new(false), AtomicBool::new(false));
    let answers = AtomicUsize::new(0);
    thread::scope(|threads| {
        for reader in 0..READERS {
            let enough = match reader < LATE_READERS {
                true => &is_quiet,
                false => &is_over,
            };
            let (up, read, expected, answers) = (&up, &read, &expected[reader], &answers);
            threads.spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    let answer = read(reader);
                    assert_eq!(answer.text, *expected);
                    assert_eq!(
                        up.resumed(&answer),
                        0,
                        "its replica went before it had ended"
                    );
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let watched = threads.spawn(|| {
            up.says("scaled triage from 1 to 2");
            up.says("ready triage");
            assert_eq!(up.workers().len(), 2);
            is_over.store(true, Ordering::Relaxed);
            up.says("scaled triage from 2 to 1: Quiet");
            up.has_workers_soon(1);
        });
        let watched = watched.join();
        is_over.store(true, Ordering::Relaxed);
        is_quiet.store(true, Ordering::Relaxed);
        assert!(watched.is_ok(), "see above");
    });
    assert!(answers.into_inner() > READERS);
    up.says("scaled triage from 1 to 0: ToZero");
    up.has_workers_soon(0);
}

#[test]
fn a_replica_that_cannot_start_is_tried_again_while_others_serve() {
    let up = Up::start(&(SCALED.replace("min: 0", "min: 1") + LOST));
    for _ in 0..3 {
        up.says("ended lost: ModelNotFound");
    }
    assert!(!up.read("triage", 0, TOKENS).text.is_empty());
    let readiness = up.readiness();
    assert!(readiness.contains("503"), "{readiness}");
    assert!(readiness.contains("replicas: none of lost"), "{readiness}");
}
