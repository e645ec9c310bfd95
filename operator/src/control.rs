//! Whose turn it is: changes become keys in a queue, keys become passes, while this operator leads.
//!
//! A key is never worked on twice at once. Passes over different keys run side by side.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_process::Gate;

use crate::apply::ApplyError;
use crate::cache::{Changes, Key};
use crate::context::Context;
use crate::lease::Leadership;
use crate::load;
use crate::metrics::OperatorMetrics;
use crate::queue::{Outcome, Queue};
use crate::{deployment, namespace};

/// A pass mostly waits for the API server, whose own limit per client this stays well below.
const PASSES_AT_ONCE: usize = 8;
/// Changes come in bursts (a Deployment is followed by its ReplicaSet, pods and slices); one pass
/// over all of them is enough.
const GATHER: Duration = Duration::from_millis(50);

/// What the operator's tasks share.
#[derive(Clone)]
pub struct Control {
    pub ctx: Context,
    pub queue: Arc<Queue<Key>>,
    pub leadership: Leadership,
    pub metrics: OperatorMetrics,
    /// Open once every watch has listed what there is.
    pub synced: Gate,
}

struct Ended {
    key: Key,
    result: Result<Outcome, ApplyError>,
    took: Duration,
}

impl Control {
    /// Follows the watches until `stop`.
    pub async fn follow(
        self,
        mut changes: Changes,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                keys = changes.next() => match keys {
                    Some(keys) => self.add(keys),
                    None => anyhow::bail!("the watches ended"),
                },
                () = &mut stop => return Ok(()),
            }
        }
    }

    /// Asks the pods for their load, while leading, until `stop`.
    pub async fn ask_pods(
        self,
        http: reqwest::Client,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        tokio::pin!(stop);
        loop {
            let round = async {
                if self.leadership.leads() {
                    let keys = load::round(&http, &self.ctx.cache, &self.ctx.loads).await;
                    self.add(keys);
                }
                tokio::time::sleep(load::EVERY).await;
            };
            tokio::select! {
                () = round => {}
                () = &mut stop => return Ok(()),
            }
        }
    }

    /// Makes passes, while leading, until `stop`; those that were begun are ended.
    pub async fn work(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        tokio::select! {
            () = self.ctx.cache.ready() => self.synced.open(),
            () = &mut stop => return Ok(()),
        }
        let mut passes = JoinSet::new();
        let mut term = None;
        loop {
            self.begin_term(&mut term);
            tokio::select! {
                () = &mut stop => break,
                () = self.leadership.changed() => {}
                Some(ended) = passes.join_next() => self.end(ended?),
                key = self.queue.next(), if term.is_some() && passes.len() < PASSES_AT_ONCE => {
                    let ctx = self.ctx.clone();
                    passes.spawn(async move { pass(&ctx, key).await });
                }
            }
        }
        while let Some(ended) = passes.join_next().await {
            self.end(ended?);
        }
        Ok(())
    }

    /// At the start of every time of leading everything is looked at: what happened in between was
    /// somebody else's to see.
    fn begin_term(&self, term: &mut Option<u64>) {
        let now = self.leadership.number();
        if now == *term {
            return;
        }
        *term = now;
        self.metrics.leads(now.is_some());
        if now.is_some() {
            self.add(self.ctx.cache.everything());
        }
    }

    fn add(&self, keys: impl IntoIterator<Item = Key>) {
        let at = Instant::now() + GATHER;
        for key in keys {
            self.queue.add(key, at);
        }
    }

    fn end(&self, ended: Ended) {
        let of = match &ended.key {
            Key::Deployment { .. } => "deployment",
            Key::Namespace(_) => "namespace",
        };
        self.metrics
            .reconciled(of, ended.result.is_ok(), ended.took);
        let outcome = match ended.result {
            Ok(outcome) => outcome,
            Err(error) => {
                tell(&ended.key, &error);
                Outcome::Failed
            }
        };
        self.queue.done(&ended.key, outcome, Instant::now());
    }
}

async fn pass(ctx: &Context, key: Key) -> Ended {
    let started = Instant::now();
    let result = match &key {
        Key::Deployment { namespace, name } => deployment::reconcile(ctx, namespace, name).await,
        Key::Namespace(namespace) => namespace::reconcile(ctx, namespace).await,
    };
    Ended {
        key,
        result,
        took: started.elapsed(),
    }
}

fn tell(key: &Key, error: &ApplyError) {
    if error.is_conflict() {
        tracing::debug!(?key, %error, "somebody wrote in between, looking again");
        return;
    }
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(?key, %error, cause, "a pass failed and is tried again");
}
