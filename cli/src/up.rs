//! `weir up`: the YAML files of a cluster, served on this machine until interrupted.

use std::process::ExitCode;

use anyhow::Context;
use weir_process::{Process, ProcessArgs};

use crate::args::UpArgs;
use crate::fleet::Event;
use crate::laptop::{Laptop, Mount};
use crate::manifests;
use crate::running::{self, Running, Setup};
use crate::{say, secrets};

pub(crate) fn main(args: UpArgs) -> ExitCode {
    let process = ProcessArgs {
        admin: args.admin,
        log_level: args.log_level.clone(),
        ..ProcessArgs::embedded()
    };
    weir_process::run("weir", &process, |process| up(args, process))
}

#[allow(
    clippy::disallowed_methods,
    reason = "secrets are read by a name that only the user knows: no flag can have it"
)]
async fn up(args: UpArgs, process: Process) -> anyhow::Result<()> {
    let laptop = Laptop {
        mounts: args.mounts.iter().map(found).collect::<Result<_, _>>()?,
        services: args.services,
    };
    let manifests = manifests::read(&args.files)?.on(&laptop);
    for other in manifests.left_alone() {
        say(&format!("left alone: {other}"));
    }
    // Only for as long as this runs: nothing secret stays behind.
    let secrets = tempfile::tempdir().context("make a folder for secrets")?;
    let setup = Setup {
        listen: args.listen,
        secrets: secrets.path().into(),
        logs: args.state.join("logs"),
        adapters: args.state.join("adapters"),
        templates: args.state.join("templates"),
        config_maps: args.state.join("config-maps"),
        budgets: args.state.join("budgets.json"),
        kept: Some(args.state.clone()),
    };
    secrets::lay_out(&setup.secrets, &args.secrets, |name| {
        std::env::var_os(name)?.into_string().ok()
    })
    .context("lay out the secrets")?;
    let mut running = running::start(&process, manifests, &setup).await?;
    for asked_for in &running.left_out {
        say(&format!("left out: {asked_for}"));
    }
    say(&format!("OpenAI base URL  http://{}/v1", running.address));
    say(&format!("models           {}", running.models.join(", ")));
    say(&format!(
        "admin            http://{}",
        process.admin_address()
    ));
    say(&format!("logs             {}", setup.logs.display()));
    let ready = process.readiness().gate("replicas");
    process.tasks().spawn("tell", async move {
        tell(&mut running, || ready.open()).await;
    });
    process.finish().await
}

/// The mount with its folder's whole path, without links and dots.
fn found(mount: &Mount) -> anyhow::Result<Mount> {
    let folder = mount.folder.canonicalize();
    Ok(Mount {
        place: mount.place.clone(),
        folder: folder.with_context(|| format!("find the folder {}", mount.folder.display()))?,
    })
}

/// Says what becomes of deployments; calls `all_ready` when as many replicas have been ready as there are at first.
async fn tell(running: &mut Running, all_ready: impl Fn()) {
    let mut waiting = running.replicas;
    if waiting == 0 {
        all_ready();
    }
    while let Some(told) = running.events.recv().await {
        say(&line(&told.deployment, &told.event));
        if let Event::Ready(_) = told.event {
            waiting = waiting.saturating_sub(1);
            if waiting == 0 {
                all_ready();
            }
        }
    }
}

fn line(deployment: &str, event: &Event) -> String {
    match event {
        Event::Ready(address) => format!("ready            {deployment} at {address}"),
        Event::Gone { reason } => format!("ended            {deployment}: {reason}"),
        Event::Scaled(decision) => format!(
            "scaled           {deployment} from {} to {}: {:?}, {}",
            decision.from, decision.to, decision.reason, decision.message
        ),
    }
}
