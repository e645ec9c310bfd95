//! Terms begin with a look at everything, whatever pods do; routers wake whom they serve.

use std::convert::Infallible;
use std::future::pending;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use weir_process::{Process, ProcessArgs};

use super::*;
use crate::apply::Writer;
use crate::cache::{Cache, Scope};
use crate::entries::Entries;
use crate::lease::{Timing, Told};
use crate::load::Loads;
use crate::reach::Reaches;
use crate::scaling::Scales;
use crate::settings::Settings;

#[tokio::test(start_paused = true)]
async fn a_pod_that_never_answers_does_not_keep_a_term_from_beginning() {
    let started = Instant::now();
    at_most(FIRST_REPORTS, pending::<()>()).await;
    assert_eq!(started.elapsed(), FIRST_REPORTS);
}

#[test]
fn routers_wake_the_deployments_of_their_namespace_and_no_other() {
    let deployment = |namespace: &str| Key::Deployment {
        namespace: namespace.into(),
        name: "triage".into(),
    };
    let keys = [deployment("a"), deployment("b"), Key::Namespace("a".into())];
    assert_eq!(deployments(&keys, "a"), [deployment("a")]);
}

/// An API server that holds these deployments and where nothing changes any more. It does not
/// imitate writes.
fn api_server(deployments: Value) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let uri = request.uri().clone();
        let deployments = deployments.clone();
        async move {
            if uri
                .query()
                .is_some_and(|query| query.contains("watch=true"))
            {
                pending::<()>().await;
            }
            let items = match uri.path().ends_with("/slmdeployments") {
                true => deployments,
                false => json!([]),
            };
            let list = json!({
                "apiVersion": "v1", "kind": "List",
                "metadata": { "resourceVersion": "1" }, "items": items,
            });
            Ok::<_, Infallible>(Response::new(Body::from(list.to_string().into_bytes())))
        }
    });
    Client::new(service, "default")
}

/// A control over `client`, which has seen everything.
async fn control(client: Client, leadership: Leadership, process: &Process) -> Control {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (cache, mut changes) = Cache::watch(&client, &Scope::Cluster);
    tokio::select! {
        () = cache.ready() => {}
        () = async { while changes.next().await.is_some() {} } => {}
    }
    let metrics = OperatorMetrics::register(process.metrics());
    let request = Timing::default().request;
    Control {
        ctx: Context {
            cache,
            entries: Entries::new(client.clone()).0,
            loads: Loads::default(),
            reaches: Reaches::default(),
            rollouts: crate::rollouts::Rollouts::default(),
            scales: Scales::default(),
            spends: crate::spends::Spends::default(),
            upgrades: crate::upgrades::Upgrades::default(),
            writer: Writer::new(
                client.clone(),
                leadership.clone(),
                request,
                "one",
                metrics.writes.clone(),
            ),
            settings: Settings::default(),
            client,
        },
        queue: Arc::new(Queue::default()),
        leadership,
        metrics,
        http: load::client().unwrap(),
        synced: process.readiness().gate("cache"),
    }
}

/// What is to be looked at now; afterwards nothing is.
async fn due(queue: &Queue<Key>) -> Vec<Key> {
    let mut keys = Vec::new();
    while let Ok(key) = tokio::time::timeout(GATHER * 2, queue.next()).await {
        queue.done(&key, Outcome::Settled, Instant::now());
        keys.push(key);
    }
    keys.sort();
    keys
}

#[tokio::test(start_paused = true)]
async fn every_term_begins_with_a_look_at_everything_and_no_renewal_does() {
    let process = Process::start("weir-operator", &ProcessArgs::embedded()).unwrap();
    let (election, leadership) = Told::new();
    let triage = json!([{
        "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
        "metadata": { "name": "triage", "namespace": "a", "uid": "u", "resourceVersion": "1" },
        "spec": { "model": { "source": "file:///models/triage" } },
    }]);
    let control = control(api_server(triage), leadership, &process).await;
    let everything: Vec<Key> = control.ctx.cache.everything().into_iter().collect();
    assert_eq!(everything.len(), 2, "the deployment and its namespace");
    let mut term = None;
    let mut begin = async |said: &str, expected: &[Key]| {
        control.begin_term(&mut term).await;
        assert_eq!(due(&control.queue).await, expected, "{said}");
        let leads = format!("weir_operator_leading {}\n", u8::from(term.is_some()));
        assert!(process.metrics().encode().contains(&leads), "{said}");
    };
    begin("before anything was said", &[]).await;
    election.leads(1);
    begin("the first term", &everything).await;
    election.leads(1);
    begin("it was renewed", &[]).await;
    election.lost();
    begin("it was lost", &[]).await;
    election.leads(2);
    begin("it was gained again", &everything).await;
    election.lost();
    election.leads(3);
    begin("it was lost and gained between two looks", &everything).await;
}
