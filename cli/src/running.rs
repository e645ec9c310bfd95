//! What runs on a laptop: a router in this process, and replicas as its children.
//!
//! What was checked is applied to processes instead of pods. A replica is in the router's world while it is ready.

use std::fs::{create_dir_all, write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Context, ensure};
use futures::future::join_all;
use tokio::sync::{mpsc, watch};
use weir_operator::deployment::desired::LIST;
use weir_process::Process;
use weir_router::World;

use crate::bundles;
use crate::checked::{Replicas, check};
use crate::manifests::Manifests;
use crate::replica::{self, ReplicaEvent, ReplicaSpec};

/// What a start depends on besides the objects.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) listen: SocketAddr,
    pub(crate) secrets: PathBuf,
    pub(crate) logs: PathBuf,
    /// Where the lists of adapters lie, a folder for each deployment that has any.
    pub(crate) adapters: PathBuf,
    /// Where chat templates lie that are not their models' own, a file for each revision.
    pub(crate) templates: PathBuf,
    /// Where ConfigMaps lie that hold endpoints' CA bundles, a folder for each.
    pub(crate) config_maps: PathBuf,
    /// The ledger of what may be spent at endpoints, which outlives the run.
    pub(crate) budgets: PathBuf,
    /// Where replicas keep downloads and packed weights for their next start.
    pub(crate) kept: Option<PathBuf>,
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
    /// The names that clients may put into `model`.
    pub(crate) models: Vec<String>,
    /// What the files ask for and is not done here, each in words.
    pub(crate) left_out: Vec<String>,
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
    create_dir_all(&setup.logs)
        .with_context(|| format!("make the folder {}", setup.logs.display()))?;
    let cores = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut checked = check(&manifests, cores)?;
    checked
        .left_out
        .extend(bundles::lay_out(&manifests, &setup.config_maps)?);
    let replicas = specs(checked.replicas, setup)?;
    let world = Arc::new(World {
        policies: manifests.policies.into_iter().map(Arc::new).collect(),
        deployments: manifests.deployments.into_iter().map(Arc::new).collect(),
        ..World::default()
    });
    let (worlds, watched) = watch::channel(world);
    let router = weir_router::Args {
        listen: setup.listen,
        config_maps_root: setup.config_maps.clone(),
        ledger_file: Some(setup.budgets.clone()),
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
        models: checked.models,
        left_out: checked.left_out,
    })
}

/// What every replica is started with: deployment, revision, and the rest.
fn specs(
    replicas: Vec<Replicas>,
    setup: &Setup,
) -> anyhow::Result<Vec<(String, String, ReplicaSpec)>> {
    let program = std::env::current_exe().context("find this program")?;
    let mut specs = Vec::new();
    for replicas in replicas {
        let (deployment, revision) = (replicas.deployment, replicas.revision);
        let mut local = replicas.local;
        if let Some(folder) = &setup.kept {
            local = local.keeping(folder);
        }
        if let Some(secret) = &replicas.credentials {
            let folder = setup.secrets.join(secret);
            ensure!(
                folder.is_dir(),
                "SLMDeployment/{deployment}: spec.model.credentialsSecretRef: say what Secret/{secret} \
                 has with --secret {secret}/KEY=env:VARIABLE or file:PATH"
            );
            local = local.with_credentials(&folder);
        }
        if let Some(list) = &replicas.adapters {
            let folder = setup.adapters.join(&deployment);
            let written = create_dir_all(&folder).and_then(|()| write(folder.join(LIST), list));
            written.with_context(|| format!("write the adapters to {}", folder.display()))?;
            local = local.with_adapters(&folder);
        }
        if let Some(text) = &replicas.chat_template {
            let file = setup
                .templates
                .join(format!("{deployment}-{revision}.jinja"));
            let written = create_dir_all(&setup.templates).and_then(|()| write(&file, text));
            written.with_context(|| format!("write the chat template to {}", file.display()))?;
            local = local.with_template(&file);
        }
        for number in 1..=replicas.count {
            let spec = ReplicaSpec {
                name: format!("{deployment}-{revision}-{number}"),
                local: local.clone(),
                program: program.clone(),
                logs: setup.logs.clone(),
                drain: replicas.drain,
            };
            specs.push((deployment.clone(), revision.clone(), spec));
        }
    }
    Ok(specs)
}
