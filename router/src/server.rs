//! The phases in their order, for every request that comes in on the client port.

mod betas;
mod boarding;
mod counting;
mod decisions;
mod models;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::{get, post};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, Version, header};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout};
use tracing::{Instrument, Span};
use weir_policy::Plan;
use weir_policy::table::Owner;
use weir_policy::tier::Tier;
use weir_policy::validate::Settings;
use weir_process::traces;

use crate::answer::Event;
use crate::ask::Ask;
use crate::attempt::Pursuit;
use crate::credentials::Credentials;
use crate::decision::{COMMITTED, Decision, Outcome, UNFINISHED};
use crate::decode::{Held, Incoming};
use crate::encode::{self, Encoder};
use crate::flights::{self, Lead};
use crate::identify::identify;
use crate::matching::Matched;
use crate::refusal::{Failure, Family, Refusal};
use crate::route::Crossing;
use crate::settle::Unsettled;
use crate::shared::{Shared, hashed};
use crate::text::Text;
use crate::wire::Wire;
use crate::{admit, decode, matching, plan, spans};
use boarding::Boarded;

/// How far an attempt may run ahead of a client that reads slowly.
const EVENTS_AHEAD: usize = 64;

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
    let answered = answer(wire, &parts, &mut body, unsettled.clone());
    let mut response = match answered.instrument(span).await {
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
    if !body.discard().await && parts.version <= Version::HTTP_11 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// An ask that has passed every phase before the first attempt.
struct Job {
    ready: Ready,
    events: mpsc::Sender<Event>,
    /// A place kept for what ends the ask from outside: however far behind the client reads, it
    /// finds that there.
    last_word: mpsc::OwnedPermit<Event>,
    unsettled: Arc<Unsettled>,
    /// Of a stream under a key.
    _lead: Option<Lead>,
}

async fn answer(
    wire: Wire,
    parts: &Parts,
    body: &mut Incoming,
    unsettled: Arc<Unsettled>,
) -> Result<Response<Body>, Refusal> {
    let shared = unsettled.shared.clone();
    let (identity, key) = (identify(&parts.headers)?, flights::key(&parts.headers)?);
    {
        let view = shared.view.borrow();
        matching::may_ask(&view.table, &identity, &view.credentials)?;
    }
    let (body, held) = meanwhile(&unsettled, body.read(&shared.bodies)).await?;
    let permit = admit::admit(&shared)?;
    let admitted = Instant::now();
    let mut ask = decode::decode(wire, &body)?;
    if wire == Wire::Messages {
        ask.betas = betas::allowed(&parts.headers);
    }
    let key = key.map(|key| (key, boarding::digest(wire, &body)));
    drop(body);
    let view = shared.view.borrow().clone();
    unsettled.decision.state().model.clone_from(&ask.model);
    let matched = matching::find(&view.table, &ask.model, &identity, &view.credentials)?;
    let settings = matched.route.settings.clone();
    write_down(&unsettled, &matched, &ask);
    let boarding = key.map(|(key, digest)| {
        let ticket = boarding::ticket(key, digest, &unsettled.decision, ask.stream);
        shared.flights.board(ticket, admitted)
    });
    let boarded = boarding::boarded(boarding.transpose()?, &unsettled.decision);
    let lead = match meanwhile(&unsettled, boarded).await? {
        Boarded::First(lead) => lead,
        Boarded::Answered(response) => {
            unsettled.decision.state().outcome = boarding::outcome(&response);
            return Ok(response);
        }
    };
    let commit_by = admitted + settings.timeout;
    let crossing = Crossing {
        shared: &shared,
        decision: &unsettled.decision,
        matched: &matched,
        ask: &ask,
        headers: &parts.headers,
        until: commit_by,
    };
    let plan = meanwhile(&unsettled, crossing.plan()).await?;
    let plan = match wire {
        // Vectors of two models have nothing in common.
        Wire::Embeddings => plan.only_first(),
        _ => plan,
    };
    unsettled
        .decision
        .planned(&plan, plan::steps(&settings, &plan, &ask));
    keep_text(&unsettled, &settings, &ask);
    let ready = Ready {
        ask,
        settings,
        plan,
        credentials: view.credentials.clone(),
        commit_by,
        _permit: permit,
        _held: held,
    };
    ready.answer(lead, unsettled).await
}

/// Writes into the decision what is known of an ask once its policy is.
fn write_down(unsettled: &Unsettled, matched: &Matched, ask: &Ask) {
    let shared = &unsettled.shared;
    let settings = &matched.route.settings;
    let mut state = unsettled.decision.state();
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
    state.routed.by = "order";
}

/// An ask that is to be pursued.
struct Ready {
    ask: Ask,
    settings: Arc<Settings>,
    plan: Plan,
    credentials: Arc<Credentials>,
    /// When the first byte must have been committed.
    commit_by: Instant,
    _permit: OwnedSemaphorePermit,
    _held: Held,
}

impl Ready {
    /// Has it pursued, and hands over what comes of that. A whole answer under a key is for whoever waits.
    async fn answer(
        self,
        lead: Option<Lead>,
        unsettled: Arc<Unsettled>,
    ) -> Result<Response<Body>, Refusal> {
        let shared = unsettled.shared.clone();
        let wire = self.ask.wire;
        let headers_after = self.ask.stream.then_some(self.settings.headers_after);
        let (stream_lead, lead) = match self.ask.stream {
            true => (lead, None),
            false => (None, lead),
        };
        let created = jiff::Timestamp::now().as_second();
        let encoder = Encoder::new(&self.ask, &unsettled.decision.id, created);
        let (events, received) = mpsc::channel(EVENTS_AHEAD + 1);
        let last_word = events.clone().try_reserve_owned();
        let job = Job {
            ready: self,
            events,
            last_word: last_word.map_err(|_| Refusal::Defect)?,
            unsettled,
            _lead: stream_lead,
        };
        // The ask outlives this future, which ends with the client: what it holds is settled there.
        shared
            .tasks
            .spawn("ask", job.run().instrument(Span::current()));
        let delivered = deliver(wire, encoder, received, headers_after);
        let Some(lead) = lead else {
            return delivered.await;
        };
        let landing = lead.landing();
        shared
            .tasks
            .spawn("flight", boarding::fly(lead, wire, delivered));
        boarding::landed(landing).await.ok_or(Refusal::Defect)
    }
}

/// Keeps what was asked, where the policy wants texts in its records.
fn keep_text(unsettled: &Unsettled, settings: &Settings, ask: &Ask) {
    unsettled.decision.state().is_redacted = settings.redaction.is_some();
    if settings.records.keeps_text {
        let text = Text::new(unsettled.shared.room.clone(), &ask.body, ask.choices);
        unsettled.decision.keep(text);
    }
}

/// What is waited for before anything works on the ask. A client that leaves meanwhile takes this future
/// with it, without another word.
async fn meanwhile<T>(unsettled: &Unsettled, wait: impl Future<Output = T>) -> T {
    let outcome = |outcome| unsettled.decision.state().outcome = outcome;
    outcome(Outcome::Disconnected);
    let waited = wait.await;
    outcome(Outcome::default());
    waited
}

/// Hands an answer over: whole, or as it comes. The headers of a stream wait for its first event,
/// but no longer than `headers_after`.
async fn deliver(
    wire: Wire,
    encoder: Encoder,
    mut received: mpsc::Receiver<Event>,
    headers_after: Option<Duration>,
) -> Result<Response<Body>, Refusal> {
    let Some(headers_after) = headers_after else {
        return Ok(match encoder.whole(received).await {
            Ok(whole) => encode::respond(&whole),
            Err((refusal, money_was_spent)) => {
                encode::refuse(wire.into(), &refusal, money_was_spent)
            }
        });
    };
    Ok(match timeout(headers_after, received.recv()).await {
        Ok(Some(Event::Fail {
            refusal,
            money_was_spent,
        })) => encode::refuse(wire.into(), &refusal, money_was_spent),
        Ok(Some(first)) => {
            let begin = match &first {
                Event::Begin(begin) => begin.clone(),
                _ => Default::default(),
            };
            let mut response = encode::stream_response(encoder.stream(Some(first), received));
            encode::begin_headers(&begin, response.headers_mut());
            response
        }
        Ok(None) => return Err(Refusal::Defect),
        Err(_) => encode::stream_response(encoder.stream(None, received)),
    })
}

impl Job {
    /// Pursues the ask until it is answered, its time or the process's is up, or nobody listens.
    async fn run(self) {
        let decision = &self.unsettled.decision;
        let ready = &self.ready;
        let steps: Vec<Tier> = ready.plan.steps();
        let mut pursuit = Pursuit {
            shared: &self.unsettled.shared,
            credentials: &ready.credentials,
            ask: &ready.ask,
            settings: &ready.settings,
            decision,
            out: &self.events,
            commit_by: ready.commit_by,
        };
        let pursued = timeout(ready.settings.max_duration, pursuit.run(&steps));
        tokio::select! {
            biased;
            pursued = pursued => if pursued.is_err() {
                let is_read = self.events.capacity() > 0;
                self.last_word.send(out_of_time(decision, is_read));
            },
            () = self.unsettled.shared.shutdown.closing() => {
                self.last_word.send(refused(decision, Refusal::Ending));
            }
            () = self.events.closed() => {}
        }
        let mut state = decision.state();
        if state.outcome == Outcome::Broken && self.events.is_closed() {
            state.outcome = Outcome::Disconnected;
        }
    }
}

/// Ends the decision of an ask that has taken all the time there is for one. If what came was read,
/// its tier was too slow.
fn out_of_time(decision: &Decision, is_read: bool) -> Event {
    if let Some(attempt) = decision.state().attempts.last_mut()
        && matches!(attempt.outcome, COMMITTED | UNFINISHED)
        && is_read
    {
        attempt.outcome = "too_slow";
    }
    let attempts = decision.history();
    let tier = attempts
        .last()
        .map(|(tier, _)| tier.clone())
        .unwrap_or_default();
    let refusal = Refusal::Failed {
        last: Failure::TooSlow { tier },
        attempts,
    };
    refused(decision, refusal)
}

/// Ends the decision of an ask from outside.
fn refused(decision: &Decision, refusal: Refusal) -> Event {
    decision.state().outcome = Outcome::Refused {
        status: refusal.status().as_u16(),
    };
    Event::Fail {
        refusal,
        money_was_spent: decision.money_was_spent(),
    }
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
