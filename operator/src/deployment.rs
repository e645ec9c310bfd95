//! The reconcile of one deployment.

pub mod asked;
pub mod began;
pub mod cause;
pub mod desired;
pub mod entry;
pub mod kept;
pub mod last_good;
pub mod leaving;
pub mod look;
pub mod observe;
pub mod profile;
pub mod refresh;
pub mod rollout;
pub mod status;
pub mod validate;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::Api;
use weir_crds::{SLMDeployment, ScalingDecision, labels};
use weir_policy::rollout::state::LONGEST_LOOK;
use weir_policy::validate::Problem;

use crate::apply::{Applied, ApplyError};
use crate::condition;
use crate::context::Context;
use crate::object::{Kind, Live, STABLE};
use crate::queue::Outcome;
use began::Began;
use desired::{Desired, Given};
use entry::Entry;
use last_good::LastGood;
use observe::Observed;
use profile::Filled;
use rollout::{Pins, Plan, Revision};
use status::Decided;
use validate::Valid;

/// How far a download is, is told as often: a rate is one over ten seconds.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Whether it is its turn to be replaced, is asked as often.
const TURN_EVERY: Duration = Duration::from_secs(20);

/// One pass over the deployment of this name, at `now`.
pub async fn reconcile(
    ctx: &Context,
    (namespace, name): (&str, &str),
    now: Timestamp,
) -> Result<Outcome, ApplyError> {
    let Some(observed) = Observed::look(ctx, namespace, name) else {
        ctx.entries.named_by(namespace, name, None);
        ctx.scales.forget(namespace, name);
        let of = (namespace.to_owned(), name.to_owned());
        ctx.rollouts.forget(&of);
        ctx.upgrades.tell(&of, false);
        return forget(ctx, namespace, name).await;
    };
    if observed.deployment.metadata.deletion_timestamp.is_some() {
        give_up_turn(ctx, &observed);
        // Whoever deletes it said what becomes of what it owns; the garbage collector does it.
        return Ok(Outcome::Settled);
    }
    if observed.chat_template == Some(Entry::Unseen) {
        // The watch that has just begun wakes us.
        return Ok(Outcome::Settled);
    }
    let filled = Filled::of(&observed.deployment, &ctx.settings.profiles);
    let valid = filled.validate(observed.chat_template.as_ref());
    match valid.and_then(|valid| validate::with_image(valid, &ctx.settings)) {
        Ok(valid) => {
            Pass {
                ctx,
                observed: &observed,
                problems: &[],
                now,
            }
            .over(valid)
            .await
        }
        Err(problems) => refuse(ctx, &observed, &problems, now).await,
    }
}

/// The spec cannot be made: what it was before goes on, if that is known, and the status says what is wrong.
async fn refuse(
    ctx: &Context,
    observed: &Observed,
    problems: &[Problem],
    now: Timestamp,
) -> Result<Outcome, ApplyError> {
    let last = LastGood::of(observed);
    if let Some(valid) = last.as_ref().and_then(LastGood::valid) {
        let pass = Pass {
            ctx,
            observed,
            problems,
            now,
        };
        return pass.over(valid).await;
    }
    give_up_turn(ctx, observed);
    tell(ctx, observed, &Decided::Refused(problems), now).await?;
    Ok(Outcome::Settled)
}

/// Others may be replaced meanwhile.
fn give_up_turn(ctx: &Context, observed: &Observed) {
    let of = &observed.deployment;
    let of = (of.namespace().unwrap_or_default(), of.name_any());
    ctx.upgrades.tell(&of, false);
}

/// One pass over a deployment of which something can be made.
struct Pass<'a> {
    ctx: &'a Context,
    observed: &'a Observed,
    /// What is wrong with the spec, where the one before is what goes on.
    problems: &'a [Problem],
    now: Timestamp,
}

impl Pass<'_> {
    async fn over(&self, mut valid: Valid<'_>) -> Result<Outcome, ApplyError> {
        let (ctx, observed, now) = (self.ctx, self.observed, self.now);
        let decisions = scale(ctx, observed, &mut valid);
        let is_last = !self.problems.is_empty();
        let looked = look::look(ctx, observed, (&valid, is_last), now).await?;
        let (asked, plan) = match looked {
            Ok(looked) => looked,
            Err(problem) => {
                give_up_turn(ctx, observed);
                tell(ctx, observed, &Decided::Refused(&[problem]), now).await?;
                return Ok(Outcome::Failed);
            }
        };
        let desired = made(ctx, observed, &valid, (&plan, asked.began.as_ref()));
        spare(ctx, observed, &plan, now).await;
        // Its pods stay as they are where they would be made in another way today.
        let is_exact = desired.revision == plan.wanted;
        let makes = is_exact && plan.makes_wanted();
        let objects = match makes {
            true => desired.objects(),
            false => desired.shared(),
        };
        let applied = ctx
            .writer
            .apply(&objects, &observed.owned, |live| {
                stays(live, &plan) || kept::is_kept(live, &valid.name)
            })
            .await?;
        resize(ctx, observed, &plan, makes.then_some(&*desired.revision)).await?;
        let (stale, hash) = refresh::stale(observed, &desired);
        for pod in stale {
            ctx.writer.annotate(pod, (refresh::ANNOTATION, &hash)).await;
        }
        let decided = Decided::Made {
            plan: &plan,
            replicas: valid.replicas,
            decisions: decisions.as_deref(),
            applied: &applied,
            problems: self.problems,
        };
        tell(ctx, observed, &decided, now).await?;
        Ok(outcome(observed, &applied, (&plan, asked.waits)))
    }
}

/// Takes over how many replicas are wanted by demand; the decisions that led there. Nothing where somebody
/// else owns the count.
fn scale(
    ctx: &Context,
    observed: &Observed,
    valid: &mut Valid<'_>,
) -> Option<Vec<ScalingDecision>> {
    let Some(bounds) = valid.scaled else {
        ctx.scales.forget(&valid.namespace, &valid.name);
        return None;
    };
    let scaled = ctx.scales.of(&observed.deployment, bounds, || {
        there_is(observed).map_or(valid.replicas, |there_is| bounds.within(there_is))
    });
    valid.replicas = scaled.wanted;
    Some(scaled.decisions)
}

/// How many replicas there were to be, which goes on until demand is known. While a rollout goes on they are
/// neither revision's.
fn there_is(observed: &Observed) -> Option<u32> {
    match &observed.revisions[..] {
        [] => None,
        [only] => Some(only.wanted),
        several => {
            let status = observed.deployment.status.as_ref();
            let sum = several.iter().map(|revision| revision.wanted).sum();
            Some(status.map_or(sum, |status| status.desired_replicas))
        }
    }
}

/// Where there are to be fewer replicas, says which of them have least to lose.
async fn spare(ctx: &Context, observed: &Observed, plan: &Plan, now: Timestamp) {
    let canary = plan.canary.iter().map(|name| (name, plan.shares.canary));
    for (revision, replicas) in canary.chain([(&plan.stable, plan.shares.stable)]) {
        for (pod, cost) in leaving::costs(observed, revision, replicas, now) {
            ctx.writer.annotate(pod, (leaving::ANNOTATION, cost)).await;
        }
    }
}

/// Gives each revision that is served its count and its label, but the one that was made just now.
async fn resize(
    ctx: &Context,
    observed: &Observed,
    plan: &Plan,
    made: Option<&str>,
) -> Result<(), ApplyError> {
    for (revision, replicas, role) in plan.served() {
        let mut live = observed.owned.iter();
        let live = live.find(|live| {
            live.kind == Kind::Deployment && live.label(labels::REVISION) == Some(revision)
        });
        let is_so = |seen: &Revision| {
            seen.name == revision && seen.stable == (role == STABLE) && seen.wanted == replicas
        };
        let is_so = observed.revisions.iter().any(is_so);
        if let Some(live) = live.filter(|_| made != Some(revision) && !is_so) {
            ctx.writer.serve(live, (role, replicas)).await?;
        }
    }
    Ok(())
}

fn made(
    ctx: &Context,
    observed: &Observed,
    valid: &Valid<'_>,
    (plan, began): (&Plan, Option<&Began>),
) -> Desired {
    let mut revisions = observed.revisions.iter();
    let there = revisions.find(|revision| revision.name == plan.wanted);
    let pins = there
        .and_then(|revision| revision.pins.clone())
        .or_else(|| first_found(observed, &plan.wanted));
    let given = Given {
        began,
        pins: pins.as_ref(),
        canary: plan.is_on_trial(),
        replicas: Some(plan.replicas_of_wanted()),
    };
    desired::desired(valid, &ctx.settings, given)
}

/// What the first replica that is ready found at the source.
fn first_found(observed: &Observed, revision: &str) -> Option<Pins> {
    let mut ready: Vec<_> = observed
        .replicas_of(revision)
        .filter(|replica| replica.ready)
        .collect();
    ready.sort_by_key(|replica| replica.pod.metadata.creation_timestamp.clone());
    let loads = ready.into_iter().filter_map(|replica| replica.load.clone());
    let model = loads.filter_map(|load| load.model).next()?;
    Some(Pins {
        digest: model.digest,
        resolved: Some(model.revision).filter(|revision| !revision.is_empty()),
    })
}

/// What is of a revision that may not go yet.
fn stays(live: &Live, plan: &Plan) -> bool {
    let revision = live.label(labels::REVISION);
    revision.is_some_and(|revision| !plan.retire.iter().any(|gone| gone == revision))
}

fn outcome(observed: &Observed, applied: &Applied, (plan, waits): (&Plan, bool)) -> Outcome {
    if !applied.taken.is_empty() || !applied.refused.is_empty() || applied.leaving {
        // What is in the way belongs to somebody else, so that no watch of ours tells when it goes. A step of
        // a rollout counts no more than this of the time between two looks.
        return match plan.again {
            Some(_) => Outcome::FailedFor(LONGEST_LOOK),
            None => Outcome::Failed,
        };
    }
    let mut loads = observed
        .replicas
        .iter()
        .filter_map(|replica| replica.load.as_ref());
    let tells = loads.any(|load| load.arriving.is_some());
    let again = plan.again.into_iter().chain(tells.then_some(TELL_EVERY));
    let again = again.chain(waits.then_some(TURN_EVERY));
    again.min().map_or(Outcome::Settled, Outcome::Again)
}

async fn tell(
    ctx: &Context,
    observed: &Observed,
    decided: &Decided<'_>,
    now: Timestamp,
) -> Result<(), ApplyError> {
    let deployment = &observed.deployment;
    let before = deployment.status.as_ref();
    let status = status::status(observed, decided, now);
    ctx.writer.status(deployment, before, &status).await?;
    let conditions = before.map_or(&[][..], |before| &before.conditions);
    if let Some(event) = condition::event(conditions, &status.conditions) {
        ctx.writer.event(deployment, event).await;
    }
    Ok(())
}

/// The deployment is gone: what it owned goes, also where no garbage collector runs. What was
/// orphaned on purpose has no owner any more and stays.
async fn forget(ctx: &Context, namespace: &str, name: &str) -> Result<Outcome, ApplyError> {
    let mut owned = observe::owned(&ctx.cache, namespace, name);
    owned.retain(|live| live.object.metadata.owner_references.is_some());
    if owned.is_empty() {
        return Ok(Outcome::Settled);
    }
    // The cache may not have heard of one that was just made: nothing goes on old news.
    let api: Api<SLMDeployment> = Api::namespaced(ctx.client.clone(), namespace);
    let found = api.get_metadata_opt(name).await;
    let found = found.map_err(|source| ApplyError::Api {
        step: "read",
        name: format!("SLMDeployment {name}"),
        source,
    })?;
    if found.is_some() {
        return Ok(Outcome::Failed);
    }
    ctx.writer.apply(&[], &owned, |_| false).await?;
    Ok(Outcome::Settled)
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
