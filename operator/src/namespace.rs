//! The reconcile of what a namespace shares: its routers, its last good policies, what is granted of
//! budgets, and the status of each policy.
//!
//! Policies are looked at together because they depend on each other: a model name belongs to the
//! oldest that claims it, and all of them are served by the same routers.

pub mod budgets;
pub mod desired;
pub mod last_good;
pub mod observe;
pub mod status;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use tokio::time::Instant;
use weir_crds::{RoutePolicy, SLMDeployment};
use weir_policy::table::{self, Table};

use crate::apply::{Applied, ApplyError};
use crate::condition;
use crate::context::Context;
use crate::queue::Outcome;
use observe::Observed;

/// One pass over a namespace.
pub async fn reconcile(ctx: &Context, namespace: &str) -> Result<Outcome, ApplyError> {
    let now = Timestamp::now();
    let mut observed = Observed::look(&ctx.cache, &ctx.loads, namespace);
    ctx.reaches.found(namespace, observed.routers.len());
    let table = table::compile(
        &observed.policies,
        &observed.deployments,
        &observed.last_good,
    );
    budgets::deal(&mut observed, &table, now);
    let last_good = last_good::next(
        &observed.last_good,
        &observed.policies,
        &observed.unreadable,
        &table,
    );
    let desired = desired::desired(&observed, &last_good, &ctx.settings);
    if desired.is_empty() && !observed.owned.is_empty() && in_use(ctx, namespace).await? {
        // The cache has not heard of what was just made: nothing is taken away on old news.
        return Ok(Outcome::Failed);
    }
    let applied = ctx
        .writer
        .apply(&desired, &observed.owned, |_| false)
        .await?;
    ctx.reaches.taken(namespace, &applied.taken);
    let again = tell(ctx, &observed, &table, &applied, now).await?;
    Ok(outcome(&applied, again))
}

fn outcome(applied: &Applied, again: Option<Duration>) -> Outcome {
    // What is in the way belongs to somebody else, so that no watch of ours tells when it goes.
    let in_the_way = !applied.taken.is_empty() || !applied.refused.is_empty() || applied.leaving;
    if in_the_way {
        Outcome::Failed
    } else {
        again.map_or(Outcome::Settled, Outcome::Again)
    }
}

/// Says when to look again, where a figure was changed too soon to be said.
async fn tell(
    ctx: &Context,
    observed: &Observed,
    table: &Table,
    applied: &Applied,
    now: Timestamp,
) -> Result<Option<Duration>, ApplyError> {
    let mut again: Option<Duration> = None;
    for policy in &observed.policies {
        let before = policy.status.as_ref();
        let status = status::status(policy, observed, table, applied, now);
        let name = policy.name_any();
        let of = (observed.namespace.as_str(), name.as_str());
        let (status, later) = ctx.spends.paced(of, before, status, Instant::now());
        again = again.into_iter().chain(later).min();
        ctx.writer.status(policy, before, &status).await?;
        let conditions = before.map_or(&[][..], |before| &before.conditions);
        if let Some(event) = condition::event(conditions, &status.conditions) {
            ctx.writer.event(policy, event).await;
        }
    }
    Ok(again)
}

/// Whether the API server itself, not the cache, knows of a deployment or a policy here.
async fn in_use(ctx: &Context, namespace: &str) -> Result<bool, ApplyError> {
    let one = ListParams::default().limit(1);
    let deployments: Api<SLMDeployment> = Api::namespaced(ctx.client.clone(), namespace);
    let policies: Api<RoutePolicy> = Api::namespaced(ctx.client.clone(), namespace);
    let read = |source| ApplyError::Api {
        step: "list the objects of",
        name: namespace.to_owned(),
        source,
    };
    let deployments = deployments.list_metadata(&one).await.map_err(read)?;
    let policies = policies.list_metadata(&one).await.map_err(read)?;
    let alive = |meta: &kube::api::ObjectMeta| meta.deletion_timestamp.is_none();
    Ok(deployments.items.iter().any(|item| alive(&item.metadata))
        || policies.items.iter().any(|item| alive(&item.metadata)))
}
