//! Phase 8: what follows when an ask is over. It always runs: after an answer, an error, a client
//! that left, a panic, the end of the process.

use std::sync::{Arc, OnceLock};

use tracing::Span;
use weir_policy::budget::Tally;

use crate::decision::{Decision, Step};
use crate::limits::{self, Reservation, Standing};
use crate::metrics::{AskLabels, AttemptLabels, RouteLabels, TierLabels};
use crate::record::Record;
use crate::shared::Shared;
use crate::spans;
use crate::store::{Line, Outbox};

/// One ask that is not settled yet. Dropping it settles it.
pub(crate) struct Unsettled {
    pub shared: Arc<Shared>,
    pub decision: Arc<Decision>,
    /// The span of the ask, which carries the record.
    pub span: Span,
    /// Where its record goes beside.
    pub outbox: OnceLock<Arc<Outbox>>,
    /// Of the tokens that it may come to.
    pub reservation: OnceLock<Reservation>,
    /// What the client is told of its limits.
    pub standings: OnceLock<Vec<Standing>>,
}

impl Unsettled {
    pub fn new(shared: Arc<Shared>, decision: Arc<Decision>, span: Span) -> Self {
        shared.metrics.running.inc();
        shared.kept.begin(&decision);
        Self {
            shared,
            decision,
            span,
            outbox: OnceLock::new(),
            reservation: OnceLock::new(),
            standings: OnceLock::new(),
        }
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.count();
        self.tally();
        self.decision.stop_writing_down();
        if let Some(reservation) = self.reservation.take() {
            let used = limits::used(reservation.estimate(), &self.decision.state().attempts);
            reservation.settle(used);
        }
        let record = self.decision.record(true);
        self.tell(&record);
        self.keep(&record);
    }
}

impl Unsettled {
    fn count(&self) {
        let metrics = &self.shared.metrics;
        let state = self.decision.state();
        let policy = &state.policy;
        metrics.running.dec();
        metrics
            .ask_seconds
            .observe(self.decision.began.elapsed().as_secs_f64());
        if let Some(after) = state.first_byte {
            metrics.first_byte_seconds.observe(after.as_secs_f64());
        }
        let outcome = state.outcome.word();
        metrics
            .asks
            .get_or_create(&AskLabels {
                policy: policy.clone(),
                outcome,
            })
            .inc();
        if !state.routed.by.is_empty() {
            let labels = RouteLabels {
                policy: policy.clone(),
                by: state.routed.by,
                name: state.routed.name.clone(),
            };
            metrics.routes.get_or_create(&labels).inc();
        }
        if let Some(cost) = state.counterfactual() {
            metrics.counterfactual(policy, cost);
        }
        for attempt in &state.attempts {
            let (policy, tier, outcome) = (policy.clone(), attempt.tier.clone(), attempt.outcome);
            let labels = TierLabels {
                policy: policy.clone(),
                tier: tier.clone(),
            };
            metrics
                .tokens
                .get_or_create(&labels)
                .inc_by(attempt.tokens_out);
            let cost = f64::try_from(attempt.amount.amount()).unwrap_or_default();
            metrics.cost_dollars.get_or_create(&labels).inc_by(cost);
            metrics
                .attempts
                .get_or_create(&AttemptLabels {
                    policy,
                    tier,
                    outcome,
                })
                .inc();
        }
    }

    /// What the policy's status says beside what endpoints cost.
    fn tally(&self) {
        let (policy, tally) = {
            let state = self.decision.state();
            let own = state.attempts.iter().filter(|of| !of.is_endpoint);
            let tally = Tally {
                own: own.map(|attempt| attempt.amount).sum(),
                without_weir: state.counterfactual().unwrap_or_default(),
            };
            (state.policy.clone(), tally)
        };
        if !tally.is_zero() {
            let began = self.decision.time;
            self.shared.purses.count(&policy, tally, began);
        }
    }

    /// Where it can be asked about, and where the policy wants it.
    fn keep(&self, record: &Record) {
        let json: Arc<str> = record.json().into();
        let kept = &self.shared.kept;
        let labels = kept.settle(&self.decision, record, json.clone());
        if let Some(outbox) = self.outbox.get() {
            outbox.put(Line::Record {
                id: record.id.clone(),
                json,
                labels,
                text: self.decision.take_text(),
                is_private: record.stays_inside,
            });
        }
    }

    /// One log line, and attributes of the ask's span.
    fn tell(&self, record: &Record) {
        if tracing::enabled!(target: "weir_router::decision", tracing::Level::INFO) {
            say(record);
        }
        spans::tell(&self.span, record);
    }
}

/// One log line. It says all of the ask itself, and not once more by its span.
fn say(record: &Record) {
    let attempts = serde_json::to_string(&record.attempts).unwrap_or_default();
    let route = record.route.line();
    let tier = record.tier.as_deref().unwrap_or_default();
    tracing::info!(
        target: "weir_router::decision",
        parent: None,
        id = record.id,
        model = record.model,
        policy = record.policy,
        generation = record.generation,
        tenant = record.tenant,
        wire = record.wire,
        streamed = record.streamed,
        private = record.private,
        route,
        plan = names(&record.plan),
        dropped = record.dropped.join(","),
        attempts,
        outcome = record.outcome,
        tier,
        status = record.status.unwrap_or(200),
        cost = record.cost,
        first_byte_ms = record.first_byte_ms,
        total_ms = record.total_ms,
        "decided"
    );
}

fn names(steps: &[Step]) -> String {
    let names: Vec<&str> = steps.iter().map(|step| step.tier.as_str()).collect();
    names.join(",")
}
