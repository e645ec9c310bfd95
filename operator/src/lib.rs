//! The control plane: makes what `SLMDeployment`s and `RoutePolicy`s ask for, and says in their
//! status what became of it.
//!
//! - A reconcile reads like a table of contents: observe, validate, desired, apply, status.
//!   `validate`, `desired` and `status` are pure; the CLI uses the first two on a laptop.
//! - A second pass over an unchanged world sends no write at all.
//! - The `spec` of a user's object is never written, and no Secret is ever read.
//! - What does not validate changes nothing that runs; a condition says why.

mod apply;
mod cache;
mod condition;
mod context;
mod control;
pub mod deployment;
mod destination;
mod entries;
#[cfg(test)]
mod expected;
mod lease;
mod load;
mod metrics;
mod namespace;
pub mod object;
mod pod;
mod queue;
mod reach;
mod rollouts;
mod scaling;
pub mod settings;
mod spends;
mod upgrades;

use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use kube::Client;
use tokio::sync::oneshot;
use weir_process::{Process, ProcessArgs};

use apply::Writer;
use cache::{Cache, Scope};
use context::Context;
use control::Control;
use entries::Entries;
use lease::{Candidate, Election, Timing};
use load::Loads;
pub use load::poll;
use metrics::OperatorMetrics;
use queue::Queue;
use reach::Reaches;
use rollouts::Rollouts;
use scaling::Scales;
use settings::Settings;
use spends::Spends;
use upgrades::Upgrades;

/// Makes what SLMDeployments and RoutePolicies ask for.
#[derive(Clone, Debug, Parser)]
#[command(name = "weir-operator", version = weir_process::VERSION)]
pub struct Args {
    #[command(flatten)]
    pub process: ProcessArgs,

    #[command(flatten)]
    pub settings: Settings,

    /// Namespaces to look after, by comma; none means the whole cluster.
    #[arg(long, env = "WEIR_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// The Lease that the operators of one installation run for, and no other installation's.
    #[arg(long, env = "WEIR_LEASE", default_value = "weir-operator")]
    pub lease: String,

    /// A name that no other operator has: the pod's.
    #[arg(long, env = "WEIR_IDENTITY")]
    pub identity: String,
}

/// Runs the operator until `process` ends. Fails at once where there is no cluster to be found.
pub async fn run(args: Args, process: Process) -> anyhow::Result<()> {
    // Somebody else may have chosen one already, in tests; either will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_default()
        .await
        .context("find the cluster: in a pod, or by KUBECONFIG")?;
    let metrics = OperatorMetrics::register(process.metrics());
    let timing = Timing::default();
    let candidate = Candidate {
        namespace: args.settings.namespace.clone(),
        lease: args.lease,
        identity: args.identity.clone(),
    };
    let (election, leadership) = Election::new(client.clone(), candidate, timing);
    let (cache, mut changes) = Cache::watch(&client, &scope(args.watch_namespaces));
    let (entries, of_entries) = Entries::new(client.clone());
    changes.push(of_entries);
    let ctx = Context {
        cache: cache.clone(),
        entries,
        loads: Loads::default(),
        reaches: Reaches::default(),
        rollouts: Rollouts::default(),
        scales: Scales::default(),
        spends: Spends::default(),
        upgrades: Upgrades::default(),
        writer: Writer::new(
            client.clone(),
            leadership.clone(),
            timing.request,
            &args.identity,
            metrics.writes.clone(),
        ),
        settings: args.settings,
        client,
    };
    let http = load::client().context("set up asking pods")?;
    let control = Control {
        ctx,
        http,
        queue: Arc::new(Queue::default()),
        leadership,
        metrics,
        synced: process.readiness().gate("cache"),
    };
    let tasks = process.tasks();
    let shutdown = process.shutdown();
    tasks.spawn_required(
        "watch",
        control.clone().follow(changes, shutdown.draining()),
    );
    tasks.spawn_required("load", control.clone().ask_pods(shutdown.draining()));
    tasks.spawn_required("scale", control.clone().scale(shutdown.draining()));
    let (ended, reconciles_ended) = oneshot::channel();
    let work = control.work(shutdown.draining());
    tasks.spawn_required("reconcile", async move {
        let result = work.await;
        // The lease is given back only now: nothing of ours writes any more.
        let _ = ended.send(());
        result
    });
    tasks.spawn_required("election", async move {
        election
            .run(async {
                let _ = reconciles_ended.await;
            })
            .await;
        Ok(())
    });
    process.finish().await
}

fn scope(namespaces: Vec<String>) -> Scope {
    let named: Vec<String> = namespaces
        .into_iter()
        .filter(|name| !name.is_empty())
        .collect();
    if named.is_empty() {
        Scope::Cluster
    } else {
        Scope::Namespaces(named)
    }
}
