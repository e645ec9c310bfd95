//! Traces reach a collector and join those of a caller. The collector is a real OTLP receiver.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, and says so"
)]

use std::time::Duration;

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use weir_process::{Process, ProcessArgs, traces};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

// One test for all of it, because the subscriber is the whole process's.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_joins_its_callers_trace_travels_on_and_reaches_the_collector() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sent, mut received) = mpsc::unbounded_channel();
    let mut servers = JoinSet::new();
    servers.spawn(
        Server::builder()
            .add_service(TraceServiceServer::new(Collector(sent)))
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    let args = ProcessArgs {
        otlp_endpoint: Some(endpoint),
        ..ProcessArgs::embedded()
    };
    let process = Process::start("weir-test", &args).unwrap();

    let mut incoming = HeaderMap::new();
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    incoming.insert("traceparent", parent.parse().unwrap());
    let mut outgoing = HeaderMap::new();
    {
        let span = tracing::info_span!("ask", model = "triage");
        traces::follow(&span, &incoming);
        traces::inject(&span, &mut outgoing);
        assert_eq!(traces::trace_id(&span).as_deref(), Some(TRACE));
    }
    let passed_on = outgoing["traceparent"].to_str().unwrap();
    assert!(
        passed_on.starts_with(&format!("00-{TRACE}-")),
        "{passed_on}"
    );
    assert!(
        !passed_on.contains("00f067aa0ba902b7"),
        "our span is the parent now: {passed_on}"
    );

    process.shutdown().begin("test");
    process.finish().await.unwrap();
    let export = tokio::time::timeout(Duration::from_secs(10), received.recv())
        .await
        .unwrap()
        .unwrap();
    let resource = &export.resource_spans[0];
    let span = &resource.scope_spans[0].spans[0];
    assert_eq!(span.name, "ask");
    assert_eq!(
        span.trace_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>(),
        TRACE
    );
    let attributes = format!("{:?}", resource.resource.as_ref().unwrap().attributes);
    assert!(attributes.contains("weir-test"), "{attributes}");
}
