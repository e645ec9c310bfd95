//! What each account of ours may do is what the docs say, asked of the API server itself.

use std::process::Command;

use weir_e2e::{HELM, output, repository, rights};

use crate::process::{TRIAGE, World, until};

const INTRODUCTION: &str = "# Rights

What each ServiceAccount of ours may do, as `kubectl auth can-i --list` says it, beyond what every account may. A test writes this page
from a real API server, and proves that it is still true. Nobody may read a Secret, and nobody has a right that is the whole cluster's
where `watch.namespaces` names namespaces; without that, the operator has its second list in every namespace.
";

/// Applies what the chart gives the operator's account, for an install that looks after the world's
/// namespace.
fn install(world: &World, system: &str) {
    let mut helm = Command::new(HELM.built().unwrap().join("helm"));
    helm.args(["template", "weir", "--namespace", system])
        .args(["--show-only", "templates/rbac.yaml", "--set"])
        .arg(format!("watch.namespaces={{{}}}", world.namespace))
        .arg(repository().join("charts/weir"));
    let made = output(&mut helm).unwrap();
    world.server.kubectl().apply(&made).unwrap();
}

#[allow(
    clippy::disallowed_methods,
    reason = "a switch of the test, not of a program"
)]
#[tokio::test]
async fn the_docs_list_what_every_account_may_do() {
    let world = World::new("rights").await;
    let system = world.server.namespace("rights-system").await;
    let elsewhere = world.server.namespace("rights-elsewhere").await;
    install(&world, &system);
    let _operator = world.operator("one");
    world.apply(TRIAGE);
    until(vec!["weir-router".to_owned()], || {
        world.managed("rolebindings")
    })
    .await;

    let own = world.namespace.as_str();
    let (system, elsewhere) = (system.as_str(), elsewhere.as_str());
    let mut page = INTRODUCTION.to_owned();
    for (heading, account, namespace) in [
        (
            "The operator, where it is installed",
            (system, "weir-operator"),
            system,
        ),
        (
            "The operator, in a namespace that it looks after",
            (system, "weir-operator"),
            own,
        ),
        (
            "The operator, in any other namespace",
            (system, "weir-operator"),
            elsewhere,
        ),
        ("Routers, in their namespace", (own, "weir-router"), own),
        (
            "Routers, in any other namespace",
            (own, "weir-router"),
            elsewhere,
        ),
        ("Workers", (own, "weir-worker"), own),
    ] {
        let table = rights::of(world.server.kubectl(), account, namespace).unwrap();
        page.push_str(&format!("\n## {heading}\n\n{table}"));
    }
    let file = repository().join(rights::PAGE);
    if std::env::var_os("WEIR_REWRITE").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        written,
        page,
        "{} is stale; WEIR_REWRITE=1 rewrites it",
        rights::PAGE
    );
}
