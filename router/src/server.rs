//! The client port: its routes, and how an ask begins and ends.

mod asking;
mod betas;
mod boarding;
mod caching;
mod counting;
mod decisions;
mod limiting;
mod models;
mod ready;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::{get, post};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, Version, header};
use tracing::Instrument;
use weir_process::traces;

use crate::decision::{Decision, Outcome};
use crate::decode::Incoming;
use crate::encode;
use crate::limits;
use crate::refusal::{Family, Refusal};
use crate::settle::Unsettled;
use crate::shared::Shared;
use crate::spans;
use crate::wire::Wire;

/// The routes of the client port.
pub(crate) fn routes(shared: Arc<Shared>) -> Router {
    let asked = |wire| post(move |shared, request| ask(shared, wire, request));
    Router::new()
        .route("/v1/chat/completions", asked(Wire::Chat))
        .route("/v1/completions", asked(Wire::Completions))
        .route("/v1/responses", asked(Wire::Responses))
        .route("/v1/responses/input_tokens", post(counting::input_tokens))
        .route(
            "/v1/responses/{*id}",
            get(nothing_stored).delete(nothing_stored),
        )
        .route("/v1/embeddings", asked(Wire::Embeddings))
        .route("/v1/messages", asked(Wire::Messages))
        .route("/v1/messages/count_tokens", post(counting::count_tokens))
        .route("/v1/decisions/{id}", get(decisions::one))
        .route("/v1/feedback", post(decisions::feedback))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*model}", get(models::one))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .with_state(shared)
}

async fn ask(State(shared): State<Arc<Shared>>, wire: Wire, request: Request) -> Response<Body> {
    let (began, time) = (std::time::Instant::now(), jiff::Timestamp::now());
    let decision = Arc::new(Decision::new(shared.ids.next(), began, time));
    let span = spans::ask(wire, &decision.id);
    traces::follow(&span, request.headers());
    decision.state().wire = wire.word();
    let unsettled = Arc::new(Unsettled::new(shared, decision.clone(), span.clone()));
    // Kept until the outcome of a refusal is written.
    let (parts, body) = request.into_parts();
    let mut body = Incoming::new(body, &parts);
    // In a place of its own: on its way through the layers of the server it is moved often.
    let answered = Box::pin(asking::answer(wire, &parts, &mut body, unsettled.clone()));
    let answered = answered.instrument(span).await;
    let standings = unsettled.standings.get().cloned().unwrap_or_default();
    let mut response = match answered {
        Ok(response) => response,
        Err(refusal) => {
            let status = refusal.status().as_u16();
            decision.state().outcome = match &refusal {
                // Its connection ended, or can carry nothing more.
                Refusal::BodyBroken => Outcome::Disconnected,
                _ => Outcome::Refused { status },
            };
            drop(unsettled);
            refuse(wire.into(), &refusal, (&parts, &mut body)).await
        }
    };
    limits::tell(&standings, wire.into(), time, response.headers_mut());
    caching::tell(&decision, &mut response);
    identify_response(&mut response, &decision.id);
    response
}

/// A refusal, once what is left of the request is read: a client that is still writing would lose
/// the answer with its connection, and one that asks again on it the next one.
async fn refuse(
    family: Family,
    refusal: &Refusal,
    (parts, body): (&Parts, &mut Incoming),
) -> Response<Body> {
    let mut response = encode::refuse(family, refusal, false);
    let is_read = match refusal {
        // There is no time to read on.
        Refusal::Ending => false,
        _ => body.discard().await,
    };
    if !is_read && parts.version <= Version::HTTP_11 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// What there would be of an earlier response, had it been stored.
async fn nothing_stored(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let refusal = Refusal::NothingStored;
    with_request_id(&shared, encode::refuse(Family::OpenAI, &refusal, false))
}

async fn nothing(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut body = Incoming::new(body, &parts);
    let refusal = Refusal::NoSuchPath {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
    };
    let response = refuse(family(&parts.headers), &refusal, (&parts, &mut body)).await;
    with_request_id(&shared, response)
}

/// Whose SDK sent these headers, where the path does not tell.
fn family(headers: &HeaderMap) -> Family {
    match headers.contains_key("anthropic-version") {
        true => Family::Anthropic,
        false => Family::OpenAI,
    }
}

fn identify_response(response: &mut Response<Body>, id: &str) {
    with_id(
        response,
        &["x-weir-decision", "x-request-id", "request-id"],
        id,
    );
}

fn with_request_id(shared: &Shared, mut response: Response<Body>) -> Response<Body> {
    with_id(
        &mut response,
        &["x-request-id", "request-id"],
        &shared.ids.next(),
    );
    response
}

fn with_id(response: &mut Response<Body>, names: &[&'static str], id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        for name in names {
            response.headers_mut().insert(*name, value.clone());
        }
    }
}
