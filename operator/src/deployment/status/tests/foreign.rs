//! What is said of replicas whose server is not ours: all of it by their pods.

use serde_json::json;

use super::*;

fn foreign(replica: Replica) -> Observed {
    let mut observed = observed(
        vec![revision("new", u32::from(replica.ready))],
        vec![replica],
    );
    observed.revisions[0].pins = None;
    let engine = json!({ "image": "registry.test/llama-server:1", "protocol": "OpenAI" });
    observed.deployment.spec.engine = serde_json::from_value(engine).unwrap();
    observed
}

#[test]
fn a_server_that_is_not_ours_serves_when_its_pod_is_ready_and_its_start_is_timed_by_that() {
    let mut status = running();
    let ready =
        json!({ "type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T05:59:42Z" });
    status["conditions"].as_array_mut().unwrap().push(ready);
    let status = settled(&foreign(replica(true, status, None)));
    assert_eq!(
        told(&status),
        [
            "Ready=True Serving: 1 of 1 replicas of revision new are ready",
            "Available=True Serving: revision new serves",
            "ModelReady=True Loaded: the server of engine.image is ready, which tells nothing of its model",
        ]
    );
    let cold_start = status.cold_start.unwrap();
    assert_eq!(cold_start.image.as_deref(), Some("2s"));
    assert_eq!(cold_start.load.as_deref(), Some("40s"));
    assert_eq!(cold_start.total_text.as_deref(), Some("42s"));
    assert_eq!((status.model, status.capacity), (None, None));
}

#[test]
fn a_server_that_was_ready_long_before_has_not_started_for_as_long() {
    let mut status = running();
    let ready =
        json!({ "type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T07:59:42Z" });
    status["conditions"].as_array_mut().unwrap().push(ready);
    assert_eq!(
        settled(&foreign(replica(true, status, None))).cold_start,
        None
    );
}

#[test]
fn what_our_worker_told_of_its_model_is_not_said_of_another_server() {
    let ours = settled(&observed(
        vec![revision("new", 1)],
        vec![replica(true, running(), Some("sha256:abc"))],
    ));
    assert!(ours.model.is_some() && ours.capacity.is_some());
    let mut theirs = foreign(replica(false, running(), None));
    theirs.deployment.status = Some(ours);
    let status = settled(&theirs);
    assert_eq!((status.model, status.capacity), (None, None));
}

#[test]
fn the_last_line_of_a_server_that_ends_is_its_reason() {
    let ended = ended("llama_model_load: error loading model: no such file\n");
    let status = settled(&foreign(replica(false, ended, None)));
    let expected =
        "Ready=False CrashLoop: exit code 1: llama_model_load: error loading model: no such file";
    assert_eq!(told(&status)[0], expected);
}
