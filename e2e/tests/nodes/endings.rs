//! How things end: the users' objects, then the operator, and how it comes back.

use std::time::Duration;

use anyhow::{Result, ensure};
use weir_e2e::{repository, succeed};

use crate::installing::{SYSTEM, install};
use crate::stage::{EXAMPLE, Stage, eventually};
use crate::tenants::{NAMESPACE, are_unchanged, fingerprints, is_served, is_taken_up, ours};

pub async fn deleting_the_example_leaves_nothing_of_ours(stage: &Stage) -> Result<()> {
    let mut delete = stage.cluster.kubectl().command("delete --timeout=60s -f");
    succeed(delete.arg(repository().join("examples/triage")))?;
    eventually(Duration::from_secs(90), || {
        let left: Vec<String> = ours(stage, EXAMPLE)?
            .iter()
            .map(|object| format!("{} {}", object["kind"], object["metadata"]["name"]))
            .collect();
        ensure!(left.is_empty(), "still there: {left:?}");
        Ok(())
    })
    .await
}

pub async fn uninstalling_leaves_users_objects_served_and_a_new_install_takes_them_up(
    stage: &Stage,
) -> Result<()> {
    let before = fingerprints(stage)?;
    succeed(&mut stage.cluster.helm(&format!(
        "uninstall weir --namespace {SYSTEM} --wait --timeout 60s"
    ))?)?;
    let kinds = stage.kubectl("api-resources --api-group=weir.dev --output=name")?;
    ensure!(kinds.lines().count() == 2, "the kinds are gone: {kinds:?}");
    for object in ["slmdeployment/triage", "routepolicy/support"] {
        stage.kubectl(&format!("get {object} --namespace {NAMESPACE}"))?;
    }
    are_unchanged(&before, &fingerprints(stage)?)?;
    is_served(stage)?;

    install(stage)?;
    is_taken_up(stage, "0.06").await?;
    stage.kubectl(&format!(
        "wait slmdeployment/triage --namespace {NAMESPACE} --for=condition=Ready --timeout=60s"
    ))?;
    is_served(stage)
}
