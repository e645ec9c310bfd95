//! What runs on a laptop: a router in this process, and replicas as its children.
//!
//! What was checked is applied to processes instead of pods. The router is a part of this process that ends first:
//! what it has in hand may need a replica yet, or one that still has to start.

use std::fs::{create_dir_all, write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Context, ensure};
use tokio::sync::{mpsc, oneshot, watch};
use weir_operator::deployment::desired::LIST;
use weir_process::{Process, ProcessArgs};
use weir_router::World;

use crate::bundles;
use crate::checked::{Checked, Replicas};
use crate::fleet::{Crew, Deployed, Fleet, Told};
use crate::manifests::Manifests;
use crate::replica::ReplicaSpec;

/// What a start depends on besides the objects.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
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
    /// Where it says how it does: the router's own, and whether there are replicas.
    pub(crate) admin: SocketAddr,
    /// What becomes of deployments, in order.
    pub(crate) events: mpsc::UnboundedReceiver<Told>,
    /// The names that clients may put into `model`.
    pub(crate) models: Vec<String>,
    /// What the files ask for and is not done here, each in words.
    pub(crate) left_out: Vec<String>,
}

/// What this machine computes with.
pub(crate) fn cores() -> NonZeroUsize {
    available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Starts everything as tasks of `process`.
pub(crate) async fn start(
    process: &Process,
    (manifests, mut checked): (Manifests, Checked),
    setup: &Setup,
) -> anyhow::Result<Running> {
    create_dir_all(&setup.logs)
        .with_context(|| format!("make the folder {}", setup.logs.display()))?;
    checked
        .left_out
        .extend(bundles::lay_out(&manifests, &setup.config_maps)?);
    let crews = crews(checked.replicas, setup)?;
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
    let part = ProcessArgs {
        admin: setup.admin,
        shutdown_deadline: checked.answers,
        ..ProcessArgs::embedded()
    };
    let part = process.child("weir-router", &part)?;
    let address = weir_router::serve(&part, &router, watched).await?;
    let (tell, events) = mpsc::unbounded_channel();
    let fleet = Fleet::new(crews, (worlds, tell), part.readiness().gate("replicas"))?;
    let (admin, (answering, answered)) = (part.admin_address(), oneshot::channel::<()>());
    let keeping = fleet.keep(admin, async {
        let _ = answered.await;
    });
    process.tasks().spawn_required("replicas", keeping);
    process.tasks().spawn_required("router", async move {
        let ended = part.finish().await;
        drop(answering);
        ended
    });
    Ok(Running {
        address,
        admin,
        events,
        models: checked.models,
        left_out: checked.left_out,
    })
}

/// The deployments, each with what its replicas are started with.
fn crews(replicas: Vec<Replicas>, setup: &Setup) -> anyhow::Result<Vec<Crew>> {
    let program = std::env::current_exe().context("find this program")?;
    let mut crews = Vec::new();
    for of in replicas {
        let deployed = Deployed::new(of.deployment.clone(), of.count, of.scaled);
        let revision = of.revision.clone();
        let spec = prepared(of, &program, setup)?;
        crews.push(Crew::new(deployed, revision, spec));
    }
    Ok(crews)
}

/// What every replica of a deployment is started with; what it reads lies there.
fn prepared(replicas: Replicas, program: &Path, setup: &Setup) -> anyhow::Result<ReplicaSpec> {
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
    Ok(ReplicaSpec {
        name: format!("{deployment}-{revision}"),
        local,
        program: program.into(),
        logs: setup.logs.clone(),
        drain: replicas.drain,
    })
}
