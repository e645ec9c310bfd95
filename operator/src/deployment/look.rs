//! One look at a deployment's rollout in a pass: what routers counted is heard, it is decided what is to be, and
//! that is written before anything is done that follows from it.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;
use weir_crds::{Strategy, labels, reasons};
use weir_policy::load::RevisionLoad;
use weir_policy::rollout::order::{NoOrder, Order};
use weir_policy::rollout::step::{self, Facts, Next, advance};
use weir_policy::validate::Problem;

use super::asked::{Asked, Forms, asked};
use super::began::Began;
use super::desired;
use super::kept::{self, Good, Kept};
use super::observe::Observed;
use super::rollout::{Before, Plan, Times, plan};
use super::validate::Valid;
use crate::apply::{Applied, ApplyError};
use crate::context::Context;
use crate::namespace::observe::running_routers;
use crate::rollouts::Known;

/// Which revision is asked for, and what is to become of all of them; or what keeps that from being written, and
/// then nothing is done. `is_last` where the spec is one that was good before.
pub async fn look(
    ctx: &Context,
    observed: &Observed,
    (valid, is_last): (&Valid<'_>, bool),
    now: Timestamp,
) -> Result<Result<(Asked, Plan), Problem>, ApplyError> {
    let of = (valid.namespace.clone(), valid.name.clone());
    let uid = observed.deployment.uid().unwrap_or_default();
    let kept = Kept::of(&observed.deployment, &observed.owned);
    let mut known = ctx.rollouts.take(&of, &uid, kept);
    let asked = asked_for(ctx, observed, (valid, is_last), (&of, &known));
    let order = order(observed);
    let is_new = known.state.stable != asked.revision;
    let reports = if is_new {
        reports(ctx, valid)
    } else {
        Vec::new()
    };
    let news = known.news(reports.iter().map(|(run, counts)| (run.as_str(), counts)));
    let facts = Facts {
        wanted: &asked.revision,
        spec: &asked.spec,
        replicas: valid.replicas,
        most: valid.scaled.map_or(valid.replicas, |bounds| bounds.max),
        revisions: &seen(observed, valid.rollout.strategy),
        order: order.as_ref().and_then(|order| order.as_ref().ok()),
        news: &news,
    };
    let next = advance(&known.state, &valid.rollout, &facts, now);
    let good = match is_last {
        true => known.good.clone(),
        false => Good::of(valid),
    };
    if let Err(problem) = keep(ctx, observed, valid, (&mut known, &next, good)).await? {
        return Ok(Err(problem));
    }
    let before = before(observed);
    let times = Times {
        now,
        named: known.named_since(&before, now),
    };
    let written = known.written.as_ref().unwrap_or(&known.state);
    let of_spec = (&*observed.revisions, &asked);
    let mut plan = plan((&next, written), &valid.rollout, of_spec, &before, times);
    if let Some(Err(error)) = order {
        plan.said = format!("{}; {}: {error}", plan.said, labels::ROLLOUT);
    }
    ctx.upgrades
        .tell(&of, asked.is_upgrade && plan.goes_on(now));
    ctx.rollouts.put(of, known);
    Ok(Ok((asked, plan)))
}

/// The revision that is asked for. Nothing is replaced while the spec is not what the user wants.
fn asked_for(
    ctx: &Context,
    observed: &Observed,
    (valid, is_last): (&Valid<'_>, bool),
    (of, known): (&(String, String), &Known),
) -> Asked {
    let forms = Forms {
        spec: &valid.spec_hash,
        now: Began::now(valid.spec, &ctx.settings),
        revision: &|began| desired::revision(valid, &ctx.settings, Some(began)),
    };
    let most = ctx.settings.upgrades_at_once;
    asked(&observed.revisions, &known.state, &forms, || {
        !is_last && ctx.upgrades.take(of, most, Instant::now())
    })
}

/// Writes what was decided, where it is worth it.
async fn keep(
    ctx: &Context,
    observed: &Observed,
    valid: &Valid<'_>,
    (known, next, good): (&mut Known, &Next, Option<Good>),
) -> Result<Result<(), Problem>, ApplyError> {
    known.state = next.state.clone();
    if known.good == good && !known.state.is_worth_writing(known.written.as_ref()) {
        return Ok(Ok(()));
    }
    let map = kept::wanted(
        valid,
        (&known.state, good.as_ref()),
        known.version.as_deref(),
    );
    let applied = ctx.writer.apply(&[map], &observed.owned, |_| true).await?;
    if applied.leaving {
        let name = kept::name(&valid.name);
        return Err(ApplyError::Leaving(name));
    }
    if let Some(problem) = in_the_way(&applied) {
        return Ok(Err(problem));
    }
    let (namespace, name, reason) = (&valid.namespace, &valid.name, &next.reason);
    tracing::info!(namespace, name, %reason, "a rollout was looked at and written down");
    let version = applied.version.or(known.version.take());
    known.is_written(good, version);
    Ok(Ok(()))
}

fn in_the_way(applied: &Applied) -> Option<Problem> {
    let (reason, what) = match (applied.taken.first(), applied.refused.first()) {
        (Some(taken), _) => (reasons::NAME_TAKEN, taken.clone()),
        (None, Some(refused)) => (reasons::APPLY_FAILED, refused.clone()),
        (None, None) => return None,
    };
    Some(Problem {
        reason,
        field: "metadata.name".into(),
        message: format!("{what}; nothing changes until the rollout can be written down"),
    })
}

/// What a person wants, if anything is said; it may be no order.
fn order(observed: &Observed) -> Option<Result<Order, NoOrder>> {
    let said = observed.deployment.annotations().get(labels::ROLLOUT)?;
    Some(said.parse())
}

/// Of each router that runs, its run and what it counted of the deployment's revisions.
fn reports(ctx: &Context, valid: &Valid<'_>) -> Vec<(String, BTreeMap<String, RevisionLoad>)> {
    let pods = running_routers(&ctx.cache, &valid.namespace);
    let reports = pods.iter().filter_map(|pod| {
        ctx.loads.of_router(pod, |router| {
            let counts = router.revisions.get(&valid.name).cloned();
            (router.run.clone(), counts.unwrap_or_default())
        })
    });
    reports.collect()
}

/// Where the old replicas are to stop first, those count that are on their way out.
fn seen(observed: &Observed, strategy: Strategy) -> Vec<step::Revision> {
    let revisions = observed.revisions.iter();
    let seen = revisions.map(|revision| match strategy {
        Strategy::Recreate => step::Revision {
            replicas: revision.replicas.max(observed.pods_of(&revision.name)),
            ..revision.as_seen()
        },
        Strategy::Canary | Strategy::Rolling => revision.as_seen(),
    });
    seen.collect()
}

fn before(observed: &Observed) -> Before {
    let status = observed.deployment.status.as_ref();
    let rollout = status.and_then(|status| status.rollout.as_ref());
    rollout.map_or_else(Before::default, |rollout| Before {
        stable: rollout.stable.clone(),
        canary: rollout.canary.clone(),
        weight: rollout.weight,
        step: rollout.step,
        since: rollout.since.as_ref().map(|time| time.0),
    })
}
