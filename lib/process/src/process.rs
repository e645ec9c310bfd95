//! One process: its parts, and the order in which it ends.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Admin;
use crate::args::ProcessArgs;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::shutdown::Shutdown;
use crate::tasks::Tasks;
use crate::{logs, traces};

/// How long closing the admin port and sending the last traces may take.
const CLOSING: Duration = Duration::from_secs(2);
/// How long before the deadline whoever waits for more is told that nothing comes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running process, or a part of one that lives inside another (see [`Process::child`]).
///
/// Dropping it drops its tasks and its admin port.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    admin: Admin,
    admin_address: SocketAddr,
    /// Ends after everything else, so that probes and scrapes are answered to the last.
    admin_task: TaskTracker,
    admin_closed: CancellationToken,
    tasks: Tasks,
    shutdown: Shutdown,
    delay: Duration,
    deadline: Duration,
}

impl Process {
    /// Starts logs, traces and the admin port of the component `name` (as in `weir-router`).
    ///
    /// Must be called inside a tokio runtime. Fails where the log level is not understood, the
    /// collector's address cannot be used, or the admin port is taken. Listens to no signal:
    /// [`run`](crate::run) does that for a whole binary.
    pub fn start(name: &'static str, args: &ProcessArgs) -> anyhow::Result<Self> {
        Self::start_with(name, args, Shutdown::new())
    }

    /// Starts a part with tasks, metrics, readiness and an admin port of its own that begins to
    /// end when this process does. Whoever started it awaits its [`finish`](Self::finish), best
    /// as a required task.
    pub fn child(&self, name: &'static str, args: &ProcessArgs) -> anyhow::Result<Self> {
        Self::start_with(name, args, self.shutdown.child())
    }

    fn start_with(
        name: &'static str,
        args: &ProcessArgs,
        shutdown: Shutdown,
    ) -> anyhow::Result<Self> {
        logs::install(name, args).context("start logging")?;
        let listener =
            bind(args.admin).with_context(|| format!("bind the admin port {}", args.admin))?;
        let admin_address = listener.local_addr().context("read the admin port")?;
        let admin = Admin::new(Readiness::default(), Metrics::new(name));
        let admin_task = TaskTracker::new();
        let admin_closed = CancellationToken::new();
        let routes = admin.clone().router();
        let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, routes)
            .with_graceful_shutdown(admin_closed.clone().cancelled_owned());
        let over = shutdown.over();
        let closed = admin_closed.clone();
        admin_task.spawn(async move {
            tokio::select! {
                _ = server => {}
                // A scrape that hangs must not keep the process.
                () = async { over.await; closed.cancelled().await; tokio::time::sleep(CLOSING).await } => {}
            }
        });
        admin_task.close();
        tracing::info!(
            component = name,
            version = crate::VERSION,
            commit = crate::COMMIT,
            admin = %admin_address,
            "started"
        );
        Ok(Self {
            name,
            admin,
            admin_address,
            admin_task,
            admin_closed,
            tasks: Tasks::new(shutdown.clone()),
            shutdown,
            delay: args.shutdown_delay,
            deadline: args.shutdown_deadline,
        })
    }

    /// The component's name, as in `weir-router`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where the admin port really is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Adds routes to the admin port. Panics if a path is there already.
    pub fn mount(&self, routes: Router) {
        self.admin.mount(routes);
    }

    /// The gates behind `/readyz`.
    pub fn readiness(&self) -> &Readiness {
        &self.admin.readiness
    }

    /// What `/metrics` prints.
    pub fn metrics(&self) -> &Metrics {
        &self.admin.metrics
    }

    /// Where tasks are spawned.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// To begin the end, or to act on it.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Serves `routes` (HTTP/1 and cleartext HTTP/2) as a required task until draining; then
    /// connections end with the answer they are in.
    pub fn serve(&self, name: &'static str, listener: TcpListener, routes: Router) {
        // A token is a small packet: it must not wait for the next one (Nagle) to be sent.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(error = error.to_string(), "a connection sends late");
            }
        });
        let server = axum::serve(listener, routes).with_graceful_shutdown(self.shutdown.draining());
        self.tasks
            .spawn_required(name, async move { server.await.context("serve") });
    }

    /// Waits for the end to begin and brings it about: not ready, the delay, nothing new
    /// accepted, drained or the deadline passed, closed. Returns the failure that began it.
    pub async fn finish(self) -> anyhow::Result<()> {
        self.shutdown.begun().await;
        tracing::info!(
            component = self.name,
            reason = self.shutdown.reason(),
            "stopping"
        );
        self.readiness().gate("running").close("stopping");
        let failure = self.tasks.take_failure();
        // Nobody is served better by a delay when a part that is needed is gone.
        if failure.is_none() {
            tokio::time::sleep(self.delay).await;
        }
        self.shutdown.drain();
        if !self.drained().await {
            tracing::warn!(
                tasks = self.tasks.running(),
                "the deadline passed, dropping what still runs"
            );
        }
        self.shutdown.end();
        // Tasks are dropped at their next await; one that never awaits cannot be waited for.
        let _ = tokio::time::timeout(CLOSING, self.tasks.ended()).await;
        self.admin_closed.cancel();
        let _ = tokio::time::timeout(CLOSING, self.admin_task.wait()).await;
        traces::flush(CLOSING).await;
        tracing::info!(component = self.name, "stopped");
        match failure.or_else(|| self.tasks.take_failure()) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Whether every task has ended by the deadline; some say their last words shortly before it.
    async fn drained(&self) -> bool {
        let ended = |within| tokio::time::timeout(within, self.tasks.ended());
        let last = LAST_WORDS.min(self.deadline / 2);
        if ended(self.deadline - last).await.is_ok() {
            return true;
        }
        self.shutdown.close();
        ended(last).await.is_ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shutdown.end();
        self.admin_closed.cancel();
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
