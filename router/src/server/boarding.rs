//! Asks under an `Idempotency-Key`: the first is answered, whoever asks the same meanwhile gets its answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::{HeaderMap, Response};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;
use weir_policy::validate::Settings;

use super::betas;
use crate::decision::{Decision, Outcome};
use crate::flights::{Boarding, Landed, Lead, Ticket};
use crate::refusal::Refusal;
use crate::route::PIN;
use crate::shared::Shared;
use crate::wire::Wire;

type Landing = watch::Receiver<Option<Arc<Landed>>>;

/// Of all that is asked: the body, and the headers that say what is done with it. One that is not there
/// counts for nothing, so that a policy that begins to look for another makes no difference to those who
/// do not send it.
pub(super) fn digest(
    (wire, body): (Wire, &[u8]),
    headers: &HeaderMap,
    settings: &Settings,
) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut add = |part: &[u8]| {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    };
    add(wire.word().as_bytes());
    add(body);
    for name in deciding(settings) {
        for value in headers.get_all(&name) {
            add(name.as_bytes());
            add(value.as_bytes());
        }
    }
    digest.finalize().into()
}

/// The headers that change what is done: a pin, betas, and whatever the policy looks at.
pub(super) fn deciding(settings: &Settings) -> BTreeSet<String> {
    let rules = settings.rules.iter();
    let by_rules = rules.filter_map(|rule| rule.when.header.as_ref());
    let looked_at = settings.private_when.iter().chain(by_rules);
    let looked_at = looked_at.map(|header| header.name.to_ascii_lowercase());
    let always = [PIN, betas::HEADER].map(str::to_owned);
    always.into_iter().chain(looked_at).collect()
}

/// The ticket of an ask under `key`.
pub(super) fn ticket(key: String, digest: [u8; 32], decision: &Decision, stream: bool) -> Ticket {
    Ticket {
        tenant: decision.state().tenant.clone(),
        key,
        digest,
        decision: decision.id.clone(),
        is_stream: stream,
    }
}

/// Where an ask is not the first under its key, what becomes of it.
pub(super) enum Boarded {
    First(Option<Lead>),
    Answered(Response<Body>),
}

/// Waits for the answer of the first under the key, if this is another.
pub(super) async fn board(
    shared: &Shared,
    ticket: Option<Ticket>,
    now: Instant,
    decision: &Decision,
) -> Result<Boarded, Refusal> {
    let Some(ticket) = ticket else {
        return Ok(Boarded::First(None));
    };
    let (first, landing) = match shared.flights.board(ticket, now)? {
        Boarding::Lead(lead) => return Ok(Boarded::First(Some(lead))),
        Boarding::Join { decision, landing } => (decision, landing),
    };
    {
        let mut state = decision.state();
        state.routed.by = "joined";
        state.routed.why = format!("the answer of {first}");
    }
    let landed = landed(landing).await.ok_or(Refusal::InHand)?;
    Ok(Boarded::Answered(landed))
}

/// How an ask ended that got the answer of another.
pub(super) fn outcome(response: &Response<Body>) -> Outcome {
    match response.status().as_u16() {
        200 => Outcome::Joined,
        status => Outcome::Refused { status },
    }
}

/// The answer, once it is here; nothing where whoever had it in hand has left.
pub(super) async fn landed(mut landing: Landing) -> Option<Response<Body>> {
    let landed = landing.wait_for(Option::is_some).await.ok()?.clone()?;
    let mut response = Response::new(Body::from(landed.body.clone()));
    *response.status_mut() = landed.status;
    *response.headers_mut() = landed.headers.clone();
    Some(response)
}

/// Has the ask of `lead` answered whoever stays to hear it, for as long as anybody may come back.
pub(super) async fn fly(lead: Lead, answered: impl Future<Output = Response<Body>>) {
    let response = tokio::select! {
        answered = answered => answered,
        () = lead.abandoned() => return,
    };
    let (parts, body) = response.into_parts();
    // It is in memory already, and its length bounded where it was gathered.
    if let Ok(body) = to_bytes(body, usize::MAX).await {
        let landed = Landed {
            status: parts.status,
            headers: parts.headers,
            body,
        };
        lead.land(landed, Instant::now());
    }
}
