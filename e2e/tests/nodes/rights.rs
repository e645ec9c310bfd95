//! What our programs may do to the cluster, asked of the cluster itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use weir_e2e::{repository, succeed};

use crate::installing::{SYSTEM, chart_with};
use crate::stage::{EXAMPLE, Stage, eventually};
use crate::tenants::{NAMESPACE, is_served, is_taken_up};

/// Our accounts, and something that each of them must be able to touch: a list of rights that
/// lacked it would not be theirs.
const ACCOUNTS: [(&str, &str, &str); 2] = [
    (SYSTEM, "weir-operator", "slmdeployments.weir.dev"),
    (EXAMPLE, "weir-router", "routepolicies.weir.dev"),
];

pub async fn no_program_of_ours_may_read_a_secret(stage: &Stage) -> Result<()> {
    for (home, account, own) in ACCOUNTS {
        for namespace in [EXAMPLE, SYSTEM, "kube-system"] {
            let rights = rights(stage, home, account, namespace)?;
            let forbidden = rights.lines().find(|line| {
                line.starts_with("secrets") || line.starts_with("*.*") || line.starts_with("* ")
            });
            ensure!(
                forbidden.is_none(),
                "{account} may, in {namespace}: {forbidden:?}"
            );
        }
        let rights = rights(stage, home, account, EXAMPLE)?;
        ensure!(rights.contains(own), "{account} may not {own}: {rights}");
    }
    // Workers speak to nobody's API server: they have no token at all.
    let worker = "get pods --selector=weir.dev/component=worker";
    let pods = stage.json(&format!("{worker} --namespace {EXAMPLE}"))?;
    let workers = pods["items"].as_array().map_or(&[][..], Vec::as_slice);
    ensure!(!workers.is_empty(), "there is a worker");
    for pod in workers {
        let automount = &pod["spec"]["automountServiceAccountToken"];
        ensure!(automount == false, "a worker's token is {automount}");
        let volumes = pod["spec"]["volumes"].to_string();
        ensure!(!volumes.contains("serviceAccountToken"), "{volumes}");
    }
    Ok(())
}

/// The last story but for the cluster's end: it takes rights away in every other namespace.
pub async fn an_install_for_named_namespaces_has_no_rights_in_others(stage: &Stage) -> Result<()> {
    let mut upgrade = chart_with(stage, "upgrade")?;
    upgrade.args(["--set", &format!("watch.namespaces={{{NAMESPACE}}}")]);
    succeed(upgrade.arg(repository().join("charts/weir")))?;
    let wide = stage.kubectl("get clusterroles,clusterrolebindings --output=name")?;
    ensure!(
        !wide.contains("weir"),
        "cluster-wide rights are left: {wide}"
    );
    let elsewhere = rights(stage, SYSTEM, "weir-operator", EXAMPLE)?;
    ensure!(!elsewhere.contains("weir.dev"), "in {EXAMPLE}: {elsewhere}");

    is_taken_up(stage, "0.07").await?;
    eventually(Duration::from_secs(30), || is_served(stage)).await
}

fn rights(stage: &Stage, home: &str, account: &str, namespace: &str) -> Result<String> {
    stage.kubectl(&format!(
        "auth can-i --list --namespace {namespace} --as=system:serviceaccount:{home}:{account}"
    ))
}
