//! A collector is told what an answer took. It is a real OTLP receiver.

use std::time::Duration;

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::harness::{PATIENCE, Worker, about};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

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

/// Where it listens, and the spans that it gets while its task is there.
async fn collector(tasks: &mut JoinSet<()>) -> (String, mpsc::UnboundedReceiver<Span>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sent, received) = mpsc::unbounded_channel();
    let server = Server::builder().add_service(TraceServiceServer::new(Collector(sent)));
    tasks.spawn(async move {
        let served = server.serve_with_incoming(TcpIncoming::from(listener));
        served.await.unwrap();
    });
    (endpoint, received)
}

fn attribute(span: &Span, key: &str) -> Option<Value> {
    let attribute = span
        .attributes
        .iter()
        .find(|attribute| attribute.key == key)?;
    attribute.value.clone()?.value
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_a_span_of_its_callers_trace_with_its_tokens_and_waits() {
    let mut tasks = JoinSet::new();
    let (endpoint, mut spans) = collector(&mut tasks).await;
    let mut worker = Worker::start(&["--otlp-endpoint", &endpoint]).await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let body = about("Where is my parcel?", json!({ "stream": true }));
    let request = worker.post(&body).header("traceparent", parent);
    request.send().await.unwrap().text().await.unwrap();
    worker.terminate();
    assert!(worker.wait().await.success());
    let ours = async {
        loop {
            let span = spans.recv().await.unwrap();
            if span.name == "chat triage" {
                return span;
            }
        }
    };
    let span = tokio::time::timeout(PATIENCE, ours).await.unwrap();
    let trace: String = span
        .trace_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(trace, TRACE);
    let text = |key: &str| match attribute(&span, key) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key}: {other:?}"),
    };
    assert_eq!(text("gen_ai.operation.name"), "chat");
    assert_eq!(text("gen_ai.request.model"), "triage");
    assert_eq!(text("weir.outcome"), "answered");
    for key in ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"] {
        let value = attribute(&span, key);
        assert!(
            matches!(value, Some(Value::IntValue(1..))),
            "{key}: {value:?}"
        );
    }
    for key in ["weir.queue_seconds", "weir.time_to_first_token"] {
        let value = attribute(&span, key);
        assert!(
            matches!(value, Some(Value::DoubleValue(_))),
            "{key}: {value:?}"
        );
    }
    // It lasts to the end of the stream, not to its head.
    let took = Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano);
    let Some(Value::DoubleValue(first)) = attribute(&span, "weir.time_to_first_token") else {
        unreachable!("seen above");
    };
    assert!(took.as_secs_f64() >= first, "{took:?} < {first}");
}
