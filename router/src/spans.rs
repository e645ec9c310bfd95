//! The spans of an ask and of its attempts, in the words of OpenTelemetry's conventions for generative AI
//! and, where these have none, in ours. No text is in them, whatever a policy says.

use tracing::{Span, field, info_span};
use weir_process::traces;

use crate::decision::{AttemptLine, UNFINISHED, Whom};
use crate::record::Record;
use crate::wire::Wire;

/// Of an ask that came on `wire`; everything else is said by [`tell`].
pub(crate) fn ask(wire: Wire, id: &str) -> Span {
    info_span!(
        "ask",
        otel.name = operation(wire),
        otel.kind = "server",
        otel.status_code = field::Empty,
        error.type = field::Empty,
        gen_ai.operation.name = operation(wire),
        gen_ai.provider.name = field::Empty,
        gen_ai.request.model = field::Empty,
        gen_ai.response.id = field::Empty,
        gen_ai.response.model = field::Empty,
        gen_ai.usage.input_tokens = field::Empty,
        gen_ai.usage.output_tokens = field::Empty,
        weir.decision = id,
        weir.wire = field::Empty,
        weir.policy = field::Empty,
        weir.generation = field::Empty,
        weir.route = field::Empty,
        weir.outcome = field::Empty,
        weir.tier = field::Empty,
        weir.cost = field::Empty,
        weir.attempts = field::Empty,
    )
}

/// Says on the span of an ask what its record says.
pub(crate) fn tell(span: &Span, record: &Record) {
    if !traces::is_seen(span) {
        return;
    }
    span.record("gen_ai.response.id", &record.id);
    span.record("weir.wire", record.wire);
    span.record("weir.policy", &record.policy);
    span.record("weir.generation", record.generation);
    span.record("weir.route", record.route.line());
    span.record("weir.outcome", record.outcome);
    span.record("weir.cost", &record.cost);
    let attempts = serde_json::to_string(&record.attempts).unwrap_or_default();
    span.record("weir.attempts", attempts);
    span.record("gen_ai.request.model", &record.model);
    if let Some(error) = record.error() {
        span.record("error.type", error);
        span.record("otel.status_code", "ERROR");
    }
    if let Some(answering) = record.answering() {
        span.record("weir.tier", &answering.tier);
        span.record("gen_ai.provider.name", answering.whom.provider);
        span.record("gen_ai.response.model", &answering.whom.model);
        tokens(span, answering);
        traces::set_words(span, "gen_ai.response.finish_reasons", &record.finish);
    }
}

/// Of an attempt, beneath the current one; its end is said by [`attempted`].
pub(crate) fn attempt(tier: &str, whom: &Whom) -> Span {
    let span = info_span!(
        "attempt",
        otel.name = "attempt",
        otel.kind = "client",
        otel.status_code = field::Empty,
        error.type = field::Empty,
        gen_ai.provider.name = whom.provider,
        gen_ai.request.model = whom.model,
        gen_ai.usage.input_tokens = field::Empty,
        gen_ai.usage.output_tokens = field::Empty,
        server.address = field::Empty,
        weir.tier = tier,
        weir.outcome = field::Empty,
    );
    if let Some(host) = &whom.host {
        span.record("server.address", host);
    }
    span
}

/// Says on the span of an attempt how it ended.
pub(crate) fn attempted(span: &Span, line: &AttemptLine) {
    if !traces::is_seen(span) {
        return;
    }
    if let Some(replica) = line.replica {
        span.record("server.address", replica.ip().to_string());
    }
    span.record("weir.outcome", line.outcome);
    tokens(span, line);
    // To be dropped, or not to be needed any more, is no failure.
    if !["committed", "dropped", UNFINISHED].contains(&line.outcome) {
        span.record("error.type", line.outcome);
        span.record("otel.status_code", "ERROR");
    }
}

fn tokens(span: &Span, line: &AttemptLine) {
    span.record("gen_ai.usage.input_tokens", line.tokens_in as i64);
    span.record("gen_ai.usage.output_tokens", line.tokens_out as i64);
}

/// What the conventions call it.
fn operation(wire: Wire) -> &'static str {
    match wire {
        Wire::Completions => "text_completion",
        Wire::Embeddings => "embeddings",
        Wire::Chat | Wire::Responses | Wire::Messages => "chat",
    }
}
