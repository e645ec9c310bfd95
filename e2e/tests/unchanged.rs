//! A second pass over an unchanged world sends no write at all. It has an API server to itself,
//! because that counts for all its callers together what it was asked to write.

#![allow(clippy::unwrap_used, reason = "what surprises a test ends it")]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "operator/process.rs"]
mod process;

use weir_e2e::ApiServer;

use process::{SUPPORT, TRIAGE, World, until};

#[tokio::test]
async fn a_second_pass_over_an_unchanged_world_sends_no_write() {
    let world = World::new("unchanged").await;
    let first = world.operator("one");
    world.apply(TRIAGE);
    world.apply(SUPPORT);
    until(2, || world.managed("deployments").len()).await;
    first.quiet().await;
    first.stop();

    let before = writes(world.server);
    // Everything is looked at anew by one that remembers nothing.
    let second = world.operator("two");
    second.quiet().await;
    assert!(second.metric("weir_operator_reconciles_total").await >= Some(2.0));
    assert_eq!(second.metric("weir_operator_writes_total").await, Some(0.0));
    assert_eq!(writes(world.server), before, "{}", second.said());
}

/// Writes that the API server has seen of what an operator writes, but for the Lease.
fn writes(server: &ApiServer) -> Vec<String> {
    let metrics = server.kubectl().run("get --raw /metrics").unwrap();
    let write = ["APPLY", "PATCH", "POST", "PUT", "DELETE"].map(|verb| format!("verb=\"{verb}\""));
    let ours = [
        "slmdeployments",
        "routepolicies",
        "deployments",
        "services",
        "configmaps",
        "serviceaccounts",
        "roles",
        "rolebindings",
        "poddisruptionbudgets",
        "events",
        "pods",
    ]
    .map(|resource| format!("resource=\"{resource}\""));
    let mut seen: Vec<String> = metrics
        .lines()
        .filter(|line| line.starts_with("apiserver_request_total"))
        .filter(|line| write.iter().any(|verb| line.contains(verb)))
        .filter(|line| ours.iter().any(|resource| line.contains(resource)))
        .map(str::to_owned)
        .collect();
    seen.sort();
    assert!(!seen.is_empty(), "the first operator wrote");
    seen
}
