//! What runs on a laptop: a router in this process, and replicas as its children.
//!
//! The objects go through the same validation and the same `desired` as in a cluster; here they
//! are applied to processes instead of pods. A replica is in the router's world while it is ready.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use futures::future::join_all;
use tokio::sync::{mpsc, watch};
use weir_crds::SLMDeployment;
use weir_operator::deployment::desired::{Given, desired};
use weir_operator::deployment::validate::validate;
use weir_operator::settings::Settings;
use weir_process::Process;
use weir_router::World;

use crate::manifests::Manifests;
use crate::replica::{self, ReplicaEvent, ReplicaSpec};

/// What a start depends on besides the objects.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) listen: SocketAddr,
    pub(crate) secrets: PathBuf,
    pub(crate) logs: PathBuf,
}

/// A started router, and what becomes of its replicas.
#[derive(Debug)]
pub(crate) struct Running {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// Every start and end of a replica, in order.
    pub(crate) events: mpsc::UnboundedReceiver<Told>,
    /// How many replicas there will be.
    pub(crate) replicas: usize,
}

/// An event of one replica.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) deployment: String,
    pub(crate) event: ReplicaEvent,
}

/// Starts everything as tasks of `process`; what is refused is an error that names each field.
pub(crate) async fn start(
    process: &Process,
    manifests: Manifests,
    setup: &Setup,
) -> anyhow::Result<Running> {
    std::fs::create_dir_all(&setup.logs)
        .with_context(|| format!("make the folder {}", setup.logs.display()))?;
    let replicas = replicas(&manifests.deployments, &setup.logs)?;
    refuse_policies(&manifests)?;
    let world = Arc::new(World {
        policies: manifests.policies.into_iter().map(Arc::new).collect(),
        deployments: manifests.deployments.into_iter().map(Arc::new).collect(),
        ..World::default()
    });
    let (worlds, watched) = watch::channel(world);
    let router = weir_router::Args {
        listen: setup.listen,
        ..weir_router::Args::embedded(&setup.secrets)
    };
    let address = weir_router::serve(process, &router, watched).await?;
    let (tell, events) = mpsc::unbounded_channel();
    let count = replicas.len();
    let stop = process.shutdown().clone();
    process.tasks().spawn_required("replicas", async move {
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .context("make a client for probes")?;
        join_all(replicas.into_iter().map(|(deployment, revision, spec)| {
            let (worlds, tell) = (worlds.clone(), tell.clone());
            let mut ready = None;
            replica::keep(spec, client.clone(), stop.draining(), move |event| {
                worlds.send_modify(|world| {
                    let world = Arc::make_mut(world);
                    let revisions = world.replicas.entry(deployment.clone()).or_default();
                    let addresses = revisions.entry(revision.clone()).or_default();
                    match &event {
                        ReplicaEvent::Ready(address) => {
                            ready = Some(*address);
                            addresses.insert(*address);
                        }
                        ReplicaEvent::Gone { .. } => {
                            ready.take().map(|address| addresses.remove(&address));
                        }
                    }
                });
                // Nobody has to listen.
                let _ = tell.send(Told {
                    deployment: deployment.clone(),
                    event,
                });
            })
        }))
        .await;
        Ok(())
    });
    Ok(Running {
        address,
        events,
        replicas: count,
    })
}

/// What each deployment's replicas are started with: deployment, revision, and the rest.
fn replicas(
    deployments: &[SLMDeployment],
    logs: &Path,
) -> anyhow::Result<Vec<(String, String, ReplicaSpec)>> {
    let program = std::env::current_exe().context("find this program")?;
    let mut specs = Vec::new();
    for deployment in deployments {
        let valid = validate(deployment).map_err(|problems| {
            anyhow!("{}: {}", named("SLMDeployment", deployment), all(&problems))
        })?;
        let made = desired(&valid, &Settings::default(), Given::default());
        let Some(args) = container_args(&made.deployment) else {
            bail!(
                "{}: its pod has no container",
                named("SLMDeployment", deployment)
            );
        };
        for number in 1..=valid.replicas {
            let spec = ReplicaSpec {
                name: format!("{}-{}-{number}", valid.name, made.revision),
                args: args.clone(),
                program: program.clone(),
                logs: logs.into(),
                drain: valid.drain,
            };
            specs.push((valid.name.clone(), made.revision.clone(), spec));
        }
    }
    Ok(specs)
}

fn refuse_policies(manifests: &Manifests) -> anyhow::Result<()> {
    for policy in &manifests.policies {
        let problems = weir_policy::validate(&policy.spec);
        if !problems.is_empty() {
            bail!("{}: {}", named("RoutePolicy", policy), all(&problems));
        }
    }
    Ok(())
}

fn all(problems: &[weir_policy::Problem]) -> String {
    let messages: Vec<_> = problems
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    messages.join("; ")
}

fn named<K: kube::ResourceExt>(kind: &str, object: &K) -> String {
    format!("{kind}/{}", object.name_any())
}

fn container_args(deployment: &k8s_openapi::api::apps::v1::Deployment) -> Option<Vec<String>> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.first()?.args.clone()
}
