//! How many tokens a prompt has: `/v1/messages/count_tokens` and `/v1/responses/input_tokens`.
//!
//! Counted by the tier that would be asked first: a worker's own tokenizer and template, or the
//! endpoint where its wire can count. Where it cannot, about four bytes are a token, and the answer
//! says that it is an estimate. A count is limited as an ask is, and comes to no tokens.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use http::{HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use weir_policy::tier::Tier;
use weir_policy::validate::Settings;

use super::limiting::{self, Limiting};
use super::with_request_id;
use crate::ask::Ask;
use crate::attempt::counting;
use crate::credentials::Credentials;
use crate::decision::Decision;
use crate::decode::{self, Incoming};
use crate::encode;
use crate::identify::identify;
use crate::inquiry::Inquiry;
use crate::limits::{self, Standing};
use crate::refusal::Refusal;
use crate::route::Crossing;
use crate::shared::{Shared, hashed};
use crate::wire::Wire;
use crate::{admit, matching};

/// A count that takes longer is not worth waiting for.
const LONGEST_COUNT: Duration = Duration::from_secs(10);
/// On an answer that nobody has counted.
const ESTIMATED: &str = "x-weir-estimated";

pub(super) async fn count_tokens(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Response<Body> {
    answer(
        &shared,
        Wire::Messages,
        request,
        |tokens| json!({ "input_tokens": tokens }),
    )
    .await
}

pub(super) async fn input_tokens(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Response<Body> {
    answer(
        &shared,
        Wire::Responses,
        request,
        |tokens| json!({ "object": "response.input_tokens", "input_tokens": tokens }),
    )
    .await
}

async fn answer(
    shared: &Arc<Shared>,
    wire: Wire,
    request: Request,
    said: impl Fn(u64) -> Value,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut body = Incoming::new(body, &parts);
    let standings = OnceLock::new();
    let counted = shared.unless_closing(count((shared, wire), &parts, &mut body, &standings));
    let mut response = match counted.await {
        Ok((tokens, is_estimate)) => {
            let mut response = encode::json_response(StatusCode::OK, &said(tokens));
            if is_estimate {
                let headers = response.headers_mut();
                headers.insert(ESTIMATED, HeaderValue::from_static("true"));
            }
            response
        }
        Err(refusal) => super::refuse(wire.into(), &refusal, (&parts, &mut body)).await,
    };
    let standings = standings.into_inner().unwrap_or_default();
    limits::tell(
        &standings,
        wire.into(),
        Timestamp::now(),
        response.headers_mut(),
    );
    with_request_id(shared, response)
}

/// The tokens of a prompt, and whether that is an estimate.
async fn count(
    (shared, wire): (&Shared, Wire),
    parts: &http::request::Parts,
    body: &mut Incoming,
    standings: &OnceLock<Vec<Standing>>,
) -> Result<(u64, bool), Refusal> {
    let identity = identify(&parts.headers)?;
    let view = shared.view.borrow().clone();
    matching::may_ask(&view.table, &identity, &view.credentials)?;
    let sender = matching::sender(&view.table, &identity, &view.credentials);
    let (body, _held) = body.read(&shared.bodies, &sender).await?;
    let _permit = admit::admit(shared)?;
    let mut object = decode::object(&body)?;
    if wire == Wire::Messages {
        // How long the answer may be is no part of the question.
        object.entry("max_tokens").or_insert_with(|| 1.into());
    }
    let mut ask = decode::of_object(wire, object)?;
    ask.betas = super::betas::allowed(&parts.headers);
    let matched = matching::find(&view.table, &ask.model, &identity, &view.credentials)?;
    let free = shared.asks.available_permits();
    let _place = shared.places.take(&limiting::sharer(&matched), free)?;
    if let Some(limiting) = Limiting::of(shared, &matched, view.routers) {
        let counted = limiting.count_one();
        let _ = standings.set(limiting.standings());
        counted?;
    }
    let settings = &matched.route.settings;
    let until = Instant::now() + LONGEST_COUNT;
    // What was decided on the way is not kept, as nothing was answered.
    let (began, now) = (std::time::Instant::now(), Timestamp::now());
    let decision = Decision::new(shared.ids.next(), began, now);
    // Whose beginnings of prompts a classifier may share.
    decision.state().tenant = matched.tenant.as_deref().map(hashed).unwrap_or_default();
    let crossing = Crossing {
        shared,
        decision: &decision,
        matched: &matched,
        ask: &ask,
        headers: &parts.headers,
        until,
    };
    let first = crossing.plan().await?.plan.steps().into_iter().next();
    let estimate = (ask.prompt_estimate(), true);
    let Some(tier) = first else {
        return Ok(estimate);
    };
    let tenant = decision.state().tenant.clone();
    let counted = by_tier(
        shared,
        &view.credentials,
        (settings, &tier),
        (&ask, decision.draws(0), &tenant),
        until,
    );
    let counted = timeout_at(until, counted).await;
    Ok(match counted {
        Ok(Some(tokens)) => (tokens, false),
        Ok(None) | Err(_) => estimate,
    })
}

async fn by_tier(
    shared: &Shared,
    own: &Credentials,
    (settings, tier): (&Settings, &Tier),
    (ask, draws, tenant): (&Ask, [u64; 2], &str),
    until: Instant,
) -> Option<u64> {
    match tier.deployment() {
        Some(_) => {
            let inquiry = Inquiry {
                shared,
                ask,
                tenant: String::new(),
                draws,
                until,
            };
            inquiry.tokens(tier).await.ok()
        }
        None => counting::at_endpoint(shared, own, (settings, tier), (ask, tenant), until).await,
    }
}
