//! The end of `weir up`: the router first, with all that it has in hand, then replicas.

use std::thread;

use crate::up::Up;

const ASLEEP: &str = "
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: triage }
spec:
  model: { source: 'file:///models/triage' }
  scaling: { min: 0, max: 1, zeroAfter: 1s }
";

#[test]
fn an_ask_that_waits_for_a_replica_when_all_ends_is_answered_by_one_that_starts_for_it() {
    let up = Up::start(ASLEEP);
    up.says("scaled triage from 1 to 0: ToZero");
    up.has_workers_soon(0);
    thread::scope(|threads| {
        let asked = threads.spawn(|| up.read("triage", 0, 20));
        up.says("scaled triage from 0 to 1: FromZero");
        up.interrupt();
        up.says("ending");
        let answer = asked.join().expect("it is answered");
        assert!(!answer.text.is_empty());
    });
    assert!(up.ended().success());
    assert!(up.workers().is_empty());
}
