//! What replicas say of their adapters.

use super::*;
use weir_policy::load::source_sha256;

/// What a replica tells of an adapter that it has read from there.
fn loaded(name: &str, source: &str, digest: &str) -> Value {
    json!({ "name": name, "digest": digest, "source_sha256": source_sha256(source) })
}

fn a() -> Value {
    loaded("a", "s3://m/a", "sha256:a")
}

fn b() -> Value {
    loaded("b", "s3://m/b", "sha256:b")
}

/// The same adapter, and why it is not served.
fn with_reason(mut adapter: Value, reason: &str, message: &str) -> Value {
    adapter["reason"] = reason.into();
    adapter["message"] = message.into();
    adapter
}

/// Two ready replicas of a deployment with the adapters `a` and `b`, which report these.
fn adapted(reports: [Value; 2]) -> Observed {
    let names = ["triage-new-1", "triage-new-2"];
    let replicas = names.into_iter().zip(reports).map(|(name, report)| {
        let mut replica = replica(true, running(), Some("sha256:abc"));
        Arc::make_mut(&mut replica.pod).metadata.name = Some(name.into());
        let load = replica.load.as_mut().unwrap();
        load.adapters = serde_json::from_value(report).unwrap();
        replica
    });
    let mut observed = observed(vec![revision("new", 2)], replicas.collect());
    list(&mut observed, "s3://m/a");
    observed
}

/// Lists `a` from there, and `b`.
fn list(observed: &mut Observed, a: &str) {
    let listed = json!([{ "name": "a", "source": a }, { "name": "b", "source": "s3://m/b" }]);
    observed.deployment.spec.adapters = serde_json::from_value(listed).unwrap();
}

fn with_adapters(reports: [Value; 2]) -> SLMDeploymentStatus {
    settled(&adapted(reports))
}

fn adapters_ready(status: &SLMDeploymentStatus) -> String {
    let told = told(status).into_iter();
    told.filter(|line| line.starts_with("AdaptersReady"))
        .collect()
}

/// Name, digest, and on how many replicas each is: as listed, and as it was listed before.
fn spread(status: &SLMDeploymentStatus) -> Vec<(&str, Option<&str>, u32, u32)> {
    let adapters = status.adapters.iter();
    adapters
        .map(|of| {
            let digest = of.digest.as_deref();
            (of.name.as_str(), digest, of.ready, of.outdated)
        })
        .collect()
}

#[test]
fn adapters_are_told_with_the_replicas_that_serve_them() {
    let late = json!({
        "name": "b", "reason": "Downloading", "source_sha256": source_sha256("s3://m/b"),
    });
    let status = with_adapters([json!([a(), late]), json!([a(), b()])]);
    assert_eq!(
        spread(&status),
        [("a", Some("sha256:a"), 2, 0), ("b", Some("sha256:b"), 1, 0)]
    );
    assert_eq!(
        adapters_ready(&status),
        "AdaptersReady=False Downloading: adapter b is on 1, of 2 ready replicas"
    );
    let status = with_adapters([json!([a(), b()]), json!([b(), a()])]);
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
fn a_report_counts_only_for_the_source_that_it_is_of() {
    let mut seen = adapted([json!([a(), b()]), json!([a(), b()])]);
    let first = settled(&seen);
    assert!(adapters_ready(&first).starts_with("AdaptersReady=True"));
    seen.deployment.status = Some(first);
    // No kubelet has brought the new list yet.
    seen.deployment.metadata.generation = Some(3);
    list(&mut seen, "s3://m/better");
    let status = settled(&seen);
    assert_eq!(
        spread(&status),
        [("a", None, 0, 2), ("b", Some("sha256:b"), 2, 0)]
    );
    assert_eq!(
        adapters_ready(&status),
        "AdaptersReady=False Downloading: adapter a is on 0 (on 2 as it was listed before), of 2 ready replicas"
    );
    // One has the list, and serves what it has until the new one is there.
    let coming = loaded("a", "s3://m/better", "sha256:a");
    let coming = with_reason(coming, "Downloading", "");
    let load = seen.replicas[0].load.as_mut().unwrap();
    load.adapters[0] = serde_json::from_value(coming).unwrap();
    assert_eq!(spread(&settled(&seen))[0], ("a", None, 0, 2));
    let better = loaded("a", "s3://m/better", "sha256:better");
    for replica in &mut seen.replicas {
        let load = replica.load.as_mut().unwrap();
        load.adapters[0] = serde_json::from_value(better.clone()).unwrap();
    }
    let status = settled(&seen);
    assert_eq!(spread(&status)[0], ("a", Some("sha256:better"), 2, 0));
    assert!(adapters_ready(&status).starts_with("AdaptersReady=True"));
}

#[test]
fn replicas_with_different_files_from_one_source_are_named() {
    let moved = loaded("a", "s3://m/a", "sha256:0");
    let status = with_adapters([json!([a(), b()]), json!([moved, b()])]);
    assert_eq!(spread(&status)[0], ("a", None, 2, 0));
    assert_eq!(
        adapters_ready(&status),
        "AdaptersReady=False DigestMismatch: adapter a is sha256:0 on replica triage-new-2 and \
         sha256:a on replica triage-new-1: what its source means has changed; delete the replicas \
         that have the older"
    );
}

#[test]
fn an_adapter_that_a_replica_refuses_is_told_in_its_words() {
    let wrong = with_reason(loaded("b", "s3://m/b", ""), "Unsupported", "rank 128");
    let gone = loaded("c", "s3://m/c", "");
    let gone = with_reason(gone, "ModelNotFound", "not listed any more");
    let mut seen = adapted([json!([gone, a(), wrong]), json!([a()])]);
    assert_eq!(
        adapters_ready(&settled(&seen)),
        "AdaptersReady=False Unsupported: adapter b on replica triage-new-1: rank 128"
    );
    // Put right in the spec, which the replica has not seen.
    seen.deployment.spec.adapters[1].source = "s3://m/right".into();
    assert_eq!(
        adapters_ready(&settled(&seen)),
        "AdaptersReady=False Downloading: adapter b is on 0, of 2 ready replicas"
    );
}

#[test]
fn adapters_stay_ready_while_a_replica_starts_and_until_it_has_told_what_it_has() {
    let mut seen = adapted([json!([a(), b()]), json!([a()])]);
    seen.replicas[1].ready = false;
    let status = settled(&seen);
    let ready = "AdaptersReady=True Loaded: 2 adapters are on each of 1 ready replicas";
    assert_eq!(adapters_ready(&status), ready);
    // It is ready now, and what it said last is from before it had loaded its model.
    seen.deployment.status = Some(status);
    seen.replicas[1].ready = true;
    let model = seen.replicas[1].load.as_mut().unwrap().model.take();
    assert_eq!(adapters_ready(&settled(&seen)), ready);
    // What another has lost meanwhile is told all the same.
    let lost = seen.replicas[0].load.as_mut().unwrap().adapters.pop();
    assert_eq!(
        adapters_ready(&settled(&seen)),
        "AdaptersReady=False Downloading: adapter a is on 1, adapter b is on 0, of 2 ready replicas"
    );
    seen.replicas[0]
        .load
        .as_mut()
        .unwrap()
        .adapters
        .extend(lost);
    seen.replicas[1].load.as_mut().unwrap().model = model;
    let missing = "AdaptersReady=False Downloading: adapter b is on 1, of 2 ready replicas";
    assert_eq!(adapters_ready(&settled(&seen)), missing);
}

#[test]
fn adapters_without_a_replica_wait_for_one_or_for_somebody_to_want_one() {
    let mut seen = adapted([json!([a(), b()]), json!([a(), b()])]);
    for replica in &mut seen.replicas {
        replica.ready = false;
    }
    assert_eq!(
        adapters_ready(&settled(&seen)),
        "AdaptersReady=False Starting: no replica is ready yet"
    );
    seen.replicas.clear();
    let status = made(&seen, &plan("new", None), 0, &Applied::default());
    assert_eq!(
        adapters_ready(&status),
        "AdaptersReady=False ScaledToZero: no replica is wanted"
    );
}
