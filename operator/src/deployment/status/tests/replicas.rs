//! What replicas say of their adapters, their start, and a model on its way.

use super::*;
use weir_policy::load::Arriving;

/// Two ready replicas of a deployment with the adapters `a` and `b`, which report these.
fn with_adapters(reports: [Value; 2]) -> SLMDeploymentStatus {
    settled(&adapted(reports))
}

fn adapted(reports: [Value; 2]) -> Observed {
    let replicas = reports.map(|report| {
        let mut replica = replica(true, running(), Some("sha256:abc"));
        let load = replica.load.as_mut().unwrap();
        load.adapters = serde_json::from_value(report).unwrap();
        replica
    });
    let mut observed = observed(vec![revision("new", 2)], replicas.into());
    let listed =
        json!([{ "name": "a", "source": "s3://m/a" }, { "name": "b", "source": "s3://m/b" }]);
    observed.deployment.spec.adapters = serde_json::from_value(listed).unwrap();
    observed
}

fn adapters_ready(status: &SLMDeploymentStatus) -> String {
    let told = told(status).into_iter();
    told.filter(|line| line.starts_with("AdaptersReady"))
        .collect()
}

#[test]
fn adapters_are_told_with_the_replicas_that_serve_them() {
    let a = json!({ "name": "a", "digest": "sha256:a" });
    let b = json!({ "name": "b", "digest": "sha256:b" });
    let late = json!({ "name": "b", "reason": "Downloading" });
    let status = with_adapters([json!([a, late]), json!([a, b])]);
    let told = status.adapters.iter();
    let told: Vec<_> = told
        .map(|of| (of.name.as_str(), of.digest.as_deref(), of.ready))
        .collect();
    assert_eq!(
        told,
        [("a", Some("sha256:a"), 2), ("b", Some("sha256:b"), 1)]
    );
    assert_eq!(
        adapters_ready(&status),
        "AdaptersReady=False Downloading: adapter b is on 1, of 2 ready replicas"
    );
    let status = with_adapters([json!([a, b]), json!([b, a])]);
    assert_eq!(
        adapters_ready(&status),
        "AdaptersReady=True Loaded: 2 adapters are on each of 2 ready replicas"
    );
    assert_eq!(
        reason(&status).1,
        "Serving",
        "the model is served all the same"
    );
}

#[test]
fn an_adapter_that_a_replica_refuses_is_told_in_its_words() {
    let a = json!({ "name": "a", "digest": "sha256:a" });
    let wrong = json!({ "name": "b", "reason": "Unsupported", "message": "rank 128" });
    let gone = json!({ "name": "c", "reason": "ModelNotFound", "message": "not listed any more" });
    let status = with_adapters([json!([gone, a, wrong]), json!([a])]);
    assert_eq!(
        adapters_ready(&status),
        "AdaptersReady=False Unsupported: adapter b on replica triage-new-1: rank 128"
    );
}

#[test]
fn adapters_stay_ready_while_a_replica_starts_and_until_it_has_told_what_it_has() {
    let a = json!({ "name": "a", "digest": "sha256:a" });
    let b = json!({ "name": "b", "digest": "sha256:b" });
    let mut seen = adapted([json!([a, b]), json!([a])]);
    seen.replicas[1].ready = false;
    let status = settled(&seen);
    let ready = "AdaptersReady=True Loaded: 2 adapters are on each of 1 ready replicas";
    assert_eq!(adapters_ready(&status), ready);
    // It is ready now, and what it said last is from before it had loaded its model.
    seen.deployment.status = Some(status);
    seen.replicas[1].ready = true;
    let model = seen.replicas[1].load.as_mut().unwrap().model.take();
    assert_eq!(adapters_ready(&settled(&seen)), ready);
    seen.replicas[1].load.as_mut().unwrap().model = model;
    let missing = "AdaptersReady=False Downloading: adapter b is on 1, of 2 ready replicas";
    assert_eq!(adapters_ready(&settled(&seen)), missing);
}

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
