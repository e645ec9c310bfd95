//! The data plane of one namespace: between clients and the tiers that answer them.
//!
//! A request is followed through these phases, each a file; `server` strings them together.
//!
//! 1. `identify`: the API key, and the tenants it belongs to.
//! 2. `decode`: the wire's request becomes an `ask`.
//! 3. `matching`: the model name picks a policy or a deployment.
//! 4. `route`: where the ask begins, by pin, rules and classifier, with the tiers of a `plan` (pure): which
//!    may answer, in which order; what may leave the cluster.
//! 5. `admit` and `limits`: how many asks at once, whose, and how much in a minute.
//! 6. `attempt`: tier by tier until one is sure; nothing is shown before it is committed.
//! 7. `encode`: the `answer` becomes what the client's SDK expects.
//! 8. `settle`: metrics and the `decision`'s `record`; always runs. Where the policy says so the `text` too.
//!
//! Around them: `port` (connections of clients), `world` and what feeds it (`watch`), `credentials`
//! and `bundle` (what files hold), `dial` (which addresses), `endpoints` (whether one may be asked,
//! by `circuit` and `throttle`), `replicas` (connections, least busy first), `load` (what is in
//! hand, and what came of it), `wire` (what upstreams understand of what clients say), `language` (of a text), `refusal`
//! (every way not to answer), `money` (what may be spent at endpoints, and what is), `flights` (asks under one key), `cache` (answers
//! that are given again), `balance` (which replica), `damper` (how often one is tried again), `hold` (while
//! there is none), `turns` (places at an endpoint; both by the `queue` of tenants), `sticky` (conversations
//! that were raised), `kept` (what can be asked about decisions), `counterfactual` (what an answer would have cost elsewhere), `feedback`, `store` (records on their way
//! out), `spans`, `shared` and `metrics`; `phases` is for measuring alone.

mod admit;
mod answer;
mod args;
mod ask;
mod attempt;
mod balance;
mod bundle;
mod cache;
mod circuit;
mod counterfactual;
mod credentials;
mod damper;
mod decision;
mod decode;
mod dial;
mod encode;
mod endpoints;
mod feedback;
mod flights;
mod hold;
mod identify;
mod inquiry;
mod kept;
mod language;
mod limits;
mod load;
mod matching;
mod metrics;
mod money;
#[doc(hidden)]
pub mod phases;
mod plan;
mod port;
mod queue;
mod record;
mod refusal;
mod replicas;
mod room;
mod route;
mod server;
mod settle;
mod shape;
mod shared;
mod spans;
mod sticky;
mod store;
mod text;
mod throttle;
mod turns;
mod watch;
mod wire;
mod world;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch::Receiver;
use weir_process::Process;

pub use args::Args;
pub use world::{Replicas, World};

/// Runs a router in a cluster: watches its namespace and serves until the process ends. Who connects before the
/// world is known waits for it: a model that is not known yet would look like one that does not exist.
///
/// Fails where the API server cannot be found, a port is taken, or a part that is needed stops.
pub async fn run(args: Args, process: Process) -> anyhow::Result<()> {
    let mut worlds = watch::start(&process, &args).await?;
    let listener = bind(&args).await?;
    let known = tokio::select! {
        seen = worlds.changed() => seen.is_ok(),
        () = process.shutdown().begun() => false,
    };
    if known {
        serve_on(listener, &process, &args, worlds).await?;
    }
    process.finish().await
}

/// Serves what `worlds` says, as tasks of `process`; gives the address that clients connect to.
///
/// The last world goes on being served when its sender is dropped. Needs a rustls provider to be
/// installed before the first ask that goes to an endpoint.
pub async fn serve(
    process: &Process,
    args: &Args,
    worlds: Receiver<Arc<World>>,
) -> anyhow::Result<SocketAddr> {
    let listener = bind(args).await?;
    serve_on(listener, process, args, worlds).await
}

async fn bind(args: &Args) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(args.listen).await;
    listener.with_context(|| format!("bind the client port {}", args.listen))
}

async fn serve_on(
    listener: TcpListener,
    process: &Process,
    args: &Args,
    worlds: Receiver<Arc<World>>,
) -> anyhow::Result<SocketAddr> {
    let address = listener.local_addr().context("read the client port")?;
    let api_servers = dial::api_servers(args.api_server.as_deref()).await;
    let dialler = dial::Dialler::new(args, api_servers);
    let shared = shared::Shared::start(process, args, dialler, worlds)?;
    port::open(process, args, listener, server::routes(shared));
    tracing::info!(%address, namespace = args.namespace, "serving clients");
    Ok(address)
}
