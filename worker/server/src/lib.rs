//! The worker's process: one model, served over gRPC and the OpenAI wire on one port.
//!
//! Invariants: it is ready only with a loaded, warmed-up model; what it cannot do is refused by
//! name; an answer that was begun is finished, at the end too, within the drain.

mod adapters;
mod args;
mod arriving;
mod capacity;
mod draining;
mod failure;
mod grpc;
mod held;
mod intake;
mod load;
mod loading;
mod memory;
mod metrics;
mod openai;
mod pace;
mod pins;
mod planned;
mod port;
mod refusal;
mod renderer;
mod room;
mod serving;
mod source;
mod stage;
mod start;
mod starting;
mod warm_up;

use std::{
    io::Write,
    process::ExitCode,
    sync::{Arc, OnceLock},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow};
use tokio::{net::TcpListener, sync::watch};
use weir_engine::Ended;
use weir_process::{Process, ProcessArgs};

use self::{
    adapters::AdapterGauges, draining::Idle, load::Reports, metrics::LoadGauges, port::Port,
    serving::Serving, stage::Stage,
};
pub use self::{args::Args, failure::Failure};
pub use weir_engine::model::Inspection;
use weir_engine::model::tell_of_lost_pages;

const NAME: &str = "weir-worker";

/// Runs a worker to its end. One that cannot start or go on says why in one line on standard error,
/// and the same in the termination log, where it has one.
pub fn run(args: Args) -> ExitCode {
    if args.render_apart {
        return renderer::main();
    }
    // Without it a file that shrinks while it is mapped ends the process all the same, but wordlessly.
    if let Err(error) = tell_of_lost_pages() {
        let _ = writeln!(
            std::io::stderr(),
            "{NAME}: no handler for lost pages: {error}"
        );
    }
    let failure = Arc::new(OnceLock::new());
    let process_args = ProcessArgs {
        shutdown_deadline: args.drain,
        ..args.process.clone()
    };
    let (told, log) = (failure.clone(), args.termination_log.clone());
    let code = weir_process::run(NAME, &process_args, |process| async move {
        if let Err(error) = serve(args, process).await {
            let failure = error.downcast::<Failure>();
            // Told below, and in no other words.
            told.get_or_init(|| failure.unwrap_or_else(|error| Failure::unforeseen(&error)));
        }
        Ok(())
    });
    let Some(failure) = failure.get() else {
        return code;
    };
    if let Some(log) = log {
        failure.write_to(&log);
    }
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "{failure}");
    ExitCode::FAILURE
}

/// Loads the model and serves it until the process ends.
pub async fn serve(args: Args, process: Process) -> anyhow::Result<()> {
    let loaded = process.readiness().gate("model");
    let reports = Reports::new(milliseconds_now());
    process.mount(reports.routes());
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("listen on {}", args.listen))?;
    let address = listener.local_addr().context("read the address")?;
    let progress = watch::Sender::default();
    arriving::tell(&process, &reports, progress.subscribe());
    let stage = Stage::new(&args.model_name, progress.subscribe());
    let port = Port::open(&process, listener, (stage.clone(), &args))?;
    let started = tokio::select! {
        started = start::start(&args, &process, (progress, stage)) => started,
        // Told to end while it loads: there is nothing to finish.
        () = process.shutdown().begun() => return process.finish().await,
    };
    let (serving, ended) = started?;
    let serving = Arc::new(serving);
    own_model_thread(&process, ended);
    LoadGauges(serving.engine.load()).register(&process);
    AdapterGauges {
        adapters: serving.adapters.clone(),
        uses: serving.adapter_uses.clone(),
        most_bytes: serving.adapter_bytes,
    }
    .register(&process);
    let idle = Idle::new(process.shutdown().clone(), serving.engine.load());
    report(&process, reports, &serving, &idle);
    prepare_forms(serving.clone());
    port.serve(serving, idle);
    loaded.open();
    // Whoever reads this finds it ready.
    tracing::info!(%address, "listening");
    process.finish().await
}

/// The process ends when the model thread does.
fn own_model_thread(process: &Process, ended: Ended) {
    let shutdown = process.shutdown().clone();
    process.tasks().spawn_required("model thread", async move {
        tokio::select! {
            () = shutdown.draining() => Ok(()),
            ended = ended => match ended {
                Ok(result) => result.context("the model thread stopped"),
                Err(_) => Err(anyhow!("the model thread panicked")),
            },
        }
    });
}

/// Beside the first answers: most have no form, and nobody should wait for what they do not need.
fn prepare_forms(serving: Arc<Serving>) {
    let preparing = thread::Builder::new().name("weir-forms".to_owned());
    let preparing = preparing.spawn(move || {
        if let Err(error) = serving.constraints.prepare() {
            tracing::warn!(%error, "answers cannot be held to forms");
        }
    });
    if let Err(error) = preparing {
        tracing::debug!(%error, "the first form waits for what all forms share");
    }
}

/// Keeps the report for the operator up to date.
fn report(process: &Process, reports: Reports, serving: &Arc<Serving>, idle: &Idle) {
    // Now, so that whoever finds it ready finds the report too.
    reports.tell(serving);
    let (serving, idle) = (serving.clone(), idle.clone());
    process.tasks().spawn("load", async move {
        reports.follow(&serving, &idle).await;
    });
}

fn milliseconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
