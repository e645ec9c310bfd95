//! Traces over OTLP, and the W3C headers that tie ours to those of others.
//!
//! Spans get trace ids whether or not a collector is named, so `traceparent` always passes
//! through; without a collector nothing is sampled that a caller did not sample.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry::{Array, StringValue, Value};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::args::parse_collector;

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Makes `span` a child of the trace that `headers` speak of, if they do.
///
/// To be called before the span is entered for the first time.
pub fn follow(span: &Span, headers: &HeaderMap) {
    let context = TraceContextPropagator::new().extract(&Incoming(headers));
    if context.span().span_context().is_valid() {
        // Fails only where no subscriber of ours is installed, and then there is no trace to join.
        let _ = span.set_parent(context);
    }
}

/// Writes `span` into `headers` as the parent of what the receiver does.
///
/// gRPC metadata is headers too: `inject(&span, request.metadata_mut().as_mut())`.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&span.context(), &mut Outgoing(headers));
}

/// Whether anybody sees what is recorded of `span`.
pub fn is_seen(span: &Span) -> bool {
    span.context().span().is_recording()
}

/// Sets an attribute of `span` that is a list of words, which a field of `tracing` cannot be.
pub fn set_words(span: &Span, name: &'static str, words: &[&'static str]) {
    let words = words.iter().map(|word| StringValue::from(*word)).collect();
    span.set_attribute(name, Value::Array(Array::String(words)));
}

/// The trace that `span` belongs to, as 32 hex digits, for records and error messages.
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let id = span.span_context();
    id.is_valid().then(|| id.trace_id().to_string())
}

pub(crate) fn layer<S>(
    component: &'static str,
    endpoint: Option<&str>,
) -> anyhow::Result<impl Layer<S>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let resource = Resource::builder()
        .with_service_name(component)
        .with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            crate::VERSION,
        ))
        .build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let provider = match endpoint {
        Some(endpoint) => builder.with_batch_exporter(exporter(endpoint)?).build(),
        None => builder
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
            .build(),
    };
    let tracer = provider.tracer("weir");
    // Lost only if another thread was first, and then its subscriber is the one installed.
    let _ = PROVIDER.set(provider);
    // Nothing asks for the context of the thread, and times and places are in the lines.
    Ok(tracing_opentelemetry::layer()
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_threads(false)
        .with_location(false)
        .with_tracer(tracer))
}

fn exporter(endpoint: &str) -> anyhow::Result<SpanExporter> {
    let endpoint = parse_collector(endpoint).map_err(anyhow::Error::msg)?;
    SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&endpoint)
        .with_timeout(Duration::from_secs(5))
        .build()
        .with_context(|| format!("prepare traces for {endpoint}"))
}

/// Sends what has not been sent, at most for `limit`.
pub(crate) async fn flush(limit: Duration) {
    let Some(provider) = PROVIDER.get().cloned() else {
        return;
    };
    let flushed = tokio::task::spawn_blocking(move || provider.force_flush());
    match tokio::time::timeout(limit, flushed).await {
        Ok(Ok(Err(error))) => {
            tracing::warn!(error = error.to_string(), "last traces were not sent")
        }
        Err(_) => tracing::warn!("last traces were not sent in time"),
        Ok(Ok(Ok(())) | Err(_)) => {}
    }
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (key.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}
