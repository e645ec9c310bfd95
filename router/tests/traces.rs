//! A collector is told of an ask and of its attempts, in the client's trace. It is a real OTLP receiver.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the other tests use more of what is shared")]

#[path = "asks/rig.rs"]
mod rig;
#[path = "asks/worker.rs"]
mod worker;

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use weir_process::{Process, ProcessArgs};

use crate::rig::{Rig, json_of};
use crate::worker::{Scripted, unsure};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const MARK: &str = "xyzzy-4711";

struct Collector(mpsc::UnboundedSender<Span>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            self.0.send(span).unwrap();
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn attribute(span: &Span, key: &str) -> Option<Value> {
    let mut attributes = span.attributes.iter();
    attributes
        .find(|attribute| attribute.key == key)?
        .value
        .clone()?
        .value
}

fn text(span: &Span, key: &str) -> String {
    match attribute(span, key) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key}: {other:?} in {span:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where it listens, and the spans that it gets while its task is there.
async fn collector(tasks: &mut JoinSet<()>) -> (String, mpsc::UnboundedReceiver<Span>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sent, received) = mpsc::unbounded_channel();
    let collector = Server::builder().add_service(TraceServiceServer::new(Collector(sent)));
    tasks.spawn(async move {
        let incoming = TcpListenerStream::new(listener);
        collector.serve_with_incoming(incoming).await.unwrap();
    });
    (endpoint, received)
}

/// What an endpoint at `location` gets of an ask of the trace, after a replica was unsure.
async fn sent(location: &str, trace: &str) -> String {
    let worker = Scripted::start([unsure()]).await;
    let tiers = json!([{}, { "endpoint": { "location": location } }]);
    let rig = Rig::with(json!({ "tiers": tiers }), &[&worker]).await;
    let mut headers = HeaderMap::new();
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    headers.insert("traceparent", HeaderValue::from_str(&parent).unwrap());
    let messages = json!([{ "role": "user", "content": MARK }]);
    let answer = rig.ask_with(json!({ "messages": messages }), headers).await;
    json_of(answer).await;
    rig.until_counted("weir_router_asks_running 0").await;
    let sent = json!(rig.sent_to_frontier().await).to_string();
    rig.begin_end();
    rig.ended().await;
    assert!(sent.contains(MARK), "{sent}");
    sent
}

// One test for all of it, because the subscriber is the whole process's.
#[tokio::test(flavor = "multi_thread")]
async fn an_ask_and_its_attempts_are_spans_of_the_clients_trace_which_only_those_inside_are_told() {
    let mut tasks = JoinSet::new();
    let (endpoint, mut received) = collector(&mut tasks).await;
    let args = ProcessArgs {
        otlp_endpoint: Some(endpoint),
        ..ProcessArgs::embedded()
    };
    let process = Process::start("weir-test", &args).unwrap();
    let outside = sent("Outside", TRACE).await;
    assert!(!outside.contains(TRACE), "{outside}");
    let inside = sent("Inside", OTHER_TRACE).await;
    assert!(inside.contains(OTHER_TRACE), "{inside}");
    process.shutdown().begin("test");
    process.finish().await.unwrap();
    let mut spans: Vec<Span> = Vec::new();
    while spans.len() < 3 {
        let next = tokio::time::timeout(Duration::from_secs(10), received.recv()).await;
        let span = next.expect("an ask and two attempts").unwrap();
        if hex(&span.trace_id) == TRACE {
            spans.push(span);
        }
    }
    the_ask_is_told(&spans);
    assert!(!format!("{spans:?}").contains(MARK));
}

fn the_ask_is_told(spans: &[Span]) {
    let ask = spans.iter().find(|span| span.name == "chat").unwrap();
    assert_eq!(hex(&ask.parent_span_id), "00f067aa0ba902b7");
    for (key, expected) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai_compatible"),
        ("gen_ai.request.model", "assistant"),
        ("gen_ai.response.model", "big"),
        ("weir.outcome", "answered"),
        ("weir.tier", "frontier"),
    ] {
        assert_eq!(text(ask, key), expected, "{key}");
    }
    for key in ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"] {
        assert!(
            matches!(attribute(ask, key), Some(Value::IntValue(1..))),
            "{key}"
        );
    }
    let Some(Value::ArrayValue(reasons)) = attribute(ask, "gen_ai.response.finish_reasons") else {
        panic!("no list: {ask:?}");
    };
    let stop = Some(Value::StringValue("stop".into()));
    assert_eq!(reasons.values[0].value, stop);

    let attempts = spans.iter().filter(|span| span.name == "attempt");
    let mut attempts: Vec<(String, String, String)> = attempts
        .map(|span| {
            assert_eq!(span.parent_span_id, ask.span_id);
            let told = |key| text(span, key);
            (
                told("weir.tier"),
                told("weir.outcome"),
                told("server.address"),
            )
        })
        .collect();
    attempts.sort();
    let here = || "127.0.0.1".to_owned();
    let expected = [
        ("frontier".to_owned(), "committed".to_owned(), here()),
        ("small".to_owned(), "dropped".to_owned(), here()),
    ];
    assert_eq!(attempts, expected);
}
