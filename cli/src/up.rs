//! `weir up`: the YAML files of a cluster, served on this machine until interrupted.

use std::process::ExitCode;

use anyhow::Context;
use weir_process::{Process, ProcessArgs, exit_code};

use crate::args::UpArgs;
use crate::checked::{Checked, check};
use crate::fleet::Event;
use crate::laptop::{Laptop, Mount};
use crate::manifests::{self, Manifests};
use crate::running::{self, Running, Setup, cores};
use crate::{say, secrets};

pub(crate) fn main(args: UpArgs) -> ExitCode {
    let (manifests, checked) = match read(&args) {
        Ok(read) => read,
        Err(error) => return exit_code("weir", Err(error)),
    };
    let process = ProcessArgs {
        log_level: args.log_level.clone(),
        shutdown_deadline: checked.ending(),
        ..ProcessArgs::embedded()
    };
    weir_process::run("weir", &process, |process| {
        up(args, (manifests, checked), process)
    })
}

/// What the files ask for as it holds here; what is refused is an error that names each field.
fn read(args: &UpArgs) -> anyhow::Result<(Manifests, Checked)> {
    let laptop = Laptop {
        mounts: args.mounts.iter().map(found).collect::<Result<_, _>>()?,
        services: args.services.clone(),
    };
    let manifests = manifests::read(&args.files)?.on(&laptop);
    let checked = check(&manifests, cores())?;
    Ok((manifests, checked))
}

#[allow(
    clippy::disallowed_methods,
    reason = "secrets are read by a name that only the user knows: no flag can have it"
)]
async fn up(
    args: UpArgs,
    (manifests, checked): (Manifests, Checked),
    process: Process,
) -> anyhow::Result<()> {
    for other in manifests.left_alone() {
        say(&format!("left alone: {other}"));
    }
    // Only for as long as this runs: nothing secret stays behind.
    let secrets = tempfile::tempdir().context("make a folder for secrets")?;
    let setup = Setup {
        listen: args.listen,
        admin: args.admin,
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
    let running = running::start(&process, (manifests, checked), &setup).await?;
    for asked_for in &running.left_out {
        say(&format!("left out: {asked_for}"));
    }
    say(&format!("OpenAI base URL  http://{}/v1", running.address));
    say(&format!("models           {}", running.models.join(", ")));
    say(&format!("admin            http://{}", running.admin));
    say(&format!("logs             {}", setup.logs.display()));
    process.tasks().spawn("tell", tell(running));
    let begun = process.shutdown().begun();
    process.tasks().spawn("tell of the end", async {
        begun.await;
        say("ending           answers in hand are finished first; interrupt again to drop them");
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

/// Says what becomes of deployments.
async fn tell(mut running: Running) {
    while let Some(told) = running.events.recv().await {
        say(&line(&told.deployment, &told.event));
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
