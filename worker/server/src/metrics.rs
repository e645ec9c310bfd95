//! What a worker counts.
//!
//! `weir_worker_running_requests`, `weir_worker_waiting_requests` and `weir_worker_kv_used_ratio`
//! are the gauges that the Inference Extension's endpoint picker reads; it takes their names as
//! arguments.

use std::time::Instant;

use tokio::sync::watch;
use tracing::{Span, field};
use weir_engine::Load;
use weir_process::{
    Process,
    prometheus_client::{
        collector::Collector,
        encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
        metrics::{
            counter::{ConstCounter, Counter},
            family::Family,
            gauge::ConstGauge,
            histogram::{Histogram, exponential_buckets},
        },
        registry::Unit,
    },
};

use crate::{pace::Pace, refusal::Refusal};

#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<CallLabels, Histogram>,
    prompt_tokens: Counter,
    completion_tokens: Counter,
    queue: Histogram,
    time_to_first_token: Histogram,
    token_interval: Histogram,
    pace: Pace,
    load: watch::Receiver<Load>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    call: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    call: &'static str,
    outcome: &'static str,
}

impl Metrics {
    pub fn register(process: &Process, load: watch::Receiver<Load>) -> Self {
        let metrics = Self {
            requests: Family::default(),
            // From 5 ms to about 80 s.
            seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.005, 2.0, 15))
            }),
            prompt_tokens: Counter::default(),
            completion_tokens: Counter::default(),
            // From 1 ms to about 32 s.
            queue: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            time_to_first_token: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            // From a quarter of a millisecond to about 2 s.
            token_interval: Histogram::new(exponential_buckets(0.000_25, 2.0, 14)),
            pace: Pace::default(),
            load,
        };
        process.metrics().register(|registry| {
            let all = metrics.clone();
            registry.register("requests", "Requests by how they ended", all.requests);
            registry.register_with_unit(
                "request",
                "Time from a request to the end of its answer",
                Unit::Seconds,
                all.seconds,
            );
            registry.register("prompt_tokens", "Tokens read", all.prompt_tokens);
            registry.register("completion_tokens", "Tokens written", all.completion_tokens);
            registry.register_with_unit(
                "queue",
                "Time from a request to the step that began its first choice",
                Unit::Seconds,
                all.queue,
            );
            registry.register_with_unit(
                "time_to_first_token",
                "Time from a request to its first token",
                Unit::Seconds,
                all.time_to_first_token,
            );
            registry.register_with_unit(
                "token_interval",
                "Time from one token of a request to the next",
                Unit::Seconds,
                all.token_interval,
            );
        });
        metrics
    }

    /// At which requests end that had a place.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Begins to measure a request, which counts as cancelled unless something else is said.
    pub fn begin(&self, call: &'static str, operation: &'static str) -> Measured {
        Measured {
            metrics: self.clone(),
            call,
            operation,
            began: Instant::now(),
            last_token: None,
            prompt_tokens: 0,
            completion_tokens: 0,
            places: 0,
            outcome: "cancelled",
            span: span(operation),
        }
    }
}

/// In the words of OpenTelemetry's conventions for generative models, where these have one.
fn span(operation: &'static str) -> Span {
    tracing::info_span!(
        "inference",
        otel.name = operation,
        otel.kind = "server",
        otel.status_code = field::Empty,
        gen_ai.operation.name = operation,
        gen_ai.provider.name = "weir",
        gen_ai.request.model = field::Empty,
        gen_ai.usage.input_tokens = field::Empty,
        gen_ai.usage.output_tokens = field::Empty,
        weir.cached_tokens = field::Empty,
        weir.queue_seconds = field::Empty,
        weir.time_to_first_token = field::Empty,
        weir.outcome = field::Empty,
    )
}

/// One request that is being measured, to its drop.
#[derive(Debug)]
pub struct Measured {
    metrics: Metrics,
    call: &'static str,
    operation: &'static str,
    began: Instant,
    last_token: Option<Instant>,
    prompt_tokens: u64,
    completion_tokens: u64,
    /// Of the queue, once it has them.
    places: u32,
    outcome: &'static str,
    span: Span,
}

impl Measured {
    /// It is for a model that is served here, by this name, and takes so many places of the queue.
    pub fn admitted(&mut self, model: &str, places: u32) {
        self.places = places;
        self.span.record("gen_ai.request.model", model);
        let name = format!("{} {model}", self.operation);
        self.span.record("otel.name", name);
    }

    pub fn prompt(&mut self, tokens: usize) {
        self.prompt_tokens += tokens as u64;
        self.metrics.prompt_tokens.inc_by(tokens as u64);
    }

    /// The first choice is computed from now on, but for what was found computed.
    pub fn started(&mut self, cached_tokens: u32) {
        let waited = self.began.elapsed().as_secs_f64();
        self.metrics.queue.observe(waited);
        self.span.record("weir.queue_seconds", waited);
        self.span
            .record("weir.cached_tokens", i64::from(cached_tokens));
    }

    pub fn tokens(&mut self, tokens: usize) {
        if tokens == 0 {
            return;
        }
        self.completion_tokens += tokens as u64;
        self.metrics.completion_tokens.inc_by(tokens as u64);
        let now = Instant::now();
        match self.last_token {
            None => {
                let waited = (now - self.began).as_secs_f64();
                self.metrics.time_to_first_token.observe(waited);
                self.span.record("weir.time_to_first_token", waited);
            }
            Some(last) => {
                let interval = (now - last).as_secs_f64();
                self.metrics.token_interval.observe(interval);
            }
        }
        self.last_token = Some(now);
    }

    pub fn answered(&mut self) {
        self.outcome = "answered";
    }

    pub fn refused(&mut self, refusal: &Refusal) {
        self.outcome = match refusal {
            Refusal::Internal { .. } => "failed",
            _ => "refused",
        };
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let (call, outcome) = (self.call, self.outcome);
        let labels = RequestLabels { call, outcome };
        self.metrics.requests.get_or_create(&labels).inc();
        let seconds = self.began.elapsed().as_secs_f64();
        let histogram = self.metrics.seconds.get_or_create(&CallLabels { call });
        histogram.observe(seconds);
        if outcome != "refused" && self.places > 0 {
            let is_busy = self.metrics.load.borrow().waiting > 0;
            let pace = &self.metrics.pace;
            pace.ended(Instant::now(), self.places, is_busy);
        }
        let span = &self.span;
        span.record("weir.outcome", outcome);
        // Attributes are signed: a number without sign would become a text.
        span.record("gen_ai.usage.input_tokens", self.prompt_tokens as i64);
        span.record("gen_ai.usage.output_tokens", self.completion_tokens as i64);
        if outcome == "failed" {
            span.record("otel.status_code", "ERROR");
        }
    }
}

/// The engine's load, read when it is scraped.
#[derive(Debug)]
pub struct LoadGauges(pub watch::Receiver<Load>);

impl LoadGauges {
    pub fn register(self, process: &Process) {
        process
            .metrics()
            .register(|registry| registry.register_collector(Box::new(self)));
    }
}

impl Collector for LoadGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let load = *self.0.borrow();
        let used = f64::from(load.blocks_used) / f64::from(load.blocks_total.max(1));
        let gauges = [
            (
                "running_requests",
                "Sequences being computed",
                f64::from(load.running),
            ),
            (
                "waiting_requests",
                "Sequences waiting",
                f64::from(load.waiting),
            ),
            ("kv_used_ratio", "Share of key-value memory in use", used),
            (
                "kv_used_blocks",
                "Blocks of key-value memory in use, each of one layer",
                f64::from(load.blocks_used),
            ),
            (
                "kv_blocks",
                "Blocks of key-value memory, each of one layer",
                f64::from(load.blocks_total),
            ),
        ];
        encode_gauges(&mut encoder, &gauges)?;
        let counters = [
            (
                "preemptions",
                "Sequences whose key-value memory was taken from them before they were done",
                load.preemptions,
            ),
            (
                "cache_queried_tokens",
                "Tokens of sequences that began",
                load.queried_tokens,
            ),
            (
                "cache_hit_tokens",
                "Tokens of sequences that began and were found computed",
                load.hit_tokens,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

/// Names, what they mean, and what they are now.
pub(crate) fn encode_gauges(
    encoder: &mut DescriptorEncoder<'_>,
    gauges: &[(&str, &str, f64)],
) -> Result<(), std::fmt::Error> {
    for (name, help, value) in gauges {
        let gauge = ConstGauge::new(*value);
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
    }
    Ok(())
}
