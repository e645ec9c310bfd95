//! Tasks with an owner: none outlives its process, and one that is needed may not stop first.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use futures::FutureExt;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::shutdown::Shutdown;

/// Spawns tasks that belong to one process. Clones belong to the same.
///
/// When the process is over, tasks that still run are dropped where they wait.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: Shutdown,
    failure: Arc<Mutex<Option<anyhow::Error>>>,
}

impl Tasks {
    pub(crate) fn new(shutdown: Shutdown) -> Self {
        Self {
            tracker: TaskTracker::new(),
            shutdown,
            failure: Arc::default(),
        }
    }

    /// Runs `task`, which may end whenever it likes. If it panics, that is logged and only it ends.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        // In a place of its own: what is moved into another future is in that twice.
        let task = AssertUnwindSafe(Box::pin(task)).catch_unwind();
        let owned = async move {
            tokio::select! {
                ended = task => if let Err(panic) = ended {
                    tracing::error!(task = name, panic = panic_message(&*panic), "task panicked");
                },
                () = shutdown.over() => {}
            }
        };
        self.tracker.spawn(owned.in_current_span());
    }

    /// Runs `task`, without which the process is of no use: if it fails, panics, or returns before
    /// draining began, the process ends and [`Process::finish`](crate::Process::finish) says why.
    pub fn spawn_required<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let tasks = self.clone();
        let task = AssertUnwindSafe(Box::pin(task)).catch_unwind();
        let owned = async move {
            let ended = tokio::select! {
                ended = task => ended,
                () = tasks.shutdown.over() => return,
            };
            match ended {
                Ok(Ok(())) if tasks.shutdown.has_begun() => {}
                Ok(Ok(())) => tasks.fail(anyhow!("task {name} stopped while it was needed")),
                Ok(Err(error)) => tasks.fail(error.context(format!("task {name} failed"))),
                Err(panic) => {
                    tasks.fail(anyhow!("task {name} panicked: {}", panic_message(&*panic)));
                }
            }
        };
        self.tracker.spawn(owned.in_current_span());
    }

    /// Resolves when every task has ended; to be called once no more are wanted.
    pub(crate) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// How many tasks run now.
    pub(crate) fn running(&self) -> usize {
        self.tracker.len()
    }

    pub(crate) fn take_failure(&self) -> Option<anyhow::Error> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Keeps the first failure; those that follow are usually its consequences.
    fn fail(&self, error: anyhow::Error) {
        tracing::error!(error = format!("{error:#}"), "required task ended");
        let reason = format!("{error:#}");
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        self.shutdown.begin(reason);
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use std::future::pending;

    fn tasks() -> Tasks {
        Tasks::new(Shutdown::new())
    }

    #[tokio::test]
    async fn a_required_task_that_fails_begins_the_end_and_is_named() {
        let tasks = tasks();
        tasks.spawn_required("watch", async {
            Err(anyhow!("refused")).context("connect")
        });
        tasks.shutdown.begun().await;
        tasks.ended().await;
        let failure = tasks.take_failure().unwrap();
        assert_eq!(
            format!("{failure:#}"),
            "task watch failed: connect: refused"
        );
    }

    #[tokio::test]
    async fn a_required_task_that_returns_early_begins_the_end() {
        let tasks = tasks();
        tasks.spawn_required("watch", async { Ok(()) });
        tasks.shutdown.begun().await;
        tasks.ended().await;
        let failure = tasks.take_failure().unwrap();
        assert_eq!(
            failure.to_string(),
            "task watch stopped while it was needed"
        );
    }

    #[tokio::test]
    async fn a_required_task_that_panics_begins_the_end() {
        let tasks = tasks();
        tasks.spawn_required("model", async { panic!("block {} is free twice", 7) });
        tasks.shutdown.begun().await;
        tasks.ended().await;
        let failure = tasks.take_failure().unwrap();
        assert_eq!(
            failure.to_string(),
            "task model panicked: block 7 is free twice"
        );
    }

    #[tokio::test]
    async fn a_plain_task_may_return_or_panic_without_consequence() {
        let tasks = tasks();
        tasks.spawn("returns", async {});
        tasks.spawn("panics", async { panic!("only this one") });
        tasks.ended().await;
        assert!(!tasks.shutdown.has_begun());
    }

    #[tokio::test]
    async fn tasks_that_never_return_are_dropped_when_it_is_over() {
        let tasks = tasks();
        tasks.spawn("waits", pending());
        tasks.spawn_required("waits too", pending());
        assert_eq!(tasks.running(), 2);
        tasks.shutdown.end();
        tasks.ended().await;
        assert!(tasks.take_failure().is_none());
    }
}
