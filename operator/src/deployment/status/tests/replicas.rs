//! What replicas say of their start, and of a model on its way.

use super::*;
use weir_policy::load::Arriving;

#[test]
fn the_wait_for_adapters_is_a_part_of_the_cold_start() {
    let mut seen = observed(
        vec![revision("new", 1)],
        vec![replica(true, running(), Some("sha256:abc"))],
    );
    let cold_start = |seen: &Observed| settled(seen).cold_start.unwrap();
    assert_eq!(cold_start(&seen).adapters, None);
    let before = cold_start(&seen).total_text;
    let load = seen.replicas[0].load.as_mut().unwrap();
    load.cold_start.as_mut().unwrap().adapters_ms = 1500;
    let after = cold_start(&seen);
    assert_eq!(after.adapters.as_deref(), Some("1.5s"));
    assert_ne!(after.total_text, before);
}

/// A replica that this much of a model of 120 MB has come to.
fn downloading(name: &str, rate: u64, said: &str) -> Replica {
    let mut replica = replica(false, running(), None);
    Arc::make_mut(&mut replica.pod).metadata.name = Some(name.into());
    replica.load = Some(WorkerLoad {
        arriving: Some(Arriving {
            said: said.into(),
            bytes_per_second: rate,
            ..Arriving::default()
        }),
        ..WorkerLoad::default()
    });
    replica
}

#[test]
fn a_download_is_told_of_the_replica_that_something_comes_to() {
    let replicas = vec![
        downloading("one", 0, "waiting for another process"),
        downloading(
            "two",
            9,
            "downloading model.gguf: 25 % of 120 MB at 10 MB/s",
        ),
    ];
    let status = settled(&observed(vec![revision("new", 0)], replicas.clone()));
    let message = "Downloading: replica two: downloading model.gguf: 25 % of 120 MB at 10 MB/s";
    assert_eq!(
        told(&status),
        [
            format!("Ready=False {message}"),
            format!("Available=False {message}"),
            format!("ModelReady=False {message}"),
            format!(
                "Reconciling=True Progressing: 0 of 1 replicas of revision new are ready; {message}"
            ),
        ]
    );
    // What went wrong before says more, and a rollout is one.
    let mut ended_before = replicas.clone();
    ended_before[0] = replica(false, ended("CrashLoop: port taken"), None);
    let status = settled(&observed(vec![revision("new", 0)], ended_before));
    assert_eq!(reason(&status), ("False", "CrashLoop"));
    let revisions = vec![revision("old", 1), revision("new", 0)];
    let status = made(
        &observed(revisions, replicas),
        &plan("old", Some("new")),
        1,
        &Applied::default(),
    );
    assert_eq!(reason(&status), ("False", "RollingOut"));
}

#[test]
fn a_kubelet_that_forgets_how_a_replica_ended_takes_back_nothing_that_was_said_of_it() {
    let of = |pod: Value| {
        let replicas = vec![replica(false, pod, None)];
        observed(vec![revision("new", 0)], replicas)
    };
    let ended = settled(&of(ended("AmbiguousSource: hf://a/b holds several models")));
    assert_eq!(reason(&ended), ("False", "AmbiguousSource"));
    let again = |restarts: u32| {
        let mut seen = of(json!({ "containerStatuses": [{
            "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": restarts,
            "state": { "running": { "startedAt": "2026-11-21T05:59:30Z" } },
        }] }));
        seen.deployment.status = Some(ended.clone());
        settled(&seen)
    };
    assert_eq!(told(&again(1)), told(&ended));
    // The pod of another try.
    assert_eq!(reason(&again(0)), ("False", "Starting"));
}
