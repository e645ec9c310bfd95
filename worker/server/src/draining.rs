//! The end of a worker: answers that were begun are finished, new ones are refused in their own
//! protocol, and only then the port is closed.

use std::time::Duration;

use tokio::{sync::watch, time};
use weir_engine::Load;
use weir_process::{Shutdown, Tasks};

/// What is left of the drain for telling clients that their answers end here. A router takes them
/// up on another replica, which is better than a broken connection.
const LONGEST_FAREWELL: Duration = Duration::from_secs(2);

/// Tells when a worker that accepts nothing more has nothing left to do.
#[derive(Debug, Clone)]
pub struct Idle {
    shutdown: Shutdown,
    load: watch::Receiver<Load>,
}

impl Idle {
    pub fn new(shutdown: Shutdown, load: watch::Receiver<Load>) -> Self {
        Self { shutdown, load }
    }

    /// Resolves when nothing new is accepted and the model has nothing to do. Answers may still be
    /// on their way to their clients: closing a server waits for those.
    pub async fn when_drained(&self) {
        self.shutdown.draining().await;
        let mut load = self.load.clone();
        // An error means that the model thread is gone, and with it all that was to be done.
        let _ = load
            .wait_for(|load| load.running == 0 && load.waiting == 0)
            .await;
    }
}

/// Tells answers that outlast the drain to end with an error of their own, shortly before the
/// process drops them.
#[derive(Debug, Clone)]
pub struct Cutoff(watch::Receiver<bool>);

impl Cutoff {
    /// Begins to count when nothing new is accepted.
    pub fn after(drain: Duration, idle: Idle, tasks: &Tasks) -> Self {
        let (tx, rx) = watch::channel(false);
        let allowed = drain - (drain / 10).min(LONGEST_FAREWELL);
        tasks.spawn("cutoff", async move {
            idle.shutdown.draining().await;
            if time::timeout(allowed, idle.when_drained()).await.is_err() {
                tx.send_replace(true);
            }
        });
        Self(rx)
    }

    /// Resolves when answers must end; never where all of them ended by themselves.
    pub async fn reached(&mut self) {
        if self.0.wait_for(|reached| *reached).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
