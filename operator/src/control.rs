//! Whose turn it is: changes become keys in a queue, keys become passes, while this operator leads.
//!
//! A key is never worked on twice at once. Passes over different keys run side by side.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_process::Gate;

use crate::apply::ApplyError;
use crate::cache::{Changes, Key};
use crate::context::Context;
use crate::lease::Leadership;
use crate::load::{self, Followed};
use crate::metrics::OperatorMetrics;
use crate::queue::{Outcome, Queue};
use crate::{deployment, namespace, scaling};

/// A pass mostly waits for the API server, whose own limit per client this stays well below.
const PASSES_AT_ONCE: usize = 8;
/// Changes come in bursts (a Deployment is followed by its ReplicaSet, pods and slices); one pass
/// over all of them is enough.
const GATHER: Duration = Duration::from_millis(50);
/// A term begins with one round of reports, unless it takes longer: a pod that does not answer must
/// not keep everything else waiting.
const FIRST_REPORTS: Duration = Duration::from_secs(3);
/// How long a pod that has begun to run may be unknown to those who ask.
const NEW_PODS: Duration = Duration::from_millis(250);

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

    /// Follows what the pods say of their load, while leading, until `stop`.
    pub async fn ask_pods(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        let mut followed = Followed::default();
        loop {
            if self.leadership.leads() {
                let control = self.clone();
                let pods = self.ctx.cache.all_pods();
                followed.follow(&self.http, &pods, &self.ctx.loads, move |keys| {
                    control.add(keys)
                });
            } else {
                followed.stop();
            }
            tokio::select! {
                () = tokio::time::sleep(NEW_PODS) => {}
                () = &mut stop => return Ok(()),
            }
        }
    }

    /// Decides how many replicas there are to be, while leading, until `stop`: every second, and at once where
    /// somebody waits and there is none.
    pub async fn scale(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        let mut next = Instant::now();
        loop {
            let only_at_zero = tokio::select! {
                () = tokio::time::sleep_until(next) => false,
                () = self.ctx.loads.holding() => true,
                () = &mut stop => return Ok(()),
            };
            if self.leadership.leads() {
                let keys = self
                    .ctx
                    .scales
                    .look(&self.ctx, only_at_zero, Timestamp::now());
                self.add(keys);
            }
            if !only_at_zero {
                next = Instant::now() + scaling::EVERY;
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
            self.ctx.scales.begin_term();
            self.ctx.rollouts.begin_term();
            self.ctx.upgrades.begin_term(Instant::now());
            let round = load::round(&self.http, self.ctx.cache.all_pods(), &self.ctx.loads);
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
        Key::Deployment { namespace, name } => {
            deployment::reconcile(ctx, (namespace, name), Timestamp::now()).await
        }
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
