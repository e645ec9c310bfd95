//! An ask that has its tiers: the task that asks them, and how what comes of it is handed over.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Response;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep, timeout};
use weir_policy::tier::Tier;
use weir_policy::validate::Settings;

use super::boarding;
use crate::admit::Place;
use crate::answer::Event;
use crate::ask::Ask;
use crate::attempt::{Frugality, Pursuit, Trail};
use crate::cache::{Answer, replay};
use crate::credentials::Credentials;
use crate::decision::{COMMITTED, Decision, Outcome, UNFINISHED};
use crate::decode::Held;
use crate::encode::{self, Encoder};
use crate::flights::Lead;
use crate::plan::Course;
use crate::refusal::{Failure, Refusal};
use crate::settle::Unsettled;
use crate::sticky::Conversation;
use crate::wire::Wire;

/// How far an attempt may run ahead of a client that reads slowly.
const EVENTS_AHEAD: usize = 32;

/// Where the answer comes from.
pub(super) enum Source {
    /// One of these tiers.
    Tiers(Course),
    /// An earlier ask.
    Earlier(Arc<Answer>),
}

/// An ask that has passed every phase before the first attempt.
pub(super) struct Ready {
    pub(super) ask: Ask,
    pub(super) settings: Arc<Settings>,
    pub(super) source: Source,
    /// That stays at the tier it was raised to.
    pub(super) conversation: Option<Conversation>,
    pub(super) credentials: Arc<Credentials>,
    /// When the first byte must have been committed.
    pub(super) commit_by: Instant,
    pub(super) frugality: Frugality,
    pub(super) _permit: OwnedSemaphorePermit,
    pub(super) _place: Place,
    pub(super) held: Held,
}

impl Ready {
    /// Has it pursued, and hands over what comes of that. A whole answer under a key is for whoever waits.
    pub(super) async fn answer(
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
        let room = shared.answers.part();
        let encoder = Encoder::new(&self.ask, &unsettled.decision.id, created, room);
        let encoder = encoder.of(unsettled.decision.clone());
        // A whole answer may yet be refused when all of it is there; a stream is read by its client, who may
        // take his time.
        let gathered = headers_after.is_none().then(|| unsettled.clone());
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
        shared.tasks.spawn("ask", job.run());
        let delivered = async move {
            let response = deliver(wire, encoder, received, headers_after).await;
            drop(gathered);
            response
        };
        let Some(lead) = lead else {
            return Ok(delivered.await);
        };
        let landing = lead.landing();
        shared.tasks.spawn("flight", boarding::fly(lead, delivered));
        boarding::landed(landing).await.ok_or(Refusal::Defect)
    }
}

/// The task of an ask.
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

/// Hands an answer over: whole, or as it comes. The headers of a stream wait for its first event,
/// but no longer than `headers_after`.
async fn deliver(
    wire: Wire,
    encoder: Encoder,
    mut received: mpsc::Receiver<Event>,
    headers_after: Option<Duration>,
) -> Response<Body> {
    let Some(headers_after) = headers_after else {
        return match encoder.whole(received).await {
            Ok(whole) => encode::respond(whole),
            Err((refusal, money_was_spent)) => {
                encode::refuse(wire.into(), &refusal, money_was_spent)
            }
        };
    };
    match timeout(headers_after, received.recv()).await {
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
        // What the ask had done by then nobody knows.
        Ok(None) => encode::refuse(wire.into(), &Refusal::Defect, true),
        Err(_) => encode::stream_response(encoder.stream(None, received)),
    }
}

impl Job {
    /// Pursues the ask until it is answered, its time or the process's is up, or nobody listens.
    async fn run(self) {
        let decision = &self.unsettled.decision;
        let ready = &self.ready;
        tokio::select! {
            biased;
            () = self.tell() => {}
            is_read = up(ready.settings.max_duration, &self.events) => {
                self.last_word.send(out_of_time(decision, is_read));
            }
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

    /// Tells the client what its tiers answer, or what an earlier ask was answered.
    async fn tell(&self) {
        let ready = &self.ready;
        let decision = &self.unsettled.decision;
        let course = match &ready.source {
            Source::Tiers(course) => course,
            Source::Earlier(answer) => return replay(answer, decision, &self.events).await,
        };
        let steps: Vec<Tier> = course.plan.steps();
        let mut pursuit = Pursuit {
            shared: &self.unsettled.shared,
            credentials: &ready.credentials,
            ask: &ready.ask,
            body_bytes: ready.held.length as u64,
            settings: &ready.settings,
            decision,
            out: &self.events,
            commit_by: ready.commit_by,
            trail: Trail::default(),
            has_above: false,
            spare: course.spare.steps(),
            frugality: ready.frugality.clone(),
        };
        pursuit.run(&steps).await;
        if let (Some(conversation), Outcome::Answered { tier, .. }) =
            (ready.conversation, &decision.state().outcome)
            && let Some(first) = steps.first()
        {
            let tiers = &ready.settings.tiers;
            let place = |name: &str| tiers.iter().position(|of| of.name() == name);
            if place(tier) <= place(first.name()) {
                return;
            }
            let raised = &self.unsettled.shared.raised;
            raised.raise(conversation, tier, Instant::now());
        }
    }
}

/// Waits until all the time there is for an ask is up, and says whether the client has read what there
/// was room for. Asked while the ask is still pursued: a piece that waits holds every place there is.
async fn up(max_duration: Duration, events: &mpsc::Sender<Event>) -> bool {
    sleep(max_duration).await;
    events.capacity() > 0
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
