//! Of several operators one leads, and another takes over.

use std::time::{Duration, Instant};

use crate::process::{Operator, TRIAGE, World, until};

async fn leads(operator: &Operator) -> bool {
    operator.metric("weir_operator_leading").await == Some(1.0)
}

fn holder(world: &World) -> String {
    let lease = world.get("lease/weir-operator").unwrap_or_default();
    let holder = &lease["spec"]["holderIdentity"];
    holder.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn of_two_operators_one_leads_and_the_other_takes_over_at_once_when_it_stops() {
    let world = World::new("leading").await;
    let one = world.operator("one");
    one.leads().await;
    let two = world.operator("two");
    world.apply(TRIAGE);
    until(2, || world.managed("deployments").len()).await;
    assert!(leads(&one).await && !leads(&two).await);
    assert_eq!(two.metric("weir_operator_writes_total").await, Some(0.0));
    assert_eq!(holder(&world), "one");

    one.stop();
    let stopped = Instant::now();
    until("two".to_owned(), || holder(&world)).await;
    assert!(
        stopped.elapsed() < Duration::from_secs(10),
        "it was given back"
    );
    two.leads().await;
}

#[tokio::test]
async fn an_operator_that_crashes_is_followed_only_when_its_lease_has_run_out() {
    let world = World::new("crash").await;
    let one = world.operator("one");
    one.leads().await;
    let two = world.operator("two");
    until(true, || holder(&world) == "one").await;
    one.crash();
    let crashed = Instant::now();
    until("two".to_owned(), || holder(&world)).await;
    assert!(
        crashed.elapsed() > Duration::from_secs(10),
        "it may have been writing still"
    );
    drop(two);
}
