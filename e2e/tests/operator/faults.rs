//! An API server in trouble, as an operator meets it. By `make e2e-faults` for a minute.

use std::time::Duration;

use crate::between::Between;
use crate::process::{SUPPORT, TRIAGE, World, until};

/// Reads, writes and what keeps a Lease, of an operator that waits longer each time.
const MOST_ASKED_A_SECOND: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_throttling_and_errors_of_the_api_server_delay_what_is_made_and_lose_nothing() {
    let lasts = if weir_e2e::faults_asked_for() { 60 } else { 10 };
    let world = World::new("trouble").await;
    let between = Between::start(&world).await;
    let operator = world.operator_by(between.kubeconfig(), "one");
    operator.leads().await;
    between.trouble(true);
    let before = between.asked();
    world.apply(TRIAGE);
    world.apply(SUPPORT);
    tokio::time::sleep(Duration::from_secs(lasts)).await;
    let asked = between.asked() - before;
    between.trouble(false);
    for (code, refused) in between.refused() {
        assert!(refused > 0, "nothing was answered with {code}");
    }
    let most = MOST_ASKED_A_SECOND * usize::try_from(lasts).unwrap();
    assert!(asked < most, "{asked} requests in {lasts} s");

    until(2, || world.managed("deployments").len()).await;
    let revision = world.revision();
    world.make_ready(&format!("triage-{revision}"), 1);
    until("False/RouterUnavailable".to_owned(), || {
        world.condition("rpol/support", "Ready")
    })
    .await;
    operator.quiet().await;
    // All that a calm API server is asked for, and once.
    assert_eq!(
        world.managed("services"),
        [
            "triage".to_owned(),
            format!("triage-{revision}"),
            "weir-router".into()
        ]
    );
    assert_eq!(
        world.managed("networkpolicies"),
        ["weir-router", "weir-worker"]
    );
    assert_eq!(
        world.managed("poddisruptionbudgets"),
        ["triage", "weir-router"]
    );
    assert_eq!(operator.metric("weir_operator_leading").await, Some(1.0));
    operator.stop();
}
