//! The end of a worker: answers that were begun are finished, new ones are refused in their own
//! protocol, and only then the port is closed.

use tokio::sync::watch;
use weir_engine::Load;
use weir_process::Shutdown;

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
