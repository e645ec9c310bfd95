//! The phases of an ask before its first attempt, in their order.

use std::sync::Arc;

use axum::body::Body;
use http::request::Parts;
use http::{HeaderMap, Response};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use weir_policy::Egress;
use weir_policy::table::Owner;
use weir_policy::validate::Settings;

use super::betas;
use super::boarding::{self, Boarded};
use super::caching::Caching;
use super::limiting::{self, Limiting};
use super::ready::{Ready, Source};
use crate::ask::Ask;
use crate::attempt::Frugality;
use crate::counterfactual::Reference;
use crate::decision::Outcome;
use crate::decode::{Held, Incoming};
use crate::flights;
use crate::identify::{Identity, identify};
use crate::matching::Matched;
use crate::plan::Course;
use crate::refusal::Refusal;
use crate::route::Crossing;
use crate::settle::Unsettled;
use crate::shared::hashed;
use crate::text::Text;
use crate::wire::Wire;
use crate::{admit, decode, matching, money, plan};

/// Takes an ask through all phases, and answers it.
pub(super) async fn answer(
    wire: Wire,
    parts: &Parts,
    body: &mut Incoming,
    unsettled: Arc<Unsettled>,
) -> Result<Response<Body>, Refusal> {
    let shared = unsettled.shared.clone();
    let headers = &parts.headers;
    let (identity, key) = (identify(headers)?, flights::key(headers)?);
    let (heard, body) = hear((wire, headers), body, &identity, &unsettled).await?;
    let view = shared.view.borrow().clone();
    let (ask, admitted) = (&heard.ask, heard.admitted);
    let matched = matching::find(&view.table, &ask.model, &identity, &view.credentials)?;
    let settings = matched.route.settings.clone();
    write_down(&unsettled, &matched, (ask, headers));
    let free = shared.asks.available_permits();
    let place = shared.places.take(&limiting::sharer(&matched), free)?;
    let limiting = Limiting::of(&shared, &matched, view.routers);
    let ticket = key.map(|key| {
        let digest = boarding::digest((wire, &body), headers, &settings);
        boarding::ticket(key, digest, &unsettled.decision, ask.stream)
    });
    drop(body);
    let boarding = boarding::board(&shared, ticket, admitted, &unsettled.decision);
    let lead = match meanwhile(&unsettled, boarding).await? {
        Boarded::First(lead) => lead,
        Boarded::Answered(response) => {
            unsettled.decision.state().outcome = boarding::outcome(&response);
            if let Some(limiting) = &limiting {
                limiting.tell(&unsettled);
            }
            return Ok(response);
        }
    };
    let caching = Caching::of(&view, &matched, (ask, headers));
    let earlier = caching.and_then(|caching| caching.answer(&unsettled));
    if let Some(limiting) = &limiting {
        limiting.reserve(&unsettled, (ask, earlier.is_none()))?;
    }
    let commit_by = admitted + settings.timeout;
    let crossing = Crossing {
        shared: &shared,
        decision: &unsettled.decision,
        matched: &matched,
        ask,
        headers,
        until: commit_by,
    };
    let conversation = crossing.conversation();
    let (source, frugality) = match earlier {
        Some(answer) => (Source::Earlier(answer), Frugality::default()),
        None => {
            let (course, frugality) = planned(&unsettled, crossing).await?;
            (Source::Tiers(course), frugality)
        }
    };
    keep_text(&unsettled, &settings, ask);
    let ready = Ready {
        commit_by,
        ask: heard.ask,
        settings,
        source,
        conversation,
        frugality,
        credentials: view.credentials.clone(),
        _permit: heard.permit,
        _place: place,
        held: heard.held,
    };
    ready.answer(lead, unsettled).await
}

/// A request that was read and understood, and has a place among those that are worked on.
struct Heard {
    ask: Ask,
    admitted: Instant,
    permit: OwnedSemaphorePermit,
    held: Held,
}

/// Reads a request, unless nobody with this key may ask anything. Its bytes are there as well.
async fn hear(
    (wire, headers): (Wire, &HeaderMap),
    body: &mut Incoming,
    identity: &Identity,
    unsettled: &Unsettled,
) -> Result<(Heard, Vec<u8>), Refusal> {
    let shared = &unsettled.shared;
    let sender = {
        let view = shared.view.borrow();
        matching::may_ask(&view.table, identity, &view.credentials)?;
        matching::sender(&view.table, identity, &view.credentials)
    };
    let read = body.read(&shared.bodies, &sender);
    let (body, held) = meanwhile(unsettled, read).await?;
    let permit = admit::admit(shared)?;
    let admitted = Instant::now();
    let mut ask = decode::decode(wire, &body)?;
    if wire == Wire::Messages {
        ask.betas = betas::allowed(headers);
    }
    unsettled.decision.state().model.clone_from(&ask.model);
    let heard = Heard {
        ask,
        admitted,
        permit,
        held,
    };
    Ok((heard, body))
}

/// Writes into the decision what is known of an ask once its policy is. Nothing is waited for before, so
/// that it holds as well of an ask that comes no further.
fn write_down(unsettled: &Unsettled, matched: &Matched, (ask, headers): (&Ask, &HeaderMap)) {
    let shared = &unsettled.shared;
    let settings = &matched.route.settings;
    let mut state = unsettled.decision.state();
    state.has_route = true;
    state.is_private = plan::egress(settings, headers) == Egress::Denied;
    state.redacted = settings.redaction.as_ref().map(|_| 0);
    if let Owner::Policy(policy) = &matched.route.owner {
        state.policy.clone_from(&policy.name);
        state.generation = policy.generation;
        if let Some(store) = &settings.records.store {
            let outbox = shared.stores.outbox(&policy.name, store);
            let _ = unsettled.outbox.set(outbox);
        }
    }
    state.tenant = matched.tenant.as_deref().map(hashed).unwrap_or_default();
    state.is_streamed = ask.stream;
    state.reference = Reference::of(settings);
    state.routed.by = "order";
}

/// The tiers for the ask that there is money for.
async fn planned(
    unsettled: &Unsettled,
    crossing: Crossing<'_>,
) -> Result<(Course, Frugality), Refusal> {
    let mut course = meanwhile(unsettled, crossing.plan()).await?;
    if crossing.ask.wire == Wire::Embeddings {
        // Vectors of two models have nothing in common.
        course.plan = course.plan.only_first();
    }
    let settings = &crossing.matched.route.settings;
    let steps = plan::steps(settings, &course, crossing.ask);
    unsettled.decision.planned(steps);
    let (shared, decision) = (&unsettled.shared, &unsettled.decision);
    let Course { plan, spare } = course;
    let (plan, frugality) =
        money::within(shared, decision, settings, (plan, &spare, crossing.ask))?;
    Ok((Course { plan, spare }, frugality))
}

/// Keeps what was asked, where the policy wants texts in its records.
fn keep_text(unsettled: &Unsettled, settings: &Settings, ask: &Ask) {
    if settings.records.keeps_text {
        let text = Text::new(unsettled.shared.texts.part(), &ask.body, ask.choices);
        unsettled.decision.keep(text);
    }
}

/// What is waited for before anything works on the ask, unless the process ends first. A client that
/// leaves meanwhile takes this future with it, without another word.
async fn meanwhile<T>(
    unsettled: &Unsettled,
    wait: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let outcome = |outcome| unsettled.decision.state().outcome = outcome;
    outcome(Outcome::Disconnected);
    let waited = unsettled.shared.unless_closing(wait).await;
    outcome(Outcome::default());
    waited
}
