//! Phase 8: what follows when an ask is over. It always runs: after an answer, an error, a client
//! that left, a panic, the end of the process.

use std::sync::Arc;

use tracing::Span;

use crate::decision::{Decision, Outcome};
use crate::metrics::{AskLabels, AttemptLabels, RouteLabels, TierLabels};
use crate::shared::Shared;

/// One ask that is not settled yet. Dropping it settles it.
pub(crate) struct Unsettled {
    pub shared: Arc<Shared>,
    pub decision: Arc<Decision>,
    /// The span of the ask, which carries the record.
    pub span: Span,
}

impl Unsettled {
    pub fn new(shared: Arc<Shared>, decision: Arc<Decision>, span: Span) -> Self {
        shared.metrics.running.inc();
        Self {
            shared,
            decision,
            span,
        }
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.count();
        self.record();
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

    /// The decision's record: attributes of the ask's span, and one log line.
    fn record(&self) {
        let cost = self.decision.cost().to_string();
        let state = self.decision.state();
        let outcome = state.outcome.word();
        let tier = match &state.outcome {
            Outcome::Answered { tier, .. } => tier.as_str(),
            _ => "",
        };
        let status = match &state.outcome {
            Outcome::Refused { status } => *status,
            _ => 200,
        };
        let attempts = serde_json::to_string(&state.attempts).unwrap_or_default();
        let first_byte_ms = state.first_byte.map(|after| after.as_millis() as u64);
        let route = state.routed.line();
        let entered = self.span.enter();
        tracing::info!(
            target: "weir_router::decision",
            id = self.decision.id,
            model = state.model,
            policy = state.policy,
            generation = state.generation,
            tenant = state.tenant,
            wire = state.wire,
            streamed = state.is_streamed,
            private = state.is_private,
            route,
            plan = state.plan.join(","),
            dropped = state.dropped.join(","),
            attempts,
            outcome,
            tier,
            status,
            cost,
            first_byte_ms,
            total_ms = self.decision.began.elapsed().as_millis() as u64,
            "decided"
        );
        drop(entered);
        // After the line, which would say everything twice otherwise.
        let span = &self.span;
        span.record("weir.policy", &state.policy);
        span.record("weir.generation", state.generation);
        span.record("weir.route", &route);
        span.record("weir.outcome", outcome);
        span.record("weir.tier", tier);
        span.record("weir.cost", &cost);
        span.record("weir.attempts", &attempts);
    }
}
