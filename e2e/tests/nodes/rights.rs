//! What our programs may do to the cluster, asked of the cluster itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use weir_e2e::{repository, rights, succeed};

use crate::installing::{SYSTEM, chart_with};
use crate::stage::{EXAMPLE, Stage, eventually};
use crate::tenants::{NAMESPACE, is_served, is_taken_up};

/// Our accounts in an install for the whole cluster, where each is asked, and what the docs say of it.
const ACCOUNTS: [((&str, &str), &str, &str); 5] = [
    (
        (SYSTEM, "weir-operator"),
        EXAMPLE,
        "The operator, in a namespace that it looks after",
    ),
    (
        (SYSTEM, "weir-operator"),
        "kube-system",
        "The operator, in a namespace that it looks after",
    ),
    (
        (EXAMPLE, "weir-router"),
        EXAMPLE,
        "Routers, in their namespace",
    ),
    (
        (EXAMPLE, "weir-router"),
        SYSTEM,
        "Routers, in any other namespace",
    ),
    ((EXAMPLE, "weir-worker"), EXAMPLE, "Workers"),
];

pub async fn no_program_of_ours_may_more_than_the_docs_say_nor_read_a_secret(
    stage: &Stage,
) -> Result<()> {
    for (account, namespace, heading) in ACCOUNTS {
        let may = rights::of(stage.cluster.kubectl(), account, namespace)?;
        let written = rights::written(heading)?;
        ensure!(
            may == written,
            "{account:?} may, in {namespace}:\n{may}\nwhere {heading:?} is\n{written}"
        );
        ensure!(
            !may.contains("| secrets") && !may.contains('*'),
            "{account:?}:\n{may}"
        );
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

/// Kubernetes' own roles, and what whoever has them in a namespace may do with our kinds there.
pub async fn who_may_edit_a_namespace_may_edit_both_kinds_in_it(stage: &Stage) -> Result<()> {
    const WISHES: [&str; 3] = [
        "get slmdeployments.weir.dev",
        "patch routepolicies.weir.dev",
        "deletecollection slmdeployments.weir.dev",
    ];
    for (role, may) in [
        ("view", [true, false, false]),
        ("edit", [true, true, false]),
        ("admin", [true, true, true]),
    ] {
        stage.kubectl(&format!(
            "create rolebinding test-{role} --clusterrole={role} --user=somebody-{role} --namespace {EXAMPLE}"
        ))?;
        // A controller adds our roles to those of Kubernetes in its own time.
        eventually(Duration::from_secs(30), || {
            for (wish, expected) in WISHES.into_iter().zip(may) {
                let ask = format!("auth can-i {wish} --as=somebody-{role} --namespace {EXAMPLE}");
                let said = stage.cluster.kubectl().said(&ask, "")?;
                let is_allowed = said.stdout.trim() == "yes";
                ensure!(is_allowed == expected, "{role}: {wish}: {said:?}");
            }
            Ok(())
        })
        .await?;
        stage.kubectl(&format!(
            "delete rolebinding test-{role} --namespace {EXAMPLE}"
        ))?;
    }
    Ok(())
}

/// The last story but for the cluster's end: it takes rights away in every other namespace.
pub async fn an_install_for_named_namespaces_has_no_rights_in_others(stage: &Stage) -> Result<()> {
    let mut upgrade = chart_with(stage, "upgrade")?;
    upgrade.args(["--set", &format!("watch.namespaces={{{NAMESPACE}}}")]);
    succeed(upgrade.arg(repository().join("charts/weir")))?;
    let bound = stage.kubectl("get clusterrolebindings --output=name")?;
    ensure!(
        !bound.contains("weir"),
        "cluster-wide rights are left: {bound}"
    );
    let account = (SYSTEM, "weir-operator");
    let elsewhere = rights::of(stage.cluster.kubectl(), account, EXAMPLE)?;
    let written = rights::written("The operator, in any other namespace")?;
    ensure!(elsewhere == written, "in {EXAMPLE}: {elsewhere}");

    is_taken_up(stage, "0.07").await?;
    eventually(Duration::from_secs(30), || is_served(stage)).await
}
