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
/// A term begins with one round of reports, unless it takes longer: a pod that does not answer must
/// not keep everything else waiting.
const FIRST_REPORTS: Duration = Duration::from_secs(3);

/// What the operator's tasks share.
#[derive(Clone)]
pub struct Control {
    pub ctx: Context,
    pub queue: Arc<Queue<Key>>,
    pub leadership: Leadership,
    pub metrics: OperatorMetrics,
    /// Asks the pods.
    pub http: reqwest::Client,
    /// Open once every watch has listed what there is.
    pub synced: Gate,
}

struct Ended {
    key: Key,
    result: Result<Outcome, ApplyError>,
    took: Duration,
    /// What has to be looked at because of what the pass found.
    wakes: Vec<Key>,
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
    pub async fn ask_pods(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        loop {
            let round = async {
                if self.leadership.leads() {
                    let keys = load::round(&self.http, &self.ctx.cache, &self.ctx.loads).await;
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
            tokio::select! {
                () = self.begin_term(&mut term) => {}
                () = &mut stop => break,
            }
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
    /// somebody else's to see. Pods are asked first, or statuses would take back what is true only
    /// because nobody has reported it to us yet.
    async fn begin_term(&self, term: &mut Option<u64>) {
        let now = self.leadership.number();
        if now == *term {
            return;
        }
        if now.is_some() {
            let round = load::round(&self.http, &self.ctx.cache, &self.ctx.loads);
            at_most(FIRST_REPORTS, round).await;
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
        self.add(ended.wakes);
        self.queue.done(&ended.key, outcome, Instant::now());
    }
}

/// Waits for `round`, but not longer than `limit`.
async fn at_most<T>(limit: Duration, round: impl Future<Output = T>) {
    if tokio::time::timeout(limit, round).await.is_err() {
        tracing::debug!("not every pod reported in time");
    }
}

async fn pass(ctx: &Context, key: Key) -> Ended {
    let started = Instant::now();
    let mut wakes = Vec::new();
    let result = match &key {
        Key::Deployment { namespace, name } => deployment::reconcile(ctx, namespace, name).await,
        Key::Namespace(namespace) => {
            let before = ctx.reaches.of(namespace);
            let result = namespace::reconcile(ctx, namespace).await;
            if ctx.reaches.of(namespace) != before {
                wakes = deployments(&ctx.cache.everything(), namespace);
            }
            result
        }
    };
    Ended {
        key,
        result,
        took: started.elapsed(),
        wakes,
    }
}

/// The deployments of a namespace, all of which its routers serve.
fn deployments<'a>(keys: impl IntoIterator<Item = &'a Key>, of: &str) -> Vec<Key> {
    keys.into_iter()
        .filter(|key| matches!(key, Key::Deployment { namespace, .. } if namespace == of))
        .cloned()
        .collect()
}

fn tell(key: &Key, error: &ApplyError) {
    if error.is_conflict() {
        tracing::debug!(?key, %error, "somebody wrote in between, looking again");
        return;
    }
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(?key, %error, cause, "a pass failed and is tried again");
}

#[cfg(test)]
mod tests;
