//! What Flux's own library and Argo CD's own Lua engine make of our objects, in every state they may be in.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use weir_e2e::{ApiServer, HEALTH, output_of, repository};

/// Nobody has to do anything but wait.
const PROGRESSING: [&str; 2] = ["InProgress", "Progressing"];
const WELL: [&str; 2] = ["Current", "Healthy"];
/// Somebody has to change something.
const WRONG: [&str; 2] = ["Failed", "Degraded"];

/// Objects with the statuses that the operator gives them, as its own tests hold them.
fn written_down(name: &str) -> Vec<Value> {
    let folder = repository().join("operator/tests/expected");
    let text = fs::read_to_string(folder.join(name)).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

/// The name of each object with what Flux and Argo CD say of it, and what Argo CD shows.
fn verdicts(objects: &[Value]) -> Vec<(String, [String; 2], String)> {
    let mut judge = Command::new(HEALTH.built().unwrap().join("health"));
    judge.arg(repository().join("deploy/argocd/argocd-cm.yaml"));
    let said = output_of(&mut judge, &json!({ "items": objects }).to_string()).unwrap();
    let lines = said.lines().map(|line| {
        let verdict: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| verdict[field].as_str().unwrap().to_owned();
        (text("name"), [text("flux"), text("argo")], text("message"))
    });
    lines.collect()
}

fn are_judged(file: &str, expected: &[(&str, [&str; 2])]) {
    let found: Vec<_> = verdicts(&written_down(file))
        .into_iter()
        .map(|(name, verdict, _)| (name, verdict))
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, verdict)| ((*name).to_owned(), verdict.map(str::to_owned)))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn flux_and_argo_cd_read_a_deployment_right_in_every_state() {
    are_judged(
        "health-deployments.yaml",
        &[
            ("starting", PROGRESSING),
            ("serving", WELL),
            ("changed-since", PROGRESSING),
            ("more-for-demand", WELL),
            ("more-for-replicas", PROGRESSING),
            ("at-zero", WELL),
            ("coming-from-zero", WELL),
            ("zero-replicas", WELL),
            ("on-trial", PROGRESSING),
            ("rolled-back", WRONG),
            ("paused", WRONG),
            ("image-missing", PROGRESSING),
            ("model-missing", WRONG),
            ("refused", WRONG),
            ("name-taken", WRONG),
        ],
    );
}

#[test]
fn flux_and_argo_cd_read_a_policy_right_in_every_state() {
    are_judged(
        "health-policies.yaml",
        &[
            ("serving", WELL),
            ("without-router", PROGRESSING),
            ("followed-by-one", PROGRESSING),
            ("key-missing", WELL),
            ("tier-at-zero", WELL),
            ("no-tier-answers", PROGRESSING),
            ("refused", WRONG),
        ],
    );
}

#[test]
fn argo_cd_shows_the_reason_and_what_is_to_be_done() {
    let shown = verdicts(&written_down("health-deployments.yaml"));
    let of = |name: &str| {
        let found = shown.iter().find(|(found, ..)| found == name).unwrap();
        found.2.clone()
    };
    assert_eq!(of("image-missing"), "ImagePullFailed: no such image");
    assert_eq!(
        of("model-missing"),
        "ModelNotFound: nothing at /models/triage"
    );
    assert!(of("rolled-back").starts_with("CanaryFailed: revision new: 20.0 %"));
}

/// Neither takes an object for one that is done only because nobody has looked at it yet.
#[tokio::test]
async fn an_object_that_nobody_has_looked_at_is_in_progress() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("health").await;
    let applied = ["deployment-smallest.yaml", "policy-smallest.yaml"].map(|file| {
        let path = repository().join("crds/examples").join(file);
        let apply = format!(
            "apply --namespace {namespace} --output json --filename {}",
            path.display()
        );
        serde_json::from_str::<Value>(&server.kubectl().run(&apply).unwrap()).unwrap()
    });
    for object in &applied {
        assert_eq!(object["status"], json!({ "observedGeneration": -1 }));
    }
    for (name, verdict, _) in verdicts(&applied) {
        assert_eq!(verdict, PROGRESSING, "{name}");
    }
}
