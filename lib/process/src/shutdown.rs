//! The stages of an end, for whoever has to act on one.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Begins the end of a process, and tells how far it has come. Clones are the same end.
///
/// The stages follow each other: *begun* (readiness is off, asks are still accepted), *draining*
/// (accept nothing new, finish what was begun), *closing* (time is nearly up: whoever waits for more
/// is told so), *over* (what is left is dropped).
#[derive(Clone, Debug)]
pub struct Shutdown {
    begun: CancellationToken,
    draining: CancellationToken,
    closing: CancellationToken,
    over: CancellationToken,
    reason: Arc<OnceLock<String>>,
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self::after(CancellationToken::new())
    }

    /// An end of its own that begins at the latest when this one does.
    pub(crate) fn child(&self) -> Self {
        Self::after(self.begun.child_token())
    }

    fn after(begun: CancellationToken) -> Self {
        Self {
            begun,
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
            over: CancellationToken::new(),
            reason: Arc::default(),
        }
    }

    /// Begins the end. Only the first reason is kept.
    pub fn begin(&self, reason: impl Into<String>) {
        if !self.begun.is_cancelled() && self.reason.set(reason.into()).is_ok() {
            self.begun.cancel();
        }
    }

    /// Resolves when the end has begun.
    pub fn begun(&self) -> impl Future<Output = ()> + Send + 'static {
        self.begun.clone().cancelled_owned()
    }

    /// Resolves when nothing new may be accepted. Servers and loops wait for this.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.draining.clone().cancelled_owned()
    }

    /// Resolves when there is just time left to say that nothing more comes.
    pub fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        self.closing.clone().cancelled_owned()
    }

    /// Resolves when time is up: tasks that still run are being dropped.
    pub fn over(&self) -> impl Future<Output = ()> + Send + 'static {
        self.over.clone().cancelled_owned()
    }

    /// Whether the end has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Whether nothing new may be accepted.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Why it ends.
    pub(crate) fn reason(&self) -> &str {
        self.reason.get().map_or("its parent ends", String::as_str)
    }

    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }

    pub(crate) fn close(&self) {
        self.closing.cancel();
    }

    pub(crate) fn end(&self) {
        self.begun.cancel();
        self.draining.cancel();
        self.closing.cancel();
        self.over.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_follow_each_other() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.has_begun());
        shutdown.begin("told to");
        shutdown.begin("too late");
        shutdown.begun().await;
        assert!(!shutdown.is_draining(), "asks are accepted until draining");
        assert_eq!(shutdown.reason(), "told to");
        shutdown.end();
        shutdown.draining().await;
        shutdown.closing().await;
        shutdown.over().await;
    }

    #[tokio::test]
    async fn a_child_ends_with_its_parent_but_not_the_other_way_round() {
        let parent = Shutdown::new();
        let (first, second) = (parent.child(), parent.child());
        first.begin("its own reason");
        assert!(first.has_begun() && !second.has_begun() && !parent.has_begun());
        parent.begin("signal");
        second.begun().await;
        assert!(!second.is_draining(), "a child drains in its own time");
    }
}
